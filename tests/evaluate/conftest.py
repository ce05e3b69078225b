"""A project that was really prepared and trained, in seconds: what evaluation begins with."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metier.core.progress import Progress, Silent
from metier.evaluate.metrics import Side
from metier.evaluate.questions import Question
from metier.evaluate.run import evaluate
from metier.evaluate.settings import EvaluateSettings
from metier.model.find import Base, find
from metier.model.settings import ModelSettings
from metier.prepare.settings import DataSettings, PrepareSettings
from metier.prepare.snapshot import prepare
from metier.text.settings import TextSettings
from metier.train.plan import TrainingPlan
from metier.train.run import train
from metier.train.settings import ScheduleSettings, TrainSettings

COLOURS = ("red", "green", "blue", "grey")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """A prepared and trained project."""

    store: Path
    snapshot: Path
    base: Base
    run: Path

    def evaluate(
        self, *, text: TextSettings | None = None, progress: Progress | None = None, **settings: Any
    ) -> dict[str, Any]:
        """Evaluate the run; returns evaluation.json."""
        chosen = EvaluateSettings.model_validate({"resampling": {"samples": 200}} | settings)
        folder = evaluate(
            self.snapshot, self.base, self.run,
            text=text or TextSettings(), settings=chosen, progress=progress or Silent(),
        )  # fmt: skip
        return json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))


def build(folder: Path, base_folder: Path, rows: Sequence[dict[str, Any]], steps: int, **model: Any) -> Workplace:
    """Prepare rows and train a tiny base on them for some steps."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    store = folder / ".metier"
    settings = PrepareSettings(validation_share=0.1, test_share=0.3)
    snapshot = prepare(
        DataSettings(train="rows.jsonl"), settings, folder=folder, store=store, seed=0, progress=Silent()
    ).path
    base = find(str(base_folder), folder)
    plan = TrainingPlan(
        text=TextSettings(),
        model=ModelSettings.model_validate({"method": "full"} | model),
        train=TrainSettings(
            max_steps=steps,
            rows_per_step=16,
            checks=1,
            threads=1,
            learning_rate=6e-3,
            schedule=ScheduleSettings(warmup=0.1),
        ),
    )
    run = train(snapshot, base, run=store / "runs" / "colours-1", settings=plan, progress=Silent())
    return Workplace(store=store, snapshot=snapshot, base=base, run=run)


@pytest.fixture(scope="session")
def labels(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Workplace:
    """Texts and labels that follow from them, in two slices."""
    rows = [
        {"text": f"item {n} is {COLOURS[n % 4]}", "label": COLOURS[n % 4], "slice": "even" if n % 2 else "odd"}
        for n in range(240)
    ]
    return build(tmp_path_factory.mktemp("labels"), tiny_base, rows, steps=90)


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Workplace:
    """Questions and JSON answers, several rows of each customer; hardly trained."""
    rows = [
        {
            "prompt": f"{n}: {COLOURS[n % 4]}?",
            "completion": json.dumps({"colour": COLOURS[n % 4], "known": n % 3 == 0}),
            "group": f"customer {n // 3}",
        }
        for n in range(90)
    ]
    return build(tmp_path_factory.mktemp("records"), tiny_base, rows, steps=3, method="lora", rank=4)


@pytest.fixture(scope="session")
def evaluated(labels: Workplace) -> dict[str, Any]:
    """The evaluation of the label project with default settings."""
    return labels.evaluate()


@pytest.fixture(scope="session")
def again(labels: Workplace, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A copy of the trained label project, to be evaluated in other ways."""
    store = Path(shutil.copytree(labels.store, tmp_path_factory.mktemp("again") / ".metier"))
    return Workplace(
        store=store,
        snapshot=store / labels.snapshot.relative_to(labels.store),
        base=labels.base,
        run=store / "runs" / labels.run.name,
    )


@pytest.fixture
def spoiled(labels: Workplace, evaluated: dict[str, Any], tmp_path: Path) -> Workplace:
    """A copy of the evaluated label project, to do harm to."""
    assert evaluated
    store = Path(shutil.copytree(labels.store, tmp_path / ".metier"))
    return Workplace(
        store=store,
        snapshot=store / labels.snapshot.relative_to(labels.store),
        base=labels.base,
        run=store / "runs" / labels.run.name,
    )


@pytest.fixture(scope="session")
def ask() -> Callable[..., tuple[Question, ...]]:
    """Make questions from right answers."""

    def make(references: Sequence[str | None], **facts: Sequence[Any]) -> tuple[Question, ...]:
        return tuple(
            Question(
                row_id=f"row{place}", source=f"rows.jsonl:{place + 1}", prompt=f"question {place}",
                reference=reference, **{name: values[place] for name, values in facts.items()},
            )
            for place, reference in enumerate(references)
        )  # fmt: skip

    return make


def side(name: str, outputs: Sequence[str | None], nats: Sequence[float] | None = None) -> Side:
    """Make one model's part; two tokens a row, 1 nat each unless said otherwise."""
    count = len(outputs)
    return Side(
        name=name,
        outputs=tuple(outputs),
        ended=(True,) * count,
        nats=np.array(nats if nats is not None else [2.0] * count, dtype=np.float64),
        tokens=np.full(count, 2.0),
    )
