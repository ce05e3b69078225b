"""Our scores are those of lm-evaluation-harness, item by item, as it gave them.

What it gave stands here (0.4.13, Hugging Face backend, float32, stories260K, printed by `python -m bench.harness`).
"""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from bench import harness, places

WEIGHTS = "stories260K"
THEIRS = {
    "mmlu": "101000000000000101001000",
    "blimp": "011000110111000101101100",
    "lambada": "000000000000000000000001",
    "truthfulqa": "000000100100100000000110",
    "gsm8k": "000000000000000000000000",
}


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The model that both were asked with; the benchmarks' files lie beside it, and nobody commits either."""
    if "METIER_SHARED" not in os.environ:
        monkeypatch.setenv("METIER_SHARED", "/work/shared")
    found = places.shared() / "weights" / WEIGHTS
    if not found.is_dir():
        pytest.skip(f"{found} is not there")
    return found


@pytest.mark.parametrize("task", THEIRS)
def test_every_item_is_judged_as_the_harness_judged_it(model: Path, task: str) -> None:
    places_of = {"blimp": "blimp/BLiMP.zip"}
    data = model.parents[1] / "data" / places_of.get(task, task)
    if not data.exists():
        pytest.skip(f"{data} is not there")
    ((_, _, _, suite),) = harness.TASKS[task]()
    found = harness.ours(suite, model, len(THEIRS[task]))["values"]
    assert "".join(f"{value:.0f}" for value in found) == THEIRS[task]


def test_a_suite_that_is_read_wrongly_is_seen(model: Path) -> None:
    if not (model.parents[1] / "data" / "blimp" / "BLiMP.zip").exists():
        pytest.skip("BLiMP is not there")
    ((_, _, _, suite),) = harness.TASKS["blimp"]()
    turned = tuple(replace(item, options=item.options[::-1]) for item in suite.items[: len(THEIRS["blimp"])])
    found = harness.ours(replace(suite, items=turned), model, len(turned))["values"]
    assert "".join(f"{value:.0f}" for value in found) != THEIRS["blimp"]
