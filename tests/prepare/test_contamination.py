"""Leaks from held-out texts into training rows: planted ones are found, with both places, and nothing else is."""

import random
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.core.errors import DataError
from metier.prepare.contamination import meeting as meeting_room
from metier.prepare.contamination.meeting import Meeting
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


HASHES = st.integers(0, 2**64 - 1) | st.integers(0, 40).map(lambda number: number << 58 | number)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.lists(HASHES, max_size=6)), st.lists(st.lists(HASHES, max_size=6)), st.integers(1, 3),
    st.sampled_from([0, 3, 1 << 18]),
)  # fmt: skip
def test_what_meets_on_disk_is_what_meets_in_memory(tmp_path_factory, held, passing, most, waiting):
    rows_of = defaultdict[int, set[int]](set)
    for row, hashes in enumerate(passing):
        for value in hashes:
            rows_of[value].add(row)
    meant = {value for hashes in held for value in hashes if 0 < len(rows_of[value]) <= most}
    expected = {row: min(shared) for row, hashes in enumerate(passing) if (shared := meant.intersection(hashes))}
    with pytest.MonkeyPatch.context() as patch, Meeting(tmp_path_factory.getbasetemp(), most) as meeting:
        patch.setattr(meeting_room, "_MOST_WAITING", waiting)
        for hashes in held:
            meeting.hold(np.array(hashes, np.uint64))
        for row, hashes in enumerate(passing):
            meeting.pass_by(np.array(hashes, np.uint64), np.full(len(hashes), row))
        rows, least = meeting.met()
    assert dict(zip(rows.tolist(), least.tolist(), strict=True)) == expected


def test_a_crowded_sieve_hides_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(meeting_room, "_MOST_BITS", 10)
    chosen = np.random.default_rng(0)
    held, other = (chosen.integers(0, 2**64, 5000, np.uint64) for _ in range(2))
    with Meeting(tmp_path, 10) as meeting:
        meeting.hold(held)
        meeting.pass_by(np.concatenate([other, held]), np.arange(10_000))
        rows, least = meeting.met()
    assert rows.tolist() == list(range(5000, 10_000))
    assert (least == held).all()


def test_what_all_rows_share_is_not_written_for_each(tmp_path, monkeypatch):
    monkeypatch.setattr(meeting_room, "_MOST_WAITING", 100)
    common, own = 1 << 63, np.arange(50, dtype=np.uint64) << np.uint64(50)
    with Meeting(tmp_path, 10) as meeting:
        meeting.hold(np.append(own, np.uint64(common)))
        for start in range(0, 50_000, 50):
            shared = own if start == 20_000 else np.full(50, common, np.uint64)
            meeting.pass_by(shared, np.arange(start, start + 50))
        written = sum(file.seek(0, 2) for file in meeting._passing)
        rows, least = meeting.met()
    assert written < 12 * (50 + 2 * 100)
    assert rows.tolist() == list(range(20_000, 20_050))
    assert least.tolist() == own.tolist()
