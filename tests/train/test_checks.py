"""Checks during training: rows are answered and scored as `metier evaluate` does, and the best step is found by it."""

import json
from pathlib import Path
from random import Random

import pytest
import torch

from metier.core import artefact
from metier.core.errors import InterruptedRun, SettingsError
from metier.core.progress import Silent
from metier.engine.sample import complete
from metier.model.find import find
from metier.model.load import load_tuned
from metier.prepare.settings import DataSettings, PrepareSettings
from metier.prepare.snapshot import prepare
from metier.score.exact import exact_match
from metier.text.asking import prompt
from metier.text.render import open_renderer
from metier.text.rows import load_split
from metier.text.settings import TextSettings
from metier.train.checkpoint import Place
from metier.train.checks import Found, judge
from metier.train.report import report
from metier.train.run import train
from metier.train.settings import CheckSettings, TrainSettings
from tests.conftest import write_chats
from tests.train import killing
from tests.train.conftest import plan
from tests.train.test_resume import StopAt

ANSWERED = {"check": {"metrics": ["word_f1"], "best": "exact_match"}, "checks": 3}


def checks(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "validation_loss" in line]


def settings(best: str, patience: int | None = 2) -> TrainSettings:
    return TrainSettings(check=CheckSettings.model_validate({"best": best}), patience=patience)


def test_the_loss_decides_where_nothing_is_answered():
    place = judge(Place(step=5), Found(loss=1.0), settings("exact_match"), answered=False)
    assert (place.best_step, place.best_value) == (5, 1.0)


@pytest.mark.parametrize(("best", "values"), [("exact_match", (0.5, 0.7, 0.7)), ("brier", (0.5, 0.3, 0.3))])
def test_a_better_metric_is_higher_or_lower_as_the_metric_is(best, values):
    place = Place()
    for step, value in enumerate(values, start=1):
        found = Found(loss=float(step), answers={best: value})
        place = judge(Place(**{**vars_of(place), "step": step}), found, settings(best), answered=True)
    assert (place.best_step, place.best_value, place.best_loss) == (2, values[1], 2.0)
    assert (place.worse_checks, place.stopped) == (1, False)


def vars_of(place: Place) -> dict:
    return {name: getattr(place, name) for name in place.__slots__}


def test_a_check_without_answers_decides_nothing_and_patience_stops():
    place = Place(step=1, best_step=1, best_value=0.5, best_loss=1.0)
    assert judge(place, Found(loss=0.1), settings("exact_match"), answered=True) == place
    for _ in range(2):
        place = judge(place, Found(loss=0.1, answers={"exact_match": 0.5}), settings("exact_match"), answered=True)
    assert place.stopped


def test_answers_are_those_of_the_model_and_asking_changes_no_bit(run_to_end, tiny_base, tiny_snapshot):
    method = {"method": "lora", "dropout": 0.2, "rank": 4}
    asked = run_to_end(plan(method, learning_rate=3e-2, **ANSWERED), "asked")
    silent = run_to_end(plan(method, learning_rate=3e-2, checks=3), "silent")
    losses = [[line["validation_loss_hex"] for line in checks(run)] for run in (asked, silent)]
    assert losses[0] == losses[1]
    summary = json.loads((asked / "summary.json").read_text())
    assert summary["best_by"] == "exact_match"
    found = next(line for line in checks(asked) if line["step"] == summary["best_step"])["answers"]
    assert (
        summary["best_value"] == found["exact_match"] == max(line["answers"]["exact_match"] for line in checks(asked))
    )
    base = find(str(tiny_base), tiny_base)
    renderer = open_renderer(tiny_base, TextSettings())
    prompts = [prompt(row, renderer) for row in load_split(tiny_snapshot, "validation")]
    longest = max(len(renderer.tokenizer.encode(each.reference, special=False)) for each in prompts)
    said = complete(
        load_tuned(base, asked / "model", device=torch.device("cpu")), [each.ids for each in prompts],
        stop_ids=renderer.tokenizer.stop_ids, max_new_tokens=longest + longest // 4 + 8,
        pad_id=renderer.tokenizer.pad_id, progress=Silent(),
    )  # fmt: skip
    right = [
        exact_match(renderer.tokenizer.decode(list(a.ids)), b.reference) for a, b in zip(said, prompts, strict=True)
    ]
    assert found["exact_match"] == sum(right) / len(right)
    told = report(asked)
    assert [series.name for series in told.figures[-1].series] == ["word F1", "exact match"]
    assert "the best by exact match" in told.verdict.text


def test_a_stopped_run_goes_on_with_the_same_answers(run_to_end):
    whole = run_to_end(plan(**ANSWERED), "whole")
    with pytest.raises(InterruptedRun):
        run_to_end(plan(**ANSWERED), "stopped", StopAt(9, 15))
    resumed = run_to_end(plan(**ANSWERED), "stopped")
    assert artefact.verify(resumed / "model").digest == artefact.verify(whole / "model").digest
    assert checks(resumed) == checks(whole)


