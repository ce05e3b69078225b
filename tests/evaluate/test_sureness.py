"""How sure a model is that writes its label: measured where it can be, higher where a model boasts, left out as set."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metier.core import artefact
from metier.core.errors import SettingsError
from metier.evaluate import sureness
from metier.evaluate.compare import compare
from metier.evaluate.questions import gather
from metier.evaluate.report import report
from metier.evaluate.settings import EvaluateSettings
from metier.model.load import load_tuned
from metier.score import calibration
from metier.text.render import open_renderer
from metier.text.rows import load_split
from metier.text.settings import TextSettings
from tests.evaluate.conftest import COLOURS, Workplace, build
from tests.evaluate.test_run import Heard, base_weights, reseal

QUICK: dict[str, Any] = {"retention": False, "max_new_tokens": 3}
NAME = "evaluate.suites.probes.calibration"


def probes(calibrated: bool | None) -> dict[str, Any]:
    return QUICK | {"suites": {"probes": {"calibration": calibrated}}}


def named(facts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {metric["name"]: metric for metric in facts["metrics"]}


@pytest.fixture
def place(labels: Workplace, tmp_path: Path) -> Workplace:
    """A copy of the trained label project, to be evaluated or harmed."""
    store = Path(shutil.copytree(labels.store, tmp_path / ".metier"))
    snapshot = store / labels.snapshot.relative_to(labels.store)
    return Workplace(store=store, snapshot=snapshot, base=labels.base, run=store / "runs" / labels.run.name)


def test_both_models_say_how_sure_they_are(place: Workplace) -> None:
    heard = Heard()
    facts = place.evaluate(progress=heard, **QUICK)
    assert heard.choices[NAME].value is True
    assert heard.choices[NAME].reason.startswith("4 labels in the training rows, about ")
    assert facts["metric"]["value"] == "accuracy"
    for name in calibration.METRICS:
        entry = named(facts)[name]
        assert all(entry[who][end] is not None for who in ("base", "tuned", "difference") for end in ("low", "high"))
    assert named(facts)["brier"]["verdict"] == "better"
    told = report(place.run).tables[0]
    again = compare(None, place.run).tables[0]
    for table in (told, again):
        assert {"Brier score", "calibration error"} <= {str(row[0]) for row in table.rows}

    lines = (place.run / "evaluation" / "scored.jsonl").read_text(encoding="utf-8").splitlines()
    scored = {(e["row_id"], e["model"], e["metric"]): e["value"] for e in map(json.loads, lines)}
    row = load_split(place.snapshot, "test")[0]
    renderer = open_renderer(place.base.folder, TextSettings())
    ids = gather([row], renderer).prompts[0] or []
    model = load_tuned(place.base, place.run / "model")
    logs = []
    for label in sorted(COLOURS):
        end = [*renderer.tokenizer.encode(label, special=False), renderer.tokenizer.eos_id]
        with torch.inference_mode():
            odds = model(input_ids=torch.tensor([[*ids, *end]])).logits[0].double().log_softmax(-1)
        logs.append(sum(odds[len(ids) + at - 1, token].item() for at, token in enumerate(end)))
    shares = np.exp(logs) / np.exp(logs).sum()
    assert scored[(row.id, "tuned", "confidence")] == pytest.approx(shares.max(), abs=1e-4)


def test_a_model_that_boasts_has_a_higher_error(tmp_path: Path, tiny_base: Path) -> None:
    rows = [{"text": f"item {n} is {COLOURS[n % 4]}", "label": "abcd"[n // 4 % 4]} for n in range(160)]
    place = build(tmp_path, tiny_base, rows, steps=3)
    weights = base_weights(place)
    weights["model.norm.weight"] *= 30
    reseal(place.run / "model", weights)
    found = named(place.evaluate(**QUICK))
    assert found["ece"]["tuned"]["value"] > found["ece"]["base"]["value"] + 0.1
    assert found["ece"]["verdict"] == "worse"
    assert found["brier"]["tuned"]["value"] > found["brier"]["base"]["value"]


def test_the_base_under_another_name_is_as_sure(place: Workplace) -> None:
    reseal(place.run / "model", base_weights(place))
    found = named(place.evaluate(**QUICK))
    assert found["ece"]["verdict"] == found["brier"]["verdict"] == found["accuracy"]["verdict"] == "identical"


def test_calibration_is_left_out_and_may_decide(place: Workplace) -> None:
    heard = Heard()
    assert not named(place.evaluate(progress=heard, **probes(False))).keys() & set(calibration.METRICS)
    assert heard.choices[NAME].reason == "as set"
    assert place.evaluate(metric="ece", **QUICK)["verdict"]["name"] == "ece"
    with pytest.raises(SettingsError, match="'ece' is not measured on label rows"):
        place.evaluate(metric="ece", **probes(False))
    assert artefact.exists(place.run / "evaluation", "evaluation")


def test_what_cannot_be_calibrated_is_told(records: Workplace, place: Workplace) -> None:
    with pytest.raises(SettingsError, match=f"{NAME}: the answers are json; wanted: labels"):
        records.evaluate(**probes(True))
    renderer = open_renderer(place.base.folder, TextSettings())
    train = load_split(place.snapshot, "train")
    material = gather(load_split(place.snapshot, "test"), renderer)
    chosen = EvaluateSettings()
    one = [row for row in train if row.label == "red"]
    offer, told = sureness.choose((material, material), one, "label", chosen, renderer)
    assert offer is None
    assert told.reason == "1 different answers in the training rows; wanted: 2 to 64"
    assert len(sureness.choose((material, material), train, "label", chosen, renderer)[0].labels) == len(COLOURS)


def test_what_is_dear_is_only_done_when_it_is_asked_for(place: Workplace) -> None:
    renderer = open_renderer(place.base.folder, TextSettings())
    train = load_split(place.snapshot, "train")
    wide = [train[0].__class__(id=str(n), source="t:1", text="?", label=f"{'long ' * 40}{n}") for n in range(9)]
    material = gather(load_split(place.snapshot, "test"), renderer)
    offer, told = sureness.choose((material, material), wide, "label", EvaluateSettings(), renderer)
    assert offer is None
    assert "wanted: at most 4 times what is read anyway" in told.reason
    asked = EvaluateSettings.model_validate({"suites": {"probes": {"calibration": True}}})
    offer, _ = sureness.choose((material, material), wide, "label", asked, renderer)
    assert offer is not None
    assert (offer.right == -1).all()
