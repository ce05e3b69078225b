"""What a service needs: every time is that of a real answer, a slow model is seen, and the gate reads it."""

import copy
import json
import time
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator

from metier.core.errors import SettingsError
from metier.core.progress import Silent
from metier.engine.sample import complete
from metier.evaluate.gate.decide import conditions
from metier.evaluate.gate.settings import GateSettings
from metier.evaluate.production.load import Load, put_under_load
from metier.evaluate.report import report
from metier.evaluate.schema import json_schema
from metier.model.find import find
from metier.model.load import load_base
from tests.evaluate.conftest import Workplace

PROMPTS = [[1, *range(20, 20 + length)] for length in (5, 9, 12, 7, 30, 4)]


def under_load(model: torch.nn.Module, together: int) -> Load:
    return put_under_load(model, PROMPTS, together=together, most_tokens=6, stop_ids=[2], progress=Silent())


@pytest.fixture(scope="module")
def model(tiny_base) -> torch.nn.Module:
    return load_base(find(str(tiny_base), tiny_base), device=torch.device("cpu"), seed=0)


@pytest.mark.parametrize("together", [1, 3, 10])
def test_each_prompt_is_answered_once_and_timed(model, together):
    load = under_load(model, together)
    said = complete(model, PROMPTS, stop_ids=[2], max_new_tokens=6, pad_id=0, progress=Silent())
    assert load.written == sum(len(each.ids) for each in said)
    assert len(load.first) == len(load.whole) == len(PROMPTS)
    assert all(0 < first <= whole <= load.seconds for first, whole in zip(load.first, load.whole, strict=True))
    assert load.memory_bytes > 1 << 20
    if together == 1:
        assert sum(load.whole) <= load.seconds


def test_a_slow_model_is_seen(model):
    """By bounds that hold however busy this machine is: the model sleeps in every pass."""
    passes: list[int] = []

    def doze(*_: object) -> None:
        time.sleep(0.03)
        passes.append(1)

    handle = model.register_forward_hook(doze)
    slow = under_load(model, 1)
    alone = len(passes)
    under_load(model, 6)
    handle.remove()
    assert min(slow.first) >= 0.03
    assert min(slow.whole) >= 0.03 * 2
    assert slow.seconds >= 0.03 * slow.written
    assert len(passes) - alone < 0.75 * alone, "answers on their way together share passes"


@pytest.fixture(scope="module")
def served(again: Workplace) -> dict[str, Any]:
    prompt = again.store.parent / "long.txt"
    prompt.write_text("Say the colour of the item in one word, and nothing else.\n")
    wanted = {
        "requests": 12, "concurrency": [1, 4], "prompt": "long.txt", "prices": {"input": 1, "output": 2, "hour": 3},
    }  # fmt: skip
    return again.evaluate(production=wanted, max_rows=20, retention=False)


def test_an_evaluation_holds_both_models_and_its_schema_and_report_know_it(served, again):
    Draft202012Validator(json_schema()).validate(served)
    found = served["production"]
    assert found["requests"] == 12
    assert [level["together"] for level in found["tuned"]["levels"]] == [1, 4]
    assert found["spared"] == found["base"]["prompt_tokens"] - found["tuned"]["prompt_tokens"] > 40
    assert found["base"]["cost"] > 0 < found["tuned"]["cost"]
    told = report(again.run)
    table = next(table for table in told.tables if table.title == "In production")
    assert len(table.rows) == 14
    assert "fewer a request" in str(dict(told.facts)["a prompt in production"])
    assert "at your prices" in str(dict(told.facts)["1,000 requests cost"])


@pytest.mark.parametrize(
    ("changed", "reading"),
    [
        ({"requests": 3}, lambda found: found["requests"]),
        ({"concurrency": [2]}, lambda found: len(found["tuned"]["levels"])),
        ({"prompt": None}, lambda found: found["spared"]),
        ({"prices": {}}, lambda found: found["tuned"]["cost"]),
        ({"prices": {"input": 1, "output": 2}}, lambda found: found["tuned"]["cost"]),
    ],
)
def test_every_setting_changes_what_is_measured(served, again, changed, reading):
    wanted = served["conditions"]["settings"]["production"] | changed
    found = again.evaluate(production=wanted, max_rows=20, retention=False)["production"]
    assert reading(found) != reading(served["production"])


def test_without_requests_nothing_is_measured(evaluated):
    assert evaluated["production"] is None


def test_a_prompt_that_is_not_there(again):
    with pytest.raises(SettingsError, match="no file"):
        again.evaluate(production={"requests": 2, "prompt": "nowhere.txt"})


def test_the_gate_reads_latency_and_cost(served):
    def failing(facts: dict[str, Any], **settings: Any) -> list[str]:
        gate = GateSettings.model_validate({"require": "nothing", "slices": False, "leaks": False} | settings)
        return [condition.name for condition in conditions(facts, gate) if not condition.holds]

    facts = json.loads(json.dumps(served))
    entry = facts["production"]["tuned"]["levels"][-1]
    entry["latency"]["p95"] = {"value": 0.5, "low": 0.4, "high": 0.7}
    entry["first_token"]["p95"] = {"value": 0.1, "low": 0.1, "high": None}
    facts["production"]["tuned"]["cost"] = 2.0
    assert failing(facts, latency_p95=0.7, first_token_p95=0.1, cost=2.0) == []
    assert failing(facts, latency_p95=0.6, first_token_p95=0.05, cost=1.9) == [
        "latency p95", "first token p95", "cost",
    ]  # fmt: skip
    assert failing(facts, first_token_p95=0.1, unsure=False) == ["first token p95"]
    silent = copy.deepcopy(facts) | {"production": None}
    with pytest.raises(SettingsError, match=r"set evaluate\.production\.requests"):
        failing(silent, cost=1.0)
    facts["production"]["tuned"]["cost"] = None
    with pytest.raises(SettingsError, match="no price is known"):
        failing(facts, cost=1.0)
