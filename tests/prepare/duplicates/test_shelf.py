"""What is compared of every row on disk: the same in parts of any size, and little memory whatever the settings."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.prepare import ledger
from metier.prepare.duplicates import shelf as room
from metier.prepare.duplicates.shelf import Compared, fill
from metier.prepare.duplicates.words import fold


def _rows(count: int, settings: int) -> list[Compared]:
    """Every third setting stands alone, the others twice; some rows have none."""
    named = [f"house rule {number // 2 if number % 3 else number + settings}" for number in range(settings)]
    drawn = (["", *named] * count)[:count]
    return [Compared(setting, f"q {row}", f"a {row}", row % 2) for row, setting in enumerate(drawn)]


def test_parts_of_any_size_are_the_same_shelf(tmp_path, monkeypatch):
    rows, numbers, seen = _rows(100, 60), np.flatnonzero(np.arange(100) % 7), []
    for together in (1 << 15, 9):
        monkeypatch.setattr(room, "_TOGETHER", together)
        shelves = fill(rows, tmp_path / f"texts{together}")
        compared, said = shelves.compared(numbers), shelves.said(numbers)
        batches = [batch.tolist() for batch in compared.batches(1 << 20)]
        assert [number for batch in batches for number in batch] == list(range(len(numbers)))
        texts = [shelf.take(np.arange(len(numbers))).buffer.tobytes() for shelf in (compared, said)]
        seen.append((compared.rows.tolist(), said.rows.tolist(), texts))
    assert seen[0] == seen[1]
    assert b"house" in seen[0][2][0]
    assert b"house" not in seen[0][2][1]


def test_settings_are_looked_up_and_not_sorted_for_each_part(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "_TOGETHER", 512)
    count = 20_000
    shelves = fill((Compared(f"house rule {number}", "q", "a", 0) for number in range(count)), tmp_path / "texts")
    hashes = np.sort(np.concatenate([folded["setting_hash"] for folded, _ in shelves._folded(np.arange(count))]))
    tracemalloc.start()
    try:
        shelf = shelves._shelf(np.arange(count), hashes)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (shelf.rows["end"] - shelf.rows["begin"] > len("house rule ")).all()
    assert peak < 2 * hashes.nbytes  # sorting them with a part takes three times as much as they are


def test_rows_far_from_one_another_are_read_as_near_ones_are(tmp_path, monkeypatch):
    shelf = fill(_rows(100, 10), tmp_path / "texts").compared(np.arange(100))
    numbers = np.array([[3, 99], [3, 50], [4, 0]])
    before = shelf.of(numbers).tolist()
    monkeypatch.setattr(ledger, "NEAR", 0)
    assert shelf.of(numbers).tolist() == before == shelf.rows[numbers].tolist()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 99), min_size=1, max_size=30), st.sampled_from((0, 20, 1 << 13)))
def test_texts_are_taken_in_the_order_asked_for_whatever_stands_between(tmp_path_factory, numbers, near):
    """Planted: rows that go back, rows asked for twice, and texts between that nobody asked for."""
    folder = tmp_path_factory.mktemp("shelf")
    rows = [Compared("", f"question {row}", "answer" * (row % 5), 0) for row in range(100)]
    shelf = fill(rows, folder / "texts").compared(np.arange(100))
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(room, "NEAR", near)
        texts = shelf.take(np.array(numbers))
    expected = fold([tuple(rows[number][1:3]) for number in numbers])
    assert texts.buffer.tobytes() == expected.buffer.tobytes()
    assert texts.starts.tolist() == expected.starts.tolist()
