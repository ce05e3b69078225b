"""The compact table of first places answers as a dictionary would."""

from hypothesis import given
from hypothesis import strategies as st

from metier.prepare.first import First

IDS = st.integers(0, 2**96 - 1).map(lambda number: f"{number:024x}") | st.sampled_from(
    ["0" * 24, "f" * 24, "0" * 23 + "1"]
)
SOURCES = st.sampled_from(["t.jsonl:1", "t.jsonl:007", "t.jsonl:12.2", "a:b:3", "nowhere", ":5", "t.jsonl:²"])


@given(st.lists(st.tuples(IDS, SOURCES, st.sampled_from(["train", "test"]))))
def test_it_is_a_dictionary(entries):
    first, expected = First(), {}
    for row_id, source, role in entries:
        assert first.setdefault(row_id, source, role) == expected.setdefault(row_id, (source, role))
    assert len(first) == len(expected)


def test_it_grows():
    first = First()
    ids = [f"{number * 0x9E3779B97F4A7C15F39CC060 % 2**96:024x}" for number in range(10_000)]
    for line, row_id in enumerate(ids, 1):
        assert first.setdefault(row_id, f"t.jsonl:{line}", "train") == (f"t.jsonl:{line}", "train")
    for line, row_id in enumerate(ids, 1):
        assert first.setdefault(row_id, "other:1", "test") == (f"t.jsonl:{line}", "train")
