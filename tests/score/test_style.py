import pytest

from metier.score import style
from metier.score.style import Wanted

PLAIN = "The cat sat on the mat. It was warm."
HARD = (
    "Notwithstanding considerable organisational complexity, interdepartmental communication necessitates "
    "comprehensive documentation procedures."
)


def test_each_rule_finds_its_fault_and_nothing_else() -> None:
    assert style.faults(PLAIN, Wanted(least_words=3, most_words=20, most_grade=8, patterns=[r"\bcat\b"])) == []
    assert style.faults("Hi", Wanted(least_words=3)) == ["1 words, at least 3 wanted"]
    assert style.faults(PLAIN, Wanted(most_words=3)) == ["9 words, at most 3 wanted"]
    assert "reading grade" in style.faults(HARD, Wanted(most_grade=12))[0]
    assert style.faults(PLAIN, Wanted(forbidden=["CAT", "at"])) == ["contains 'CAT'"]
    assert style.faults(PLAIN, Wanted(patterns=["dog"])) == ["does not match dog"]


def test_the_reading_grade_by_hand() -> None:
    assert style.grade("The cat sat. The dog ran.") == pytest.approx(max(0, 0.39 * 3 + 11.8 - 15.59))
    assert style.grade(HARD) > 20
    assert style.grade("") == 0


def test_sentences_and_words() -> None:
    assert style.sentences("One. Two! Three? and no end") == 3
    assert style.sentences("no end") == 1
    assert style.words("it’s state-of-the-art") == ["it’s", "state", "of", "the", "art"]
