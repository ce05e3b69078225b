"""Marks and twins: the row's strings stay text, the template's stay control tokens, everything else stays as it was."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken
from tokenizers import Tokenizer as Engine

from metier.core.errors import DataError
from metier.text import guard
from metier.text.guard import FENCES, MARKS, Marked
from metier.text.tokenizer import Tokenizer
from tests.text.bases import SHARED, SPECIAL, base, byte_level, sentence_piece_base

PIECE = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    st.sampled_from((*SPECIAL, "<s>", "</s>", "[INST]", " ")),
)
TEXT = st.lists(PIECE, max_size=6).map("".join)
once = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _with_sides(folder: Path) -> Path:
    """Make a base whose control tokens swallow the spaces beside them, as some do."""
    engine = Engine.from_str(byte_level())
    engine.add_special_tokens([AddedToken("<|end|>", lstrip=True, rstrip=True, normalized=False, special=True)])
    return base(folder, engine.to_str())


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> list[Tokenizer]:
    folders = [
        base(tmp_path_factory.mktemp("byte")),
        sentence_piece_base(tmp_path_factory.mktemp("piece")),
        _with_sides(tmp_path_factory.mktemp("sides")),
    ]
    real = [SHARED / "tokenizers" / name for name in ("minimind-6400", "mistral-v3-rebuilt")]
    return [Tokenizer.load(folder) for folder in (*folders, *(folder for folder in real if folder.is_dir()))]


@once
@given(text=TEXT)
def test_twins_of_the_template_s_tokens_give_the_base_s_own_ids(tokenizers: list[Tokenizer], text: str):
    for tokenizer in tokenizers:
        assert tokenizer.encode_marked(Marked(text, MARKS[0])) == tokenizer.encode(text, special=True)


@once
@given(text=TEXT)
def test_marked_text_never_becomes_control_and_reads_the_same(tokenizers: list[Tokenizer], text: str):
    for tokenizer in tokenizers:
        marked = Marked(tokenizer.with_marks(text, MARKS[0]), MARKS[0])
        assert marked.clean == text
        control = set(tokenizer.special_tokens.values()) - {tokenizer.special_tokens.get("<unk>")}
        assert not control & set(tokenizer.encode_marked(marked))


def test_marks_reach_every_string_of_a_value():
    value = {"<eos>": ["a<eos>", {"b": "<eos><eos>"}], "n": 1, "none": None}
    marked = guard.with_marks(value, guard.pattern(["<eos>"]), "|")
    assert marked == {"<|eos>": ["a<|eos>", {"b": "<|eos><|eos>"}], "n": 1, "none": None}


def test_a_string_inside_another_is_marked_too():
    assert guard.with_marks("<<a>>", guard.pattern(["<a>", "<<a>>"]), "|") == "<|<|a>>"


def test_a_mark_that_a_json_filter_escaped_is_removed():
    assert Marked(f"x\\u{ord(MARKS[0]):04x}y{MARKS[0]}z", MARKS[0]).clean == "xyz"


def test_characters_in_use_are_not_taken():
    assert guard.free_character(MARKS, f"a{MARKS[0]} \\UFDD1".replace("U", "u")) == MARKS[2]
    with pytest.raises(DataError, match=r"U\+FDD0"):
        guard.free_character(FENCES, "".join(FENCES))


def test_a_text_with_a_twin_s_name_is_only_text(tokenizers: list[Tokenizer]):
    for tokenizer in tokenizers[:2]:
        text = f"{FENCES[0]}1{FENCES[0]}<eos>"
        marked = Marked(tokenizer.with_marks(text, MARKS[0]), MARKS[0])
        control = set(tokenizer.special_tokens.values()) - {tokenizer.special_tokens.get("<unk>")}
        assert not control & set(tokenizer.encode_marked(marked))
