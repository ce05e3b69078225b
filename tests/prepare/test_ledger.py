"""Columns on disk: what was appended comes back, and what was looked at can be let go."""

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.prepare import ledger
from metier.prepare.ledger import Ledger, Pages, Records, unnamed


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5), max_size=6))
def test_what_was_appended_comes_back_in_order(tmp_path_factory, turns):
    ledger = Ledger({"whole": "q", "half": "d"}, tmp_path_factory.getbasetemp())
    for values in turns:
        for value in values:
            ledger.waiting["whole"].append(value)
            ledger.waiting["half"].append(value / 2)
        ledger.turn()
    columns, pages = ledger.read()
    expected = [value for values in turns for value in values]
    pages.let_go()
    assert columns["whole"].tolist() == expected
    assert columns["half"].tolist() == [value / 2 for value in expected]


def test_a_column_is_no_memory_once_it_is_let_go(tmp_path):
    owner, pages, size = Ledger({}, tmp_path), Pages(), 64 << 20
    stream = unnamed(owner, tmp_path)
    stream.write(b"\1" * size)
    column, process = pages.mapped(stream, np.dtype(np.uint8)), psutil.Process()
    before = process.memory_info().rss
    assert column.sum(dtype=np.int64) == size
    seen = process.memory_info().rss
    pages.let_go()
    after = process.memory_info().rss
    assert seen - before > size // 2
    assert after - before < size // 8
    assert column[-1] == 1
    assert list(tmp_path.iterdir()) == []  # a file without a name


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 199), max_size=20), st.sampled_from((0, 40, 1 << 13)), st.sampled_from((64, 1 << 22)))
def test_rows_are_read_where_they_stand(tmp_path_factory, numbers, near, most):
    """However far apart rows are read together, and however much is read before it is sorted out."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(ledger, "NEAR", near)
        changed.setattr(ledger, "_MOST_BYTES", most)
        _are_read_where_they_stand(tmp_path_factory, numbers)


def _are_read_where_they_stand(tmp_path_factory, numbers):
    folder = tmp_path_factory.getbasetemp()
    owner = Ledger({}, folder)
    stream = unnamed(owner, folder)
    stream.write(np.arange(200, dtype=np.int64).tobytes())
    stream.flush()
    found = Records(stream, np.dtype(np.int64)).of(np.array([numbers, numbers[::-1]], np.int64))
    assert found.tolist() == [numbers, numbers[::-1]]


def test_rows_one_after_the_other_are_read_at_once(tmp_path):
    with (tmp_path / "rows").open("w+b") as stream:
        np.arange(100, dtype=np.int64).tofile(stream)
        stream.flush()
        records = Records(stream, np.dtype(np.int64))
        for first, behind in ((0, 100), (7, 8), (99, 100), (3, 50)):
            assert records.of(np.arange(first, behind)).tolist() == list(range(first, behind))
        assert records.of(np.array([5, 4, 7])).tolist() == [5, 4, 7]
        assert records.of(np.array([2, 2, 4])).tolist() == [2, 2, 4]
