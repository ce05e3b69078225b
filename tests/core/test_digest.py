"""Content hashes: equal content gives equal text, any change another."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.core import digest

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=4), PLAIN, max_size=5))
def test_the_order_of_names_does_not_matter(value):
    backwards = dict(reversed(list(value.items())))
    assert digest.of_value(value) == digest.of_value(backwards)
    assert digest.canonical_json(value) == digest.canonical_json(backwards)


def test_every_change_matters():
    values = [{"a": 1}, {"a": "1"}, {"a": 1.5}, {"b": 1}, {"a": [1]}, {"a": None}, {"a": True}, {}, [], "", None]
    assert len({digest.of_value(value) for value in values}) == len(values)


def test_texts_are_kept_as_they_are():
    assert digest.canonical_json({"b": "ü\n", "a": [1, 2]}) == '{"a":[1,2],"b":"ü\\n"}'


def test_what_is_no_number_has_no_hash():
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest.of_value({"loss": float("nan")})


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_a_file_hashes_as_its_bytes(tmp_path, size):
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    (tmp_path / "f").write_bytes(data)
    expected = hashlib.sha256(data).hexdigest()
    assert digest.of_file(tmp_path / "f") == expected == digest.of_bytes(data)
