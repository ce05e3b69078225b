"""Every objective from rows to a saved model; every setting of it changes the run; bad rows are refused in time."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from metier.core.errors import DataError, SettingsError
from metier.core.progress import Silent
from metier.core.types import LabelledRow
from metier.model.find import find, find_config
from metier.prepare.settings import DataSettings, PrepareSettings
from metier.prepare.snapshot import prepare
from metier.text.render import open_renderer
from metier.text.settings import TextSettings
from metier.train import views
from metier.train.report import report
from metier.train.run import train
from metier.train.settings import ObjectiveSettings, RegulariseSettings, TrainSettings
from tests.train.conftest import plan

COLOURS = ("red", "green", "blue", "grey")
SYSTEM = {"role": "system", "content": "Say the colour."}


def chat(number: int) -> dict[str, Any]:
    colour = COLOURS[number % 4]
    example = [{"role": "user", "content": "is red"}, {"role": "assistant", "content": "red"}]
    asked = [{"role": "user", "content": f"{number} is {colour}"}, {"role": "assistant", "content": colour}]
    return {"messages": [SYSTEM, *example, *asked]}


ROWS: dict[str, Callable[[int], dict[str, Any]]] = {
    "label": lambda n: {"text": f"{n} is {COLOURS[n % 4]}", "label": COLOURS[n % 4]},
    "labels": lambda n: {"text": f"{n} is {COLOURS[n % 4]}", "label": [COLOURS[n % 4], "odd"] if n % 2 else []},
    "score": lambda n: {"text": f"{n} is {COLOURS[n % 4]}", "score": n % 4 + 0.5},
    "completion": lambda n: {"prompt": f"{n} is", "completion": COLOURS[n % 4]},
    "text": lambda n: {"text": f"In the year {n} all cats were {COLOURS[n % 4]}."},
    "chat": chat,
}


@pytest.fixture
def learn(tiny_base: Path, tmp_path: Path) -> Callable[..., Path]:
    def run(
        kind: str,
        objective: Any = "auto",
        *,
        rows: list[dict[str, Any]] | None = None,
        base: Path = tiny_base,
        again: Path | None = None,
        **model: Any,
    ) -> Path:
        name = f"{kind}-{len(list(tmp_path.iterdir()))}"
        folder = tmp_path / name
        folder.mkdir()
        records = rows or [ROWS[kind](number) for number in range(48)]
        (folder / "rows.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        store = folder / ".metier"
        data = DataSettings(train="rows.jsonl")
        snapshot = prepare(data, PrepareSettings(), folder=folder, store=store, seed=0, progress=Silent()).path
        settings = plan(model, objective=objective, max_steps=3, checks=1)
        target = again or store / "runs" / "one"
        return train(snapshot, find(str(base), base), run=target, settings=settings, progress=Silent())

    return run


def chosen(run: Path) -> str:
    choices = json.loads((run / "choices.json").read_text())
    return next(choice["value"] for choice in choices if choice["name"] == "train.objective")


def losses(run: Path) -> list[float]:
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [entry["loss"] for entry in entries if "loss" in entry]


@pytest.mark.parametrize(
    ("kind", "objective", "expected"),
    [
        ("label", "auto", "chat"),
        ("labels", "auto", "chat"),
        ("completion", "auto", "chat"),
        ("text", "auto", "chat"),
        ("score", "auto", "regress"),
        ("label", "classify", "classify"),
        ("chat", "classify", "classify"),
        ("labels", "multilabel", "multilabel"),
        ("chat", "distil", "distil"),
    ],
)
def test_every_kind_of_row_is_learnt(kind, objective, expected, learn):
    run = learn(kind, objective)
    assert chosen(run) == expected
    assert (run / "model" / "head.json").is_file() == (expected in ("classify", "multilabel", "regress"))
    config = json.loads((run / "model" / "config.json").read_text())
    assert config["architectures"] == [
        "LlamaForCausalLM" if expected in ("chat", "distil") else "LlamaForSequenceClassification"
    ]
    assert report(run).figures


def test_the_objective_changes_the_run(learn):
    """train.objective"""
    told = {name: losses(learn("label", name)) for name in ("chat", "classify", "multilabel")}
    assert told["classify"][0] < torch.tensor(4.0).log().item(), "it starts from the fit, not from every label alike"
    assert len({values[0] for values in told.values()}) == 3


def test_what_a_student_does_without_changes_the_run(learn):
    """train.objective.drop, train.objective.answers"""
    runs = {drop: learn("chat", {"name": "distil", "drop": drop}) for drop in ("system", "examples", "all")}
    saved = {drop: json.loads((run / "summary.json").read_text()) for drop, run in runs.items()}
    spared = {drop: summary["tokens_saved_per_request"] for drop, summary in saved.items()}
    assert spared["all"] == pytest.approx(spared["system"] + spared["examples"])
    assert len({losses(run)[0] for run in runs.values()}) == 3
    facts = dict(report(runs["all"]).facts)
    assert facts["prompt tokens saved a request"] == round(spared["all"], 1)


def test_the_teacher_may_answer_itself(learn, tiny_base, tmp_path):
    """train.objective.answers, with a base that stops at every third token, so that some of its answers end."""
    folder = shutil.copytree(tiny_base, tmp_path / "stopping-base")
    stops = {"eos_token_id": [2, *range(0, 268, 3)], "pad_token_id": 0, "bos_token_id": 1}
    (folder / "generation_config.json").write_text(json.dumps(stops))
    given = learn("chat", "distil", base=folder)
    own = learn("chat", {"name": "distil", "answers": "generated"}, base=folder)
    assert losses(given) != losses(own)
    said = json.loads((own / "teacher-train" / "answers.json").read_text())
    ended = sum(bool(text) for text in said.values())
    assert ended > 0
    assert json.loads((own / "summary.json").read_text())["rows"] == ended
    before = (own / "teacher-train").stat().st_mtime
    shutil.rmtree(own / "model")
    (own / "summary.json").unlink()
    assert learn("chat", {"name": "distil", "answers": "generated"}, base=folder, again=own) == own
    assert (own / "teacher-train").stat().st_mtime == before, "a run that goes on keeps what its teacher said"


def test_the_head_trains_with_every_method(learn):
    weights = {}
    for method in ("lora", "layers", "full"):
        run = learn("label", "classify", method=method)
        name = "adapter_model.safetensors" if method == "lora" else "model.safetensors"
        tensors = load_file(str(run / "model" / name))
        weights[method] = next(tensor for key, tensor in tensors.items() if key.endswith("score.weight"))
        assert weights[method].any()
    assert not torch.equal(weights["lora"], weights["full"])


@pytest.mark.parametrize(
    ("kind", "objective", "change", "found"),
    [
        ("label", "classify", lambda n: {"text": f"t{n}", "label": "same"}, "at least two labels"),
        ("label", "regress", None, "a number; do: set train.objective: classify"),
        ("text", "classify", None, "no label; wanted: a text and its label"),
        ("label", "distil", None, "the same with and without the dropped part"),
    ],
)
def test_rows_that_do_not_fit_the_objective(kind, objective, change, found, learn):
    rows = [change(number) for number in range(40)] if change else None
    with pytest.raises(DataError, match=found):
        learn(kind, objective, rows=rows)


def test_a_label_only_in_held_out_rows_is_refused_before_training(tmp_path):
    """A head could never be right on such a row; better to hear of it now than after the training."""
    rows = [LabelledRow(id=str(n), source=f"t:{n}", text="t", label=label) for n, label in enumerate("abc")]
    found = views.View(
        objective=ObjectiveSettings(name="classify"),
        choice=views.choose(ObjectiveSettings(name="classify"), rows),
        renderer=None, teacher=None, targets=views.fit(rows[:2], "classify"),
    )  # fmt: skip
    views.require_known_labels(found, rows[:2], "test")
    with pytest.raises(DataError, match="test split: t:2: label 'c' stands in no training row"):
        views.require_known_labels(found, rows, "test")


def test_settings_of_another_objective_are_refused():
    assert TrainSettings(objective="distil").objective.name == "distil"
    kept = ObjectiveSettings(name="chat").model_dump()
    assert ObjectiveSettings.model_validate(kept).name == "chat", "what was written can be read again"
    with pytest.raises(ValidationError, match="drop only matter with name: distil"):
        TrainSettings(objective={"drop": "all"})
    with pytest.raises(ValidationError, match="answers only matter with name: distil"):
        ObjectiveSettings(name="classify", answers="generated")


def test_a_base_of_random_weights_teaches_nothing(tiny_base, tiny_snapshot, tmp_path):
    run = tmp_path / ".metier" / "runs" / "x"
    with pytest.raises(SettingsError, match="distil on a base with random weights"):
        train(
            tiny_snapshot, find_config(str(tiny_base), tiny_base), run=run,
            settings=plan(objective="distil"), progress=Silent(),
        )  # fmt: skip


def test_rows_are_shown_as_they_are_learnt(tiny_base):
    renderer = open_renderer(tiny_base, TextSettings())
    rows = [LabelledRow(id=str(n), source=f"t:{n}", text="hello", label=label) for n, label in enumerate("ab")]
    painted = {
        name: views.painted(views.view(ObjectiveSettings(name=name), rows, renderer), rows[0])
        for name in ("chat", "classify")
    }
    assert painted["classify"][-1] == ("[a]", True)
    assert "".join(text for text, _ in painted["chat"]).startswith(painted["classify"][0][0])


@pytest.mark.parametrize(
    ("objective", "addition"), [("classify", {"label_smoothing": 0.1}), ("distil", {"replay": 0.5})]
)
def test_what_has_no_place_in_an_objective_is_refused(objective, addition, tiny_base):
    renderer = open_renderer(tiny_base, TextSettings())
    rows = [LabelledRow(id=str(n), source=f"t:{n}", text="hello", label=label) for n, label in enumerate("ab")]
    found = views.view(ObjectiveSettings(name=objective), rows, renderer)
    views.require_alone(found, RegulariseSettings())
    with pytest.raises(SettingsError, match=f"train.regularise.{next(iter(addition))} with the objective {objective}"):
        views.require_alone(found, RegulariseSettings(**addition))
