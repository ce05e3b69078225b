"""Leaks from held-out texts into training rows: planted ones are found, with both places, and nothing else is."""

import random

import pytest

from metier.core.errors import DataError
from tests.prepare.duplicates.planted import sentence
from tests.prepare.workshop import dropped, rows


@pytest.fixture
def shop(workshop):
    """A benchmark of forty questions, of which two stand inside training rows and one short one is asked in full."""
    chosen = random.Random(0)
    questions = [sentence(chosen, 30) for _ in range(40)]
    short = "why does the copper kettle sing"
    workshop.lines("bench.jsonl", [{"task": {"prompt": text}, "level": 3} for text in [*questions, short]])
    train = [{"text": sentence(chosen, 40), "label": "ab"[number % 2]} for number in range(100)]
    train[10]["text"] = f"{train[10]['text']} {questions[3].upper()} and more"
    train[20]["text"] = f"so {' '.join(questions[7].split()[5:18])} so"
    train[30]["text"] = "Why does the copper kettle sing?"
    train[40]["text"] = f"so {' '.join(questions[8].split()[5:17])} so"
    workshop.lines("t.jsonl", train)
    return workshop


def leaks(result):
    return {item.source: item.detail for item in dropped(result) if item.rule == "contamination"}


SETTINGS = {"validation_share": 0, "test_share": 0}


def test_planted_leaks_are_dropped_with_both_places(shop):
    result = shop.prepare("t.jsonl", contamination={"against": ["bench.jsonl"], "action": "drop"}, **SETTINGS)
    assert leaks(result) == {
        "t.jsonl:11": "like bench.jsonl:4", "t.jsonl:21": "like bench.jsonl:8", "t.jsonl:31": "like bench.jsonl:41",
    }  # fmt: skip
    assert result.counts["train"] == 97
    assert "3 training row(s) share 13 words" in result.warnings[0]


def test_flagged_leaks_stay(shop):
    result = shop.prepare("t.jsonl", contamination={"against": ["bench.jsonl"]}, **SETTINGS)
    assert result.counts["train"] == 100
    assert "3 training row(s)" in result.warnings[0]


def test_words_is_how_long_a_leak_is(shop):
    settings = {"against": ["bench.jsonl"], "action": "drop", "words": 12}
    assert "t.jsonl:41" in leaks(shop.prepare("t.jsonl", contamination=settings, **SETTINGS))


def test_rows_to_keep_are_kept(shop):
    settings = {"against": ["bench.jsonl"], "action": "drop"}
    result = shop.prepare("t.jsonl", contamination=settings, keep=["t.jsonl:11"], **SETTINGS)
    assert set(leaks(result)) == {"t.jsonl:21", "t.jsonl:31"}


def test_another_benchmark_is_another_snapshot(shop):
    settings = {"against": ["bench.jsonl"], "action": "drop"}
    before = shop.prepare("t.jsonl", contamination=settings, **SETTINGS)
    shop.lines("bench.jsonl", [{"prompt": "nothing of it"}])
    after = shop.prepare("t.jsonl", contamination=settings, **SETTINGS)
    assert after.path != before.path
    assert after.counts["train"] == 100


@pytest.mark.parametrize("test", [True, False])
def test_the_projects_own_test_rows_count(workshop, test):
    chosen = random.Random(1)
    held = sentence(chosen, 30)
    train = [{"text": sentence(chosen, 40), "label": "a"} for _ in range(50)]
    train[5]["text"] += " " + held
    data = {
        "train": workshop.lines("t.jsonl", train),
        "test": workshop.lines("e.jsonl", [{"text": held, "label": "b"}, {"text": sentence(chosen, 30), "label": "a"}]),
    }
    result = workshop.prepare(data, contamination={"test": test, "action": "drop"}, validation_share=0)
    assert leaks(result) == ({"t.jsonl:6": "like e.jsonl:1"} if test else {})


def test_what_many_rows_say_is_no_leak(workshop):
    chosen = random.Random(2)
    template = sentence(chosen, 20)
    train = [{"text": f"{template} {number} {sentence(chosen, 30)}"} for number in range(60)]
    result = workshop.prepare(workshop.lines("t.jsonl", train), contamination={"action": "drop"})
    assert leaks(result) == {}
    assert sum(len(part) for part in rows(result).values()) == 60


def test_a_benchmark_that_is_not_there(workshop):
    workshop.lines("t.jsonl", [{"text": f"row {'abcdefgh'[number]}"} for number in range(8)])
    with pytest.raises(DataError, match=r"no\.jsonl: no such file"):
        workshop.prepare("t.jsonl", contamination={"against": ["no.jsonl"]})
