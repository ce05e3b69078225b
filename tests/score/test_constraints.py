import pytest

from metier.score.constraints import follows


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Plain words only.", 0),
        ("READ THIS, please!", 2),
        ("PLAYBOY'S offer: I'M in", 4),
        ("R&D in the U.S. -- NASA--ESA", 5),
        ("DON'T stop", 2),
        ("#TAG <NAME> (OK)", 3),
    ],
)
def test_words_in_capitals_are_counted_as_the_harness_counts_them(text, count):
    """Counts as by NLTKWordTokenizer of nltk 3.10, which lm-evaluation-harness asks."""
    given = {"capital_frequency": count, "capital_relation": "at least"}
    kind = "change_case:capital_word_frequency"
    assert follows(kind, text, given)
    assert not follows(kind, text, given | {"capital_frequency": count + 1})
