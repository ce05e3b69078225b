"""The frontier on real tiny models: its ends are base and tuned model, and nothing stays changed."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from metier.core.errors import DataError
from metier.evaluate import frontier
from metier.evaluate.frontier import recommend
from metier.evaluate.settings import EvaluateSettings, ResamplingSettings
from metier.model.load import load_base, load_tuned
from metier.model.scale import scaled
from metier.text.settings import TextSettings
from tests.evaluate.conftest import Workplace
from tests.evaluate.test_run import Heard

IDS = torch.tensor([[1, 40, 41, 42]])


@pytest.mark.parametrize("kind", ["labels", "records"])
def test_scale_0_is_the_base_and_1_the_tuned_model(kind: str, request: pytest.FixtureRequest) -> None:
    place: Workplace = request.getfixturevalue(kind)
    base, tuned = load_base(place.base), load_tuned(place.base, place.run / "model")
    with torch.no_grad():
        first, second = base(IDS).logits, tuned(IDS).logits
        with scaled(tuned, base, 0.0):
            assert torch.allclose(tuned(IDS).logits, first, atol=1e-5)
        with scaled(tuned, base, 0.5):
            between = tuned(IDS).logits
        assert torch.equal(tuned(IDS).logits, second)
    assert not torch.allclose(between, first, atol=1e-6)
    assert not torch.allclose(between, second, atol=1e-6)


def test_a_frontier_is_measured_and_a_model_that_forgot_everything_gets_a_smaller_scale_or_remedies(
    spoiled: Workplace,
) -> None:
    """A planted fault: ninety steps on four words wreck the base at full scale."""
    settings = EvaluateSettings(resampling=ResamplingSettings(samples=200), metric="ece")
    heard = Heard()
    folder = frontier.measure(
        spoiled.snapshot, spoiled.base, spoiled.run, text=TextSettings(), settings=settings, progress=heard
    )
    found = json.loads((folder / "frontier.json").read_text(encoding="utf-8"))
    assert "ece is measured by evaluations alone" in heard.choices["evaluate.metric"].reason
    assert found["metric"] == "accuracy"  # how sure it is, is measured by `metier evaluate` alone
    losses = [point["retention"]["difference"]["value"] for point in found["points"]]
    assert losses[4] > losses[3] > losses[1]
    assert found["points"][3]["kept"] == "lost"
    assert found["recommended"] is None or found["recommended"] < 1
    told = frontier.report(spoiled.run)
    assert told.figures[0].x_label == "scale"
    assert (told.verdict.good is False) == (found["recommended"] is None)
    if found["recommended"] is None:
        assert "train.regularise.replay" in told.verdict.text
        commands = [row[1] for row in told.tables[1].rows]
        assert commands[:2] == [
            "metier run --train.regularise.replay 0.2", "metier run --train.regularise.kl-to-base 0.1",
        ]  # fmt: skip
        assert commands[2] == "metier run --train.learning-rate 0.002"


def point(scale: float, value: float, kept: str) -> dict[str, Any]:
    return {"scale": scale, "kept": kept, "task": {"name": "accuracy", "tuned": {"value": value}}}


def test_the_best_that_keeps_is_recommended() -> None:
    points = [point(0.5, 0.7, "kept"), point(0.75, 0.8, "kept"), point(1.0, 0.9, "lost")]
    assert recommend(points) == 0.75
    assert recommend(points[2:]) is None
    assert recommend([point(0.5, 0.8, "kept"), point(1.0, 0.8, "kept")]) == 0.5


def test_a_run_without_a_frontier(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no frontier"):
        frontier.report(tmp_path)
