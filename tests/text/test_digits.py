"""Tokenizers that set digits apart: in two steps they give the ids that they give in one."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from tokenizers import Tokenizer

from metier.text import pieces
from metier.text.digits import Apart, between_digits, ranges
from metier.text.pieces import Fast, Slow, Unequal
from tests.text import bases


def engine(**changes: object) -> Tokenizer:
    """Return a small tokenizer of this kind with a control token that has a digit in it."""
    data = json.loads(bases.byte_level())
    steps = [{"type": "Digits", "individual_digits": True}, data["pre_tokenizer"]]
    found = Tokenizer.from_str(
        json.dumps(data | {"pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}} | changes)
    )
    found.add_special_tokens(["<|slot_1|>"])
    return found


TEXTS = some.lists(
    some.one_of(
        some.sampled_from(
            ["card 12", "a  34b", "½ Ⅳ ٣", "<|slot_1|>5", "1<|slot_1|>", " 7 ", "\n8\n\n", "I'm 4's", "<|end|>9"]
        ),
        some.text(max_size=20),
        some.text(alphabet="01 ab\n'", max_size=20),
    ),
    max_size=6,
)


@settings(deadline=None)
@given(TEXTS)
def test_what_stands_between_digits_is_encoded_as_in_one_step(texts: list[str]):
    whole = engine()
    between = between_digits(whole)
    assert between is not None
    apart = Apart(texts, between.whole)
    found = Slow(between.engine).encode(apart.pieces)
    ids, offsets = apart.joined(found.ids, found.offsets)
    wanted = Slow(whole).encode(texts)
    assert ids.tolist() == wanted.ids.tolist()
    assert offsets.tolist() == wanted.offsets.tolist()


def test_the_second_library_serves_them_and_is_held_against_the_first(monkeypatch):
    pytest.importorskip("gigatoken")
    texts = [f"<|role|>user\nthe card {number} – 日本 é ½ <|slot_1|>{number}" for number in range(300)]
    found, wanted = Fast(engine(), parallel=False).encode(texts), Slow(engine()).encode(texts)
    assert found.ids.tolist() == wanted.ids.tolist()
    monkeypatch.setattr(pieces, "Apart", lambda texts, whole: Apart([text.replace("1", "11") for text in texts], whole))
    with pytest.raises(Unequal, match="otherwise than the base's tokenizer"):
        Fast(engine(), parallel=False).encode(texts)


def _steps(*, digits: bool = True, space: bool = False, regex: bool = True) -> list[dict[str, object]]:
    cut = {"type": "ByteLevel", "add_prefix_space": space, "use_regex": regex}
    return [{"type": "Digits", "individual_digits": digits}, cut]


@pytest.mark.parametrize("steps", [_steps(digits=False), _steps(space=True), _steps(regex=False), _steps()[:1]])
def test_another_rule_is_left_alone(steps):
    filled = [step | ({"trim_offsets": True} if step["type"] == "ByteLevel" else {}) for step in steps]
    assert between_digits(engine(pre_tokenizer={"type": "Sequence", "pretokenizers": filled})) is None
    assert between_digits(engine(normalizer={"type": "Lowercase"})) is None
    assert between_digits(Tokenizer.from_str(bases.byte_level())) is None


def test_ranges_are_numbered_one_after_another():
    assert ranges(np.array([5, 0, 9]), np.array([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]
    assert ranges(np.array([], np.int64), np.array([], np.int64)).tolist() == []