def test_kills_between_answer_and_checkpoint_change_nothing(tiny_base, tiny_snapshot, tmp_path):
    base = find(str(tiny_base), tiny_base)
    runs = [tmp_path / ".metier" / "runs" / name for name in ("whole", "killed")]
    wanted = plan(max_steps=16, **(ANSWERED | {"checks": 8}))
    train(tiny_snapshot, base, run=runs[0], settings=wanted, progress=Silent())
    random, kills = Random(3), 0
    while True:
        child = killing.start(train, tiny_snapshot, base, run=runs[1], settings=wanted, progress=Silent())
        status = killing.wait(child) if kills == 4 else killing.kill_in_save(child, runs[1], random)
        if status is not None:
            assert status == 0
            break
        kills += 1
    assert kills
    assert checks(runs[1]) == checks(runs[0])
    assert artefact.verify(runs[1] / "model").digest == artefact.verify(runs[0] / "model").digest


@pytest.mark.parametrize("name", ["json_valid", "calls_right", "function_f1"])
def test_a_metric_that_the_rows_do_not_have_is_refused_before_training(name, run_to_end, tmp_path):
    with pytest.raises(SettingsError, match=f"{name} is not measured on these rows"):
        run_to_end(plan(check={"metrics": [name]}), "refused")
    assert not (tmp_path / ".metier" / "runs" / "refused" / "metrics.jsonl").exists()


@pytest.fixture(scope="module")
def twenty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty training rows whose answers follow from nothing, and as many validation rows of the same kind."""
    folder, random = tmp_path_factory.mktemp("twenty"), Random(0)
    for name in ("train", "validation"):
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as stream:
            for number in range(20):
                turns = [
                    {"role": "user", "content": f"{name} {number}: {random.random():.6f}"},
                    {"role": "assistant", "content": "".join(random.choice("abcdefgh") for _ in range(6))},
                ]
                stream.write(json.dumps({"messages": turns}) + "\n")
    data = DataSettings(train="train.jsonl", validation="validation.jsonl")
    made = PrepareSettings(test_share=0)
    return prepare(data, made, folder=folder, store=folder / ".metier", seed=0, progress=Silent()).path


class Heard(Silent):
    """A listener that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


HOT = {"max_steps": 60, "rows_per_step": 5, "checks": 15, "learning_rate": 2e-2, "micro_batch_tokens": 2048}


@pytest.mark.parametrize("patience", [3, None])
def test_overfitting_on_twenty_rows_is_explained(patience, run_to_end, twenty):
    heard = Heard()
    run = run_to_end(plan(patience=patience, **HOT), "hot", heard, twenty)
    told = [line for line in heard.lines if line.startswith("overfitting")]
    assert len(told) == 1
    assert "validation loss has risen for 3 checks" in told[0]
    assert "while training loss fell" in told[0]
    summary = json.loads((run / "summary.json").read_text())
    epoch = next(line["epoch"] for line in checks(run) if line["step"] == summary["best_step"])
    assert told[0].endswith(f"epoch {epoch:.3g} was best")
    assert "overfitting: validation loss has risen" in report(run).verdict.text


def test_a_healthy_run_raises_no_alarm(run_to_end, tmp_path):
    write_chats(tmp_path / "chats.jsonl", 160)
    healthy = prepare(
        DataSettings(train="chats.jsonl"), PrepareSettings(), folder=tmp_path, store=tmp_path / ".metier", seed=0,
        progress=Silent(),
    ).path  # fmt: skip
    heard = Heard()
    run = run_to_end(plan(max_steps=60, checks=15, learning_rate=3e-3, patience=None), "healthy", heard, healthy)
    assert not [line for line in heard.lines if "overfitting" in line]
    assert json.loads((run / "summary.json").read_text())["overfitting"] is None


HEADS = {
    "classify": ({"metrics": ["macro_f1", "brier"], "best": "accuracy"}, lambda n: COLOURS[n % 4]),
    "multilabel": ({"best": "micro_f1"}, lambda n: [COLOURS[n % 4]]),
    "regress": ({"best": "mae"}, lambda n: n % 4 + 0.5),
}
COLOURS = ("red", "green", "blue", "grey")


@pytest.mark.parametrize("objective", HEADS)
def test_a_head_is_asked_too(objective, run_to_end, tmp_path):
    check, label = HEADS[objective]
    name = "score" if objective == "regress" else "label"
    rows = [{"text": f"{n} is {COLOURS[n % 4]}", name: label(n)} for n in range(48)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    snapshot = prepare(
        DataSettings(train="rows.jsonl"), PrepareSettings(), folder=tmp_path, store=tmp_path / ".metier", seed=0,
        progress=Silent(),
    ).path  # fmt: skip
    run = run_to_end(plan(objective=objective, check=check, max_steps=2, checks=1), "head", snapshot=snapshot)
    (found,) = checks(run)
    assert set(found["answers"]) == {check["best"], *check.get("metrics", ())}
    assert json.loads((run / "summary.json").read_text())["best_by"] == check["best"]
    with pytest.raises(SettingsError, match="word_f1 is not measured on these rows"):
        run_to_end(plan(objective=objective, check={"best": "word_f1"}), "refused", snapshot=snapshot)


def test_checks_come_every_so_many_steps_and_at_the_end(run_to_end):
    for steps, wanted in ((5, [5, 10, 12]), (6, [6, 12]), (20, [12]), (None, [4, 8, 12])):
        run = run_to_end(plan(check={"steps": steps}, patience=None), name=str(steps))
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        assert [line["step"] for line in lines if "validation_loss" in line] == wanted
    run = run_to_end(plan(check={"steps": 5, "metrics": ["ended"], "every": 2}, patience=None), name="answered")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in lines if "answers" in line] == [5, 12], "counted from the last"
