"""Everybody else a run is held against: kept beside its evaluation, told in its report, asked by the gate."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest

from metier.core.progress import Silent
from metier.evaluate import against, stored
from metier.evaluate.compare import conclude
from metier.evaluate.gate.decide import conditions
from metier.evaluate.gate.settings import GateSettings
from metier.evaluate.opponents.ground import Ground
from metier.evaluate.opponents.stand import stand
from metier.evaluate.report import report
from metier.evaluate.settings import EvaluateSettings
from metier.text.settings import TextSettings
from tests.evaluate.conftest import Workplace

PROMPT = "prompt:p.txt"


def ground(place: Workplace, model: Path | None = None) -> Ground:
    """What the run of a project was asked."""
    asked = stored.read(place.run).facts["conditions"]
    (place.store.parent / "p.txt").write_text("Name the colour.")
    return Ground(
        snapshot=place.snapshot, base=place.base, text=TextSettings(), folder=place.store.parent, store=place.store,
        settings=EvaluateSettings.model_validate(asked["settings"]), progress=Silent(), model=model,
        limit=asked["decoding"]["max_new_tokens"],
    )  # fmt: skip


def test_an_opponent_stands_in_the_report_and_at_the_gate(spoiled: Workplace) -> None:
    assert against.read(spoiled.run) == []
    found = [against.entry(PROMPT, conclude(stand(PROMPT, ground(spoiled)), spoiled.run))]
    against.write(spoiled.run, found)
    kept = against.read(spoiled.run)
    assert (kept[0]["name"], kept[0]["verdict"]["verdict"], kept[0]["differing"]) == (PROMPT, "better", [])
    told = report(spoiled.run)
    (table,) = [table for table in told.tables if table.title.startswith("Against others")]
    assert table.rows[0][0] == PROMPT
    assert "prompt" not in told.verdict.text
    facts = stored.read(spoiled.run).facts
    held = {each.name: each.holds for each in conditions(facts, GateSettings(), kept)}
    assert held[f"against {PROMPT}"]
    assert f"against {PROMPT}" not in {each.name for each in conditions(facts, GateSettings(against="nothing"), kept)}


def test_an_opponent_that_is_better_is_told_first_and_closes_the_gate(spoiled: Workplace) -> None:
    (better,) = [against.entry(PROMPT, conclude(stand(PROMPT, ground(spoiled)), spoiled.run))]
    better = copy.deepcopy(better)
    better["verdict"] |= {"verdict": "worse", "difference": {"value": -0.3, "low": -0.4, "high": -0.2}}
    against.write(spoiled.run, [better])
    assert f"{PROMPT} is better than it" in report(spoiled.run).verdict.text
    facts = stored.read(spoiled.run).facts
    closed = [
        each.name
        for each in conditions(facts, GateSettings(retention=False), against.read(spoiled.run))
        if not each.holds
    ]
    assert closed == [f"against {PROMPT}"]


def test_what_was_said_of_an_earlier_evaluation_is_not_told(spoiled: Workplace) -> None:
    against.write(spoiled.run, [against.entry("base", conclude(None, spoiled.run))])
    assert against.read(spoiled.run)
    spoiled.evaluate(max_rows=20)
    assert against.read(spoiled.run) == []


def test_a_trained_model_is_asked_the_rows_that_it_never_saw(spoiled: Workplace) -> None:
    """The previous version was evaluated on other rows: its weights answer these."""
    earlier = stand("colours@1", ground(spoiled, spoiled.run / "model"))
    assert earlier.sides["tuned"].outputs == stored.read(spoiled.run).sides["tuned"].outputs
    assert conclude(earlier, spoiled.run).verdict["verdict"] == "identical"


def test_the_setting_that_moved_is_named() -> None:
    with pytest.raises(ValueError, match="retention_margin"):
        EvaluateSettings.model_validate({"retention_margin": 0.1})


def test_graders_look_at_an_opponent_too_and_decide_where_they_do(spoiled: Workplace) -> None:
    brief = {"type": "style", "most_words": 1, "name": "brief"}
    spoiled.evaluate(graders=[brief], metric="brief")
    asked = ground(spoiled)
    graded = stand(PROMPT, asked)
    assert "graded/share/brief" in graded.sides["tuned"].graded or "graded/mean/brief" in graded.sides["tuned"].graded
    assert conclude(graded, spoiled.run).verdict["name"].endswith("brief")
    nobody = replace(asked, settings=asked.settings.model_copy(update={"graders": ()}))
    assert conclude(stand(PROMPT, nobody), spoiled.run).verdict["name"] == "accuracy"
