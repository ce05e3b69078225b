"""Opponents on real rows: asked the same, compared in pairs, refused where they were asked otherwise."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metier.advise.classifier import classify
from metier.core.errors import DataError, InputError, SettingsError
from metier.core.progress import Silent
from metier.evaluate import conditions
from metier.evaluate.compare import compare
from metier.evaluate.opponents.ground import Ground, is_opponent
from metier.evaluate.opponents.stand import stand
from metier.evaluate.settings import EvaluateSettings
from metier.evaluate.stored import read
from metier.model.find import find
from metier.prepare.settings import DataSettings, PrepareSettings
from metier.prepare.snapshot import prepare
from metier.text.settings import TextSettings
from tests.evaluate.conftest import COLOURS, Workplace
from tests.evaluate.test_judge import serving

LIMIT = 4
ROWS = 16


@pytest.fixture(scope="module")
def place(tiny_base, tmp_path_factory) -> Ground:
    """Labelled texts under an untrained base; nobody has trained anything."""
    folder = tmp_path_factory.mktemp("ground")
    rows = [{"text": f"item {n} is {COLOURS[n % 4]}", "label": COLOURS[n % 4]} for n in range(60)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = PrepareSettings.model_validate({"validation_share": 0.1, "test_share": 0.4})
    snapshot = prepare(
        DataSettings(train="rows.jsonl"), settings, folder=folder, store=folder / ".metier", seed=0, progress=Silent()
    ).path
    return Ground(
        snapshot=snapshot, base=find(str(tiny_base), folder), text=TextSettings(), folder=folder,
        settings=EvaluateSettings.model_validate({"resampling": {"samples": 200}, "max_rows": ROWS}),
        store=folder / ".metier", progress=Silent(), limit=LIMIT,
    )  # fmt: skip


def judged_at(place: Ground, url: str, **more: Any) -> Ground:
    judge = {"url": url, "tries": 1, "at_once": 1} | more
    kept = place.settings.model_dump()
    return replace(place, settings=EvaluateSettings.model_validate(kept | {"judge": judge}))


def colour(body: dict[str, Any]) -> str:
    """Answer as the rows do: with the last word of the question."""
    return body["messages"][-1]["content"].split()[-1]


def test_the_base_with_a_prompt_is_asked_the_same_rows(place):
    (place.folder / "p.txt").write_text("Name the colour.")
    plain, prompted = stand("base", place), stand("prompt:p.txt", place)
    one, other = plain.facts["conditions"], prompted.facts["conditions"]
    assert not conditions.unpairable(one, other)
    assert one["batches"] != other["batches"]
    assert not conditions.different(one, other), "the prompt is what is compared, and its length with it"
    assert prompted.questions[0].prompt != plain.questions[0].prompt
    assert prompted.questions[0].labelled
    told = compare(plain, prompted)
    assert told.title == "base against prompt:p.txt"
    assert "conditions" not in told.verdict.text
    assert compare(plain, plain).verdict.text.startswith("identical")


def test_a_model_behind_an_endpoint_is_asked_the_same_messages_and_is_paid_once(place):
    with serving(colour) as (url, seen):
        there = judged_at(place, url)
        found = stand("remote:big-1", there)
        asked = len(seen)
        again = stand("remote:big-1", there)
        assert len(seen) == asked == len(found.questions) == ROWS
        assert again.sides["tuned"].outputs == found.sides["tuned"].outputs
    sent = seen[0]
    assert (sent["model"], sent["temperature"], sent["seed"], sent["max_tokens"]) == ("big-1", 0, 0, LIMIT)
    assert all(message["role"] != "assistant" for message in sent["messages"])
    assert found.facts["conditions"]["remote"]["url"] == url
    told = compare(stand("base", place), found)
    assert dict(told.facts)["metric that decides"].startswith("accuracy")
    assert told.verdict.good is True, "it knows the colours, an untrained base does not"


def test_what_was_asked_otherwise_gets_no_verdict(place):
    base = stand("base", place)
    with serving(colour) as (url, _):
        longer = stand("remote:big-1", replace(judged_at(place, url), limit=LIMIT + 1))
        shouted = stand("remote:big-1", replace(judged_at(place, url), text=TextSettings(system="Shout.")))
    assert conditions.different(base.facts["conditions"], longer.facts["conditions"]) == ["decoding"]
    assert conditions.different(base.facts["conditions"], shouted.facts["conditions"]) == ["messages"]
    told = compare(base, longer)
    assert told.verdict.good is None
    assert "decoding" in told.verdict.text


def test_an_endpoint_that_fails_once_gives_no_half_result_and_is_not_paid_again(place):
    with serving(colour, status=lambda count: 500 if count == 3 else 200) as (url, seen):
        there = judged_at(place, url)
        with pytest.raises(DataError, match=f"1 of {ROWS} rows were not answered"):
            stand("remote:big-1", there)
        stand("remote:big-1", there)
        assert len(seen) == ROWS + 1, "each row once, and again the one that failed"


def test_rows_that_differ_are_not_paired(place):
    (place.folder / "q.txt").write_text("Name it.")
    fewer = replace(place, only=frozenset(question.row_id for question in stand("base", place).questions[:5]))
    with pytest.raises(DataError, match="rows"):
        compare(stand("base", fewer), stand("prompt:q.txt", place))


def test_free_text_against_an_endpoint_is_decided_by_words(place):
    with serving(lambda body: "a longer answer than anybody wanted") as (url, _):
        there = judged_at(place, url)
        there = replace(there, settings=there.settings.model_copy(update={"task": "text", "metric": "loss"}))
        with pytest.raises(DataError, match="loss"):
            compare(stand("base", there), stand("remote:big-1", there))


def test_of_two_answers_an_endpoint_tells_no_preference_and_is_judged_by_its_own(place, tmp_path):
    rows = [{"prompt": f"say {COLOURS[n % 4]}", "chosen": COLOURS[n % 4], "rejected": f"no {n}"} for n in range(40)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps({**row, "group": n}) + "\n" for n, row in enumerate(rows)))
    settings = PrepareSettings.model_validate({"test_share": 0.4, "split": {"group_inputs": False}, "dedupe": False})
    snapshot = prepare(
        DataSettings(train="pairs.jsonl"), settings, folder=tmp_path, store=tmp_path / ".metier", seed=0,
        progress=Silent(),
    ).path  # fmt: skip
    with serving(colour) as (url, _):
        there = replace(judged_at(place, url), snapshot=snapshot)
        base, far = stand("base", there), stand("remote:big-1", there)
        told = compare(base, far)
        assert dict(told.facts)["metric that decides"].startswith("accuracy")
        assert told.verdict.good is True, "it repeats the colour"
        wanted = replace(there, settings=there.settings.model_copy(update={"metric": "preferred"}))
        with pytest.raises(DataError, match="preferred"):
            compare(stand("base", wanted), stand("remote:big-1", wanted))
    (there.folder / "p.txt").write_text("Name the colour.")
    assert dict(compare(base, stand("prompt:p.txt", there)).facts)["metric that decides"].startswith("prefers")


def test_an_endpoint_has_to_be_named(place):
    with pytest.raises(SettingsError, match=r"evaluate\.judge\.url: not set"):
        stand("remote:big-1", place)
    assert is_opponent("prompt:x")
    assert not is_opponent("base")


def test_looks_at_the_test_split_are_counted(place):
    path = place.store / "test-openings.jsonl"
    before = len(path.read_text().splitlines()) if path.is_file() else 0
    stand("base", place)
    assert json.loads(path.read_text().splitlines()[before])["run"] == "base"


@pytest.mark.slow
def test_a_run_against_its_base_with_a_prompt(labels: Workplace, evaluated: dict[str, Any], tmp_path: Path):
    assert evaluated
    (tmp_path / "p.txt").write_text("Name the colour.")
    run = read(labels.run)
    asked = run.facts["conditions"]
    ground = Ground(
        snapshot=labels.snapshot, base=labels.base, text=TextSettings(), folder=tmp_path, store=tmp_path / ".metier",
        settings=EvaluateSettings.model_validate(asked["settings"]), progress=Silent(),
        limit=asked["decoding"]["max_new_tokens"],
    )  # fmt: skip
    plain, prompted = stand("base", ground), stand("prompt:p.txt", ground)
    for found in (plain, prompted):
        assert not conditions.unpairable(found.facts["conditions"], asked)
        assert not conditions.different(found.facts["conditions"], asked)
    assert plain.sides["tuned"].outputs == run.sides["base"].outputs, "the base says what it said in the evaluation"
    assert compare(prompted, labels.run).verdict.good is True


def classified(place: Ground, **more: Any) -> Ground:
    return replace(place, classify=classify, **more)


def test_a_classifier_learns_from_training_rows_and_answers_the_same_rows(place):
    there = classified(place)
    base, logistic = stand("base", there), stand("classifier:logistic", there)
    assert not conditions.unpairable(base.facts["conditions"], logistic.facts["conditions"])
    assert logistic.sides["tuned"].outputs == tuple(question.reference for question in logistic.questions)
    told = compare(base, logistic)
    assert dict(told.facts)["metric that decides"].startswith("accuracy")
    assert told.verdict.good is True, "the word decides, an untrained base does not know it"
    assert "conditions" not in told.verdict.text
    assert len(set(stand("classifier:commonest", there).sides["tuned"].outputs)) == 1
    assert stand("classifier:nearest", there).sides["tuned"].outputs == logistic.sides["tuned"].outputs


def test_a_classifier_that_nobody_knows_is_refused(place):
    with pytest.raises(InputError, match="classifier:logistic"):
        stand("classifier:forest", classified(place))
    with pytest.raises(DataError, match="classifier:WAY:FOLDER"):
        stand("classifier:nearest:nowhere", classified(place))


def test_only_a_classifier_is_held_against_a_head(place):
    asked = tuple(replace(question, headed="label") for question in stand("base", place).questions)
    there = classified(place, questions=asked)
    found = stand("classifier:logistic", there)
    assert {question.headed for question in found.questions} == {"label"}
    told = compare(stand("classifier:commonest", there), found)
    assert dict(told.facts)["metric that decides"].startswith("accuracy")
    assert told.verdict.good is True
    with pytest.raises(DataError, match="head"):
        stand("base", there)
