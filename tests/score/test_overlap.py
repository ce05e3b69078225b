import pytest

from metier.score.overlap import word_f1


@pytest.mark.parametrize(
    ("output", "reference", "wanted"),
    [
        ("The cat sat.", "the CAT, sat", 1.0),
        ("", "", 1.0),
        ("...", "", 1.0),
        ("", "the cat", 0.0),
        ("the cat", "", 0.0),
        ("the dog", "the cat", 0.5),
        ("the the the the", "the cat", 1 / 3),
    ],
)
def test_word_f1(output: str, reference: str, wanted: float) -> None:
    assert word_f1(output, reference) == pytest.approx(wanted)
