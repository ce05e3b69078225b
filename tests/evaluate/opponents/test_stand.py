"""Opponents on a real project: asked the same rows, compared in pairs, refused where they were asked otherwise."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metier.core.errors import DataError, SettingsError
from metier.core.progress import Silent
from metier.evaluate import conditions
from metier.evaluate.compare import compare
from metier.evaluate.opponents.ground import Ground, is_opponent
from metier.evaluate.opponents.stand import stand
from metier.evaluate.settings import EvaluateSettings
from metier.evaluate.stored import read
from metier.text.settings import TextSettings
from tests.evaluate.conftest import Workplace
from tests.evaluate.test_judge import serving


def ground(labels: Workplace, folder: Path, **settings: Any) -> Ground:
    chosen = EvaluateSettings.model_validate({"samples": 200, "max_rows": 20} | settings)
    shutil.copytree(labels.store, folder / ".metier", dirs_exist_ok=True)
    evaluation = read(labels.run)
    return Ground(
        snapshot=labels.snapshot, base=labels.base, text=TextSettings(), settings=chosen, folder=folder,
        store=folder / ".metier", progress=Silent(),
        limit=evaluation.facts["conditions"]["decoding"]["max_new_tokens"],
    )  # fmt: skip


def whole(labels: Workplace, folder: Path, **settings: Any) -> Ground:
    """The ground of the run's own evaluation: all of its rows."""
    kept = read(labels.run).facts["conditions"]["settings"]
    made = ground(labels, folder)
    return replace(made, settings=EvaluateSettings.model_validate(kept | settings))


def colour(body: dict[str, Any]) -> str:
    """Answer as the rows do: with the last word of the question."""
    return body["messages"][-1]["content"].split()[-1]


def test_the_base_with_a_prompt_is_asked_the_same_rows(labels, evaluated, tmp_path):
    assert evaluated
    (tmp_path / "p.txt").write_text("Name the colour.")
    place = whole(labels, tmp_path)
    plain, prompted = stand("base", place), stand("prompt:p.txt", place)
    run = read(labels.run)
    for found in (plain, prompted):
        assert not conditions.unpairable(found.facts["conditions"], run.facts["conditions"])
        assert not conditions.different(found.facts["conditions"], run.facts["conditions"])
    assert plain.sides["tuned"].outputs == run.sides["base"].outputs, "the base says what it said in the evaluation"
    assert prompted.facts["conditions"]["prompt"]
    assert prompted.questions[0].prompt != plain.questions[0].prompt
    assert prompted.questions[0].labelled
    told = compare(prompted, labels.run)
    assert told.title == f"prompt:p.txt against {labels.run.name}"
    assert told.verdict.good is True, "trained to name colours, it beats a base that never learnt anything"
    assert compare(plain, plain).verdict.text.startswith("identical")


def test_a_model_behind_an_endpoint_is_asked_the_same_messages_and_is_paid_once(labels, evaluated, tmp_path):
    assert evaluated
    with serving(colour) as (url, seen):
        place = whole(labels, tmp_path, judge={"url": url, "tries": 1})
        found = stand("remote:big-1", place)
        asked = len(seen)
        again = stand("remote:big-1", place)
        assert len(seen) == asked == len(found.questions)
        assert again.sides["tuned"].outputs == found.sides["tuned"].outputs
    sent = seen[0]
    assert (sent["model"], sent["temperature"], sent["seed"]) == ("big-1", 0, 0)
    assert sent["max_tokens"] == place.limit
    assert all(message["role"] != "assistant" for message in sent["messages"])
    told = compare(labels.run, found)
    assert dict(told.facts)["metric that decides"].startswith("accuracy")
    assert "not asked alike" not in told.verdict.text
    assert found.facts["conditions"]["remote"]["url"] == url


def test_another_limit_refuses_a_verdict(labels, evaluated, tmp_path):
    assert evaluated
    with serving(colour) as (url, _):
        place = whole(labels, tmp_path, judge={"url": url, "tries": 1})
        found = stand("remote:big-1", replace(place, limit=(place.limit or 0) + 1))
    assert conditions.different(found.facts["conditions"], read(labels.run).facts["conditions"]) == ["decoding"]
    told = compare(labels.run, found)
    assert told.verdict.good is None
    assert "decoding" in told.verdict.text


def test_another_system_turn_refuses_a_verdict(labels, evaluated, tmp_path):
    assert evaluated
    with serving(colour) as (url, _):
        place = whole(labels, tmp_path, judge={"url": url, "tries": 1})
        found = stand("remote:big-1", replace(place, text=TextSettings(system="Shout.")))
    assert "messages" in conditions.different(found.facts["conditions"], read(labels.run).facts["conditions"])


def test_an_endpoint_that_fails_once_gives_no_half_result_and_is_not_paid_again(labels, evaluated, tmp_path):
    assert evaluated
    with serving(colour, status=lambda count: 500 if count == 3 else 200) as (url, seen):
        place = ground(labels, tmp_path, judge={"url": url, "tries": 1, "at_once": 1})
        with pytest.raises(DataError, match="1 of 20 rows were not answered"):
            stand("remote:big-1", place)
        stand("remote:big-1", place)
        assert len(seen) == 21, "the twenty, and the one that failed again"


def test_rows_that_differ_are_not_paired(labels, evaluated, tmp_path):
    assert evaluated
    with pytest.raises(DataError, match="rows"):
        compare(stand("base", ground(labels, tmp_path)), labels.run)


def test_an_endpoint_has_to_be_named(labels, evaluated, tmp_path):
    assert evaluated
    with pytest.raises(SettingsError, match=r"evaluate\.judge\.url: not set"):
        stand("remote:big-1", ground(labels, tmp_path))
    assert is_opponent("prompt:x")
    assert not is_opponent("base")


def test_looks_at_the_test_split_are_counted(labels, evaluated, tmp_path):
    assert evaluated
    place = ground(labels, tmp_path)
    before = (place.store / "test-openings.jsonl").read_text().splitlines()
    stand("base", place)
    after = (place.store / "test-openings.jsonl").read_text().splitlines()
    assert json.loads(after[len(before)])["run"] == "base"
