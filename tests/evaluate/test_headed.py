"""Heads are compared with the frozen base and a fitted head; distilled models with the base and its long prompt."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metier.core.errors import SettingsError
from metier.core.progress import Silent
from metier.evaluate import frozen, headed
from metier.evaluate.compare import compare
from metier.evaluate.frozen import Features
from metier.evaluate.report import report, verdict
from metier.evaluate.run import evaluate
from metier.evaluate.settings import EvaluateSettings
from metier.evaluate.stored import read
from metier.model.find import find
from metier.model.settings import ModelSettings
from metier.prepare.settings import DataSettings, PrepareSettings
from metier.prepare.snapshot import prepare
from metier.text.settings import TextSettings
from metier.text.targets import Targets
from metier.train.plan import TrainingPlan
from metier.train.run import train
from metier.train.settings import TrainSettings

COLOURS = ("red", "green", "blue", "grey")
ROWS = {
    "classify": lambda n: {"text": f"{n} is {COLOURS[n % 4]}", "label": COLOURS[n % 4]},
    "multilabel": lambda n: {"text": f"{n} is {COLOURS[n % 4]}", "label": [COLOURS[n % 4], "odd"][: n % 3]},
    "regress": lambda n: {"text": f"{n} is {COLOURS[n % 4]}", "score": 10.0 * (n % 4)},
    "distil": lambda n: {"prompt": f"{n} is", "completion": COLOURS[n % 4], "system": "Name a colour, please."},
}


@pytest.fixture
def learn(tiny_base: Path, tmp_path: Path) -> Callable[..., tuple[Path, Callable[..., dict[str, Any]]]]:
    """Train in the shortest way, and return the run with what evaluates it."""

    def run(objective: str, name: str = "one", steps: int = 12) -> tuple[Path, Callable[..., dict[str, Any]]]:
        records = [ROWS[objective](number) for number in range(64)]
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        store = tmp_path / ".metier"
        split = PrepareSettings(test_share=0.3)
        data = DataSettings(train="rows.jsonl")
        snapshot = prepare(data, split, folder=tmp_path, store=store, seed=0, progress=Silent()).path
        base = find(str(tiny_base), tmp_path)
        plan = TrainingPlan(
            text=TextSettings(),
            model=ModelSettings(method="full"),
            train=TrainSettings.model_validate(
                {"max_steps": steps, "checks": 1, "threads": 1, "learning_rate": 6e-3, "objective": objective}
            ),
        )
        folder = train(snapshot, base, run=store / "runs" / name, settings=plan, progress=Silent())

        def ask(**settings: Any) -> dict[str, Any]:
            chosen = EvaluateSettings.model_validate({"resampling": {"samples": 100}} | settings)
            made = evaluate(snapshot, base, folder, text=TextSettings(), settings=chosen, progress=Silent())
            return json.loads((made / "evaluation.json").read_text())

        return folder, ask

    return run


@pytest.mark.parametrize(
    ("objective", "deciding", "others"),
    [
        ("classify", "accuracy", {"macro_f1", "brier", "ece"}),
        ("multilabel", "micro_f1", {"macro_f1", "exact_match"}),
        ("regress", "mae", {"rmse", "spearman"}),
    ],
)
def test_a_head_is_compared_with_the_frozen_base(objective, deciding, others, learn):
    run, ask = learn(objective)
    facts = ask()
    assert facts["metric"]["value"] == deciding
    assert {metric["name"] for metric in facts["metrics"]} == {deciding, *others}
    assert facts["head"]["kind"] == objective
    assert facts["constant"]["value"] is not None
    for metric in facts["metrics"]:
        assert metric["base"]["value"] is not None
    assert any(metric["base"] != metric["tuned"] for metric in facts["metrics"])
    told = report(run)
    lines = dict(told.facts)
    assert "regression on" in lines["base"]
    assert lines["forgotten?"] == "not measured: a model with a head writes no text"
    assert lines["answers"].startswith("read from a head")
    assert told.tables
    stored = read(run)
    assert stored.sides["tuned"].numbers.keys() == ({"brier", "confidence"} if objective == "classify" else set())


def test_two_heads_are_compared_from_their_files(learn):
    first, ask = learn("classify")
    ask()
    second, ask = learn("classify", "two", steps=6)
    ask()
    told = compare(first, second)
    assert "accuracy" in told.verdict.text
    assert any("Brier score" in str(row[0]) for row in told.tables[0].rows)


def test_another_task_than_the_heads_is_refused(learn):
    _, ask = learn("regress")
    with pytest.raises(SettingsError, match="'json' for a model with a head; wanted: 'score'"):
        ask(task="json")
    with pytest.raises(SettingsError, match="'accuracy' is not measured on score rows"):
        ask(metric="accuracy")
    assert ask(metric="rmse")["verdict"]["name"] == "rmse"


def test_a_distilled_model_is_asked_without_the_long_prompt(learn):
    run, ask = learn("distil")
    facts = ask()
    spared = facts["spared"]
    assert spared["tokens_saved_per_request"] == pytest.approx(len("<") + len("Name a colour, please.") + 1)
    assert spared["tokens_saved"] == spared["requests"] * spared["tokens_saved_per_request"]
    lines = dict(report(run).facts)
    assert "does without it: 24.0 tokens fewer a request" in lines["prompt"]
    as_good = facts | {"verdict": facts["verdict"] | {"verdict": "equivalent"}}
    assert verdict(as_good).good is True
    assert verdict(as_good).text.endswith("as good without the long prompt as the base with it")


def test_a_number_that_is_no_better_than_the_median_is_told(learn):
    _, ask = learn("regress")
    facts = ask()
    facts["verdict"] |= {"verdict": "better"}
    facts["constant"]["value"] = 0.0
    assert "not shown to be better than always answering" in verdict(facts).text
    facts["constant"]["value"] = 1e6
    assert "not shown" not in verdict(facts).text


# --- the fitted head ------------------------------------------------------------------------------------------------


def clouds(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    kinds = random.integers(0, 3, count)
    return random.normal(size=(count, 5)) + 4 * np.eye(3, 5)[kinds], kinds


@pytest.mark.parametrize("kind", ["classify", "multilabel", "regress"])
def test_a_fitted_head_finds_what_is_there(kind):
    parts = []
    for seed, count in enumerate((200, 50, 100)):
        states, kinds = clouds(count, seed)
        wanted = np.eye(3)[kinds]
        if kind == "multilabel":
            wanted = np.column_stack((wanted, np.zeros(count)))  # a label that never applies
        parts.append(Features(states=states, wanted=wanted[:, :1] if kind == "regress" else wanted))
    labels = {"classify": ("a", "b", "c"), "multilabel": ("a", "b", "c", "never"), "regress": ("score",)}[kind]
    found = frozen.fit(Targets(kind=kind, labels=labels), *parts)
    right = ((found.values > 0.5) == (parts[2].wanted > 0.5)).mean()
    assert right > 0.9
    assert "on 200 training rows" in found.how
    assert "chosen on the validation rows" in found.how
    nothing = Features(states=np.zeros((0, 1)), wanted=np.zeros((0, len(labels))))
    assert "no validation rows" in frozen.fit(Targets(kind=kind, labels=labels), parts[0], nothing, parts[2]).how


def test_graders_have_nothing_to_read_of_a_head(tmp_path: Path) -> None:
    settings = EvaluateSettings.model_validate({"graders": [{"type": "style", "most_words": 3}]})
    head = Targets(kind="classify", labels=("a", "b"))
    where = headed.Where(snapshot=tmp_path, base=find("metier-tiny", tmp_path), run=tmp_path, head=head, seed=0)
    with pytest.raises(SettingsError, match="a head writes nothing to grade"):
        headed.evaluate(where, text=TextSettings(), settings=settings, progress=Silent())
