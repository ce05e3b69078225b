from typing import Any

import pytest

from metier.evaluate.wording import (
    change,
    change_with_interval,
    level,
    level_with_interval,
    retention_sentence,
    sentence,
    word,
)


def metric(name: str = "exact_match", verdict: str = "better", **changes: Any) -> dict[str, Any]:
    return {
        "name": name, "verdict": verdict, "reason": "", "more_rows": None, "rows": 98, "units": 98,
        "base": {"value": 0.0, "low": 0.0, "high": 0.037},
        "tuned": {"value": 0.6122, "low": 0.51, "high": 0.7},
        "difference": {"value": 0.6122, "low": 0.521, "high": 0.7},
    } | changes  # fmt: skip


def test_better() -> None:
    told = sentence(metric(), confidence=0.95)
    assert told.good is True
    assert told.text == (
        "better: exact match 61.2 % against the base's 0.0 %, difference +61.2 points, "
        "95 % interval +52.1 to +70.0, 98 rows"
    )


def test_cannot_tell_says_what_would() -> None:
    found = metric(
        verdict="cannot tell", more_rows=1400, reason="only 3 rows changed between right and wrong", units=20
    )
    told = sentence(found, confidence=0.9)
    assert told.good is None
    assert told.text.endswith(
        "90 % interval +52.1 to +70.0, 98 rows in 20 groups; about 1,400 more rows needed; "
        "only 3 rows changed between right and wrong"
    )


@pytest.mark.parametrize("verdict", ["worse", "equivalent", "identical"])
def test_what_is_not_better_is_no(verdict: str) -> None:
    assert sentence(metric(verdict=verdict), confidence=0.95).good is False


def test_identical_says_what_is_the_same() -> None:
    assert "same answer, byte for byte" in sentence(metric(verdict="identical"), confidence=0.95).text
    assert "same loss, to the last bit" in sentence(metric("loss", "identical"), confidence=0.95).text


def test_two_runs_are_named() -> None:
    told = sentence(metric(), confidence=0.95, names=("run-1", "run-2"))
    assert "exact match 61.2 % (run-2) against 0.0 % (run-1)" in told.text


def test_no_interval_is_not_invented() -> None:
    found = metric(difference={"value": 1.0, "low": None, "high": None}, rows=1)
    assert sentence(found, confidence=0.95).text.endswith("difference +100.0 points, 1 row in 98 groups") is False
    assert "interval" not in sentence(found, confidence=0.95).text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("accuracy", 0.5, "50.0 %"),
        ("loss", 1.23456, "1.235 nats"),
        ("perplexity", 12.34, "12.3"),
        ("perplexity", 12345.6, "12,346"),
        ("perplexity", None, "–"),
        ("perplexity", float("inf"), "∞"),
    ],
)
def test_levels(name: str, value: float | None, text: str) -> None:
    assert level(name, value) == text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("accuracy", -0.021, "−2.1 points"),
        ("accuracy", 0.0, "+0.0 points"),
        ("loss", -1.5, "−1.500 nats"),
        ("perplexity", 0.25, "+0.250"),
        ("loss", None, "–"),
    ],
)
def test_changes(name: str, value: float | None, text: str) -> None:
    assert change(name, value) == text


def test_intervals() -> None:
    assert level_with_interval("loss", {"value": 1.0, "low": 0.9, "high": 1.1}) == "1.000 (0.900 to 1.100)"
    assert level_with_interval("loss", {"value": 1.0, "low": None, "high": None}) == "1.000"
    share = {"value": -0.5, "low": -0.6, "high": 0.1}
    assert change_with_interval("accuracy", share) == "−50.0 (−60.0 to +10.0)"


def test_word_names_the_missing_rows() -> None:
    assert word(metric()) == "better"
    assert word(metric(verdict="cannot tell", more_rows=140)) == "cannot tell: about 140 more rows needed"
    assert word(metric(verdict="cannot tell", more_rows=1)) == "cannot tell: about 1 more row needed"


@pytest.mark.parametrize(
    ("verdict", "beginning"),
    [("kept", "kept: loss on general text"), ("lost", "forgot"), ("cannot tell", "cannot tell")],
)
def test_retention(verdict: str, beginning: str) -> None:
    value = {"value": 1.0, "low": 0.9, "high": 1.1}
    ledger = {"verdict": verdict, "margin": 0.05, "metrics": [{"base": value, "tuned": value, "difference": value}]}
    assert retention_sentence(ledger).startswith(beginning)
    assert "+0.05" in retention_sentence(ledger)
