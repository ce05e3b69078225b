import json

import pytest

from metier.score import spans, structured

WANTED = json.dumps({"person": ["Ada Lovelace", "Alan Turing"], "place": []})


@pytest.mark.parametrize(
    ("said", "whole", "words"),
    [
        (WANTED, (2, 0, 0), (4, 0, 0)),
        ({"person": ["ada  lovelace"], "place": ["London"]}, (1, 1, 1), (2, 1, 2)),
        ({"person": ["Lovelace", "Alan Turing"]}, (1, 1, 1), (3, 0, 1)),
        ({"place": ["Ada Lovelace"]}, (0, 1, 2), (0, 2, 4)),
        ("not JSON", (0, 0, 2), (0, 0, 4)),
    ],
)
def test_spans_whole_and_by_word(said: object, whole: tuple[int, ...], words: tuple[int, ...]) -> None:
    output = said if isinstance(said, str) else json.dumps(said)
    assert spans.counts(output, WANTED) == whole
    assert spans.partial_counts(output, WANTED) == words


def test_numbers_are_right_within_the_tolerance() -> None:
    wanted = json.dumps({"total": 100.0, "items": [{"n": 3}], "paid": True, "name": "Bo"})
    said = json.dumps({"total": 100.9, "items": [{"n": 3.02}], "paid": 1, "name": "bo"})
    assert structured.close_counts(said, wanted, 0.0) == (0, 4, 4)
    assert structured.close_counts(said, wanted, 0.01) == (2, 2, 2)
    assert structured.close_counts("nothing", wanted, 1.0) == (0, 0, 4)
