import pytest

from metier.score.exact import clean, exact_match


@pytest.mark.parametrize(
    ("output", "reference"),
    [
        ("refund", "refund"),
        (" refund\n", "refund"),
        ("cafe\u0301", "caf\u00e9"),
        ('{"b": 1, "a": [1, 2]}', '{"a":[1,2],"b":1.0}'),
        ("[]", " [ ] "),
    ],
)
def test_same(output: str, reference: str) -> None:
    assert exact_match(output, reference)


@pytest.mark.parametrize(
    ("output", "reference"),
    [
        ("Refund", "refund"),
        ("refund.", "refund"),
        ("", "refund"),
        ('{"a": 1, "b": 2}', '{"a": 1}'),
        ('{"a": 1}', '{"a": 1, "b": 2}'),
        ('{"a": true}', '{"a": 1}'),
        ('{"a": "1"}', '{"a": 1}'),
        ('Sure! {"a": 1}', '{"a": 1}'),
        ("{}", "[]"),
        ("1.0", "1"),
    ],
)
def test_different(output: str, reference: str) -> None:
    assert not exact_match(output, reference)


def test_clean_strips_and_composes() -> None:
    assert clean("\t e\u0301 \n") == "\u00e9"
