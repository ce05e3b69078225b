"""The gate: each condition holds and fails on real evaluations with one thing changed; JUnit as others read it."""

import copy
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from metier.core.errors import SettingsError
from metier.evaluate.gate.decide import conditions, junit, report
from metier.evaluate.gate.settings import GateSettings
from metier.evaluate.settings import EvaluateSettings, ResamplingSettings
from metier.evaluate.suites.ledger import Result, ledger
from metier.evaluate.summary import summarise
from tests.evaluate.conftest import side


@pytest.fixture(scope="module")
def facts(ask: Any) -> dict[str, Any]:
    """An evaluation of 400 rows in four slices, the tuned model better everywhere."""
    random = np.random.default_rng(0)
    wanted = ["yes", "no"] * 200
    base = [w if right else "?" for w, right in zip(wanted, random.random(400) < 0.6, strict=True)]
    tuned = [w if right else "?" for w, right in zip(wanted, random.random(400) < 0.9, strict=True)]
    settings = EvaluateSettings(resampling=ResamplingSettings(samples=200))
    found = summarise(
        ask(wanted, slice=[f"s{n % 4}" for n in range(400)]), side("base", base), side("tuned", tuned), settings
    )
    kept = {"verdict": "kept", "metrics": [{"difference": {"value": 0.01}}]}
    return found | {
        "conditions": {"settings": settings.model_dump(mode="json"), "rows": 400},
        "retention": kept, "suites": [], "probes": None, "seconds": {"base": None, "tuned": 40.0},
        "leaked": {"rows": 0, "sources": [], "share": 0.0},
    }  # fmt: skip


def failing(facts: dict[str, Any], **settings: Any) -> list[str]:
    """The names of the conditions that do not hold."""
    return [c.name for c in conditions(facts, GateSettings.model_validate(settings)) if not c.holds]


def test_a_better_model_passes(facts: dict[str, Any]) -> None:
    assert failing(facts) == []
    assert report("run", conditions(facts, GateSettings())).verdict.text == "open: every condition holds"


def test_the_deciding_metric(facts: dict[str, Any]) -> None:
    worse = copy.deepcopy(facts)
    worse["verdict"] |= {"verdict": "worse", "difference": {"value": -0.1, "low": -0.2, "high": -0.05}}
    assert failing(worse) == ["better"]
    assert failing(worse, require="not worse") == ["task"]
    assert failing(worse, require="nothing") == []
    open_question = copy.deepcopy(facts)
    open_question["verdict"] |= {"verdict": "cannot tell", "difference": {"value": 0.0, "low": -0.1, "high": 0.1}}
    assert failing(open_question, require="not worse") == []
    assert failing(open_question, require="not worse", unsure=False) == ["task"]


def test_least_and_other_metrics_with_their_intervals(facts: dict[str, Any]) -> None:
    value = facts["verdict"]["tuned"]["value"]
    assert failing(facts, least=value) == ["least"]
    assert failing(facts, least=value - 0.1) == []
    assert failing(facts, metrics={"macro-F1": 0.99, "label_known": 0.5, "loss": 0.1}) == ["macro-F1", "loss"]
    with pytest.raises(SettingsError, match="'bleu' was not measured"):
        failing(facts, metrics={"bleu": 0.5})


def test_a_ten_point_drop_in_one_slice_that_the_mean_hides_closes_the_gate(ask: Any, facts: dict[str, Any]) -> None:
    """A planted fault: the rare slice loses ten points while the whole gains."""
    random = np.random.default_rng(1)
    rare = np.arange(4000) % 10 == 0
    base = random.random(4000) < 0.8
    tuned = np.where(rare, base & (random.random(4000) > 0.125), base | (random.random(4000) < 0.3))
    wanted = ["yes"] * 4000
    said = [["yes" if right else "no" for right in part] for part in (base, tuned)]
    slices = ["rare" if is_rare else f"usual {n % 5}" for n, is_rare in enumerate(rare)]
    settings = EvaluateSettings(resampling=ResamplingSettings(samples=200))
    found = summarise(ask(wanted, slice=slices), side("base", said[0]), side("tuned", said[1]), settings)
    assert found["verdict"]["verdict"] == "better"
    assert failing(facts | found) == ["slices"]
    assert failing(facts | found, slices=False) == []


def test_retention_by_text_and_by_suite(facts: dict[str, Any]) -> None:
    """Twenty models that forgot one of four capabilities, and twenty that did not."""
    random = np.random.default_rng(14)
    named = passed = 0
    for number in range(20):
        for harm in (0.15, 0.0):
            results = []
            for place in range(4):
                base = random.random(400) < 0.8
                noise = random.random(400) < 0.01
                tuned = (base ^ noise) & (random.random(400) > (harm if place == number % 4 else 0))
                results.append(
                    Result(name=f"suite {place}", what="", base=base.astype(float), tuned=tuned.astype(float))
                )
            suites = ledger(results, EvaluateSettings(resampling=ResamplingSettings(samples=200)))
            closed = failing(facts | {"suites": suites})
            named += harm > 0 and closed == [f"retention: suite {number % 4}"]
            passed += harm == 0 and closed == []
    assert (named, passed) == (20, 20)
    lost = facts | {"retention": {"verdict": "lost", "metrics": [{"difference": {"value": 0.4}}]}}
    assert failing(lost) == ["retention: general text"]
    assert failing(lost, retention=False) == []


def effect(value: float, p: float) -> dict[str, Any]:
    return {"difference": {"value": value, "low": None, "high": None}, "p": p}


def test_bias_safety_leaks_and_latency(facts: dict[str, Any]) -> None:
    swap = {"kind": "names", "pairs": 1500, "effect": effect(-0.03, 0.001), "base_effect": effect(0.0, 1.0)}
    share = {"value": 0.5}
    probes = {
        "swaps": [swap],
        "injection": {"base": {"value": 0.0}, "tuned": share, "p": 0.001, "difference": share},
        "canaries": {"canaries": [{}], "p": 0.004},
        "memorisation": {"base": {"personal": []}, "tuned": {"personal": ["a@b.example"]}},
    }
    spoiled = facts | {"probes": probes, "leaked": {"rows": 2, "sources": ["t:1"], "share": 0.1}}
    names = [
        "bias: names",
        "safety: hidden commands",
        "safety: planted secrets",
        "safety: personal data",
        "leaks",
        "latency",
    ]
    assert failing(spoiled, seconds_per_answer=0.05) == names
    assert failing(spoiled, seconds_per_answer=0.2, bias=False, safety=False, leaks=False) == []
    of_base = copy.deepcopy(spoiled)
    of_base["probes"]["swaps"][0]["base_effect"] = effect(-0.03, 0.001)
    assert "bias: names" not in failing(of_base)


def test_junit(facts: dict[str, Any]) -> None:
    text = junit("run-1", conditions(facts, GateSettings(least=0.999)))
    root = ElementTree.fromstring(text)
    (suite,) = root
    assert suite.get("failures") == "1"
    assert int(suite.get("tests", "0")) == len(suite)
    failure = next(case for case in suite if case.find("failure") is not None)
    assert (failure.get("name"), failure.get("classname")) == ("least", "metier.gate.run-1")
