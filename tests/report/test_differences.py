from hypothesis import given
from hypothesis import strategies as st

from metier.report.differences import is_alike, parts


def test_the_words_that_differ_are_found():
    assert parts('{"a": 1, "b": 2}', '{"a": 1, "b": 3}') == [('{"a": 1, "b": ', True), ("3", False), ("}", True)]


def test_the_same_text_is_one_piece_and_an_empty_one_none_to_mark():
    assert parts("x", "x") == [("x", True)]
    assert parts("x", "") == [("", False)]


def test_very_long_texts_are_not_compared_word_by_word():
    assert parts("a " * 2000, "a " * 1999) == [("a " * 1999, False)]


@given(st.text(), st.text())
def test_the_pieces_joined_are_the_output(reference, output):
    assert "".join(piece for piece, _ in parts(reference, output)) == output


def test_marking_words_helps_only_where_much_is_the_same():
    assert is_alike(parts('{"a": 1, "b": 2}', '{"a": 1, "b": 3}'))
    assert is_alike(parts("x", "x"))
    assert not is_alike(parts("refund_status", "Once there was a bird, and it sang."))
