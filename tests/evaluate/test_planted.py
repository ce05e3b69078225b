"""Faults of an evaluation that must be told, seen from the verdict that a person reads."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from metier.core.types import LabelledRow
from metier.evaluate import leaks
from metier.evaluate.report import verdict
from metier.evaluate.settings import EvaluateSettings, ResamplingSettings
from metier.evaluate.summary import summarise
from tests.evaluate.conftest import side

SETTINGS = EvaluateSettings(resampling=ResamplingSettings(samples=200))
WANTED = ["yes", "no", "later", "never"] * 100


def told(ask: Any, base: list[str], tuned: list[str], *, ended: list[bool] | None = None, **more: Any) -> Any:
    sides = side("base", base), side("tuned", tuned)
    if ended is not None:
        sides = sides[0], dataclasses.replace(sides[1], ended=tuple(ended))
    facts = summarise(ask(WANTED), *sides, SETTINGS)
    conditions = {"settings": SETTINGS.model_dump(mode="json")}
    return verdict(facts | {"conditions": conditions, "retention": None, "suites": [], "leaked": None} | more)


def partly(share: float, seed: int) -> list[str]:
    random = np.random.default_rng(seed)
    return [word if right else "?" for word, right in zip(WANTED, random.random(400) < share, strict=True)]


@pytest.mark.parametrize("seed", range(20))
def test_the_base_with_noise_is_not_better(ask: Any, seed: int) -> None:
    base = partly(0.7, 100 + seed)
    random = np.random.default_rng(seed)
    noisy = [w if right else o for w, o, right in zip(WANTED, base, random.random(400) < 0.002, strict=True)]
    assert told(ask, base, noisy).text.partition(":")[0] in ("equivalent", "identical", "cannot tell")


def test_a_model_that_learnt_the_test_rows_by_heart_is_told(ask: Any) -> None:
    rows = [LabelledRow(id=str(n), source=f"test:{n}", text=f"text {n}", label=word) for n, word in enumerate(WANTED)]
    leaked = leaks.found(rows, rows[:300])
    text = told(ask, partly(0.5, 1), list(WANTED), leaked=leaked).text
    assert text.startswith("better")
    assert "300 of the rows asked were trained on (first: test:0)" in text


def test_truncated_outputs_are_told(ask: Any) -> None:
    tuned = partly(0.9, 2)
    assert "cut off" not in told(ask, partly(0.5, 1), tuned).text
    assert (
        "30 % of its answers were cut off at the limit"
        in told(ask, partly(0.5, 1), tuned, ended=[n % 10 >= 3 for n in range(400)]).text
    )


def test_a_base_that_cannot_follow_the_format_is_beaten_by_any_constant_and_that_is_said(ask: Any) -> None:
    text = told(ask, ["I do not understand the question."] * 400, ["yes"] * 400).text
    assert text.startswith("better")
    assert "not shown to be better than always answering the most frequent" in text


def test_a_slice_that_got_worse_is_told_beside_a_better_whole(ask: Any) -> None:
    random = np.random.default_rng(3)
    rare = np.arange(2000) % 10 == 0
    base = random.random(2000) < 0.7
    tuned = np.where(rare, base & (random.random(2000) > 0.2), base | (random.random(2000) < 0.4))
    wanted = ["yes"] * 2000
    said = [side(name, ["yes" if r else "no" for r in part]) for name, part in (("base", base), ("tuned", tuned))]
    slices = ["rare" if each else "usual" for each in rare]
    facts = summarise(ask(wanted, slice=slices), *said, SETTINGS)
    conditions = {"settings": SETTINGS.model_dump(mode="json")}
    text = verdict(facts | {"conditions": conditions, "retention": None, "suites": [], "commonest": None}).text
    assert text.startswith("better")
    assert "worse in the slice rare" in text
