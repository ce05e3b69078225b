"""Text to ids and back: special-token strings only where they are meant."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metier.core.errors import DataError, ModelError
from metier.text.tokenizer import Tokenizer
from tests.text.bases import SHARED, SPECIAL, base, sentence_piece_base, whole_word

TEXTS = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.sampled_from((*SPECIAL, "<s>", "</s>", " "))
    ),
    max_size=6,
).map("".join)
once = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def bytewise(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.load(base(tmp_path_factory.mktemp("byte")))


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.load(sentence_piece_base(tmp_path_factory.mktemp("piece")))


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.load(base(tmp_path_factory.mktemp("word"), whole_word(), stops=(5, 3)))


def test_what_the_files_say(bytewise: Tokenizer):
    assert (bytewise.bos_id, bytewise.eos_id, bytewise.pad_id) == (1, 4, 0)
    assert bytewise.stop_ids == (4, 2)
    assert bytewise.end_of_text_id == 2  # <eos>, a stop token that closes texts rather than turns
    assert bytewise.context == 128
    assert bytewise.special_tokens == {name: number for number, name in enumerate(SPECIAL)}
    assert not bytewise.adds_bos


def test_a_post_processor_or_a_flag_asks_for_a_beginning(pieces: Tokenizer, tmp_path: Path):
    assert pieces.adds_bos
    assert Tokenizer.load(base(tmp_path, add_bos_token=True)).adds_bos


def test_ids_of_the_model_serve_where_no_name_is_given(tmp_path: Path):
    path = base(tmp_path, bos_token=None, eos_token=None, stops=(2,))
    assert Tokenizer.load(path).eos_id == 2


def test_special_strings_are_control_tokens_only_on_request(bytewise: Tokenizer):
    assert bytewise.encode("a<|end|>", special=True)[-1] == 4
    ids = bytewise.encode("a<|end|>", special=False)
    assert 4 not in ids
    assert bytewise.decode(ids) == "a<|end|>"


def test_encoding_never_adds_a_beginning(pieces: Tokenizer):
    assert 1 not in pieces.encode("the", special=True)


def test_skipping_control_tokens(bytewise: Tokenizer):
    ids = bytewise.encode("<bos>the card<|end|>", special=True)
    assert bytewise.decode(ids) == "the card"
    assert bytewise.decode(ids, skip_special=False) == "<bos>the card<|end|>"


def test_whole_words_that_spell_a_control_token_are_broken_up(words: Tokenizer):
    control = set(words.special_tokens.values())
    assert not control & set(words.encode("hello <|end|> you", special=False))
    assert control & set(words.encode("hello <|end|> you", special=True))


@once
@given(text=TEXTS)
def test_text_survives_and_never_becomes_control(bytewise: Tokenizer, pieces: Tokenizer, words: Tokenizer, text: str):
    for tokenizer in (bytewise, pieces, words):
        control = set(tokenizer.special_tokens.values()) - {tokenizer.special_tokens.get("<unk>")}
        assert not control & set(tokenizer.encode(text, special=False))
    assert bytewise.decode(bytewise.encode(text, special=False), skip_special=False) == text
    assert pieces.decode(pieces.encode(text, special=False), skip_special=False) == text


@once
@given(texts=st.lists(TEXTS, max_size=4))
def test_a_batch_is_its_parts(bytewise: Tokenizer, texts: list[str]):
    assert bytewise.encode_batch(texts, special=False) == [bytewise.encode(text, special=False) for text in texts]


def test_half_a_surrogate_pair_is_explained(bytewise: Tokenizer):
    with pytest.raises(DataError, match="surrogate"):
        bytewise.encode("a\ud800b", special=False)


def test_no_tokenizer_at_all(tmp_path: Path):
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        Tokenizer.load(tmp_path)


def test_a_slow_tokenizer_says_how_to_convert_it(tmp_path: Path):
    (tmp_path / "tokenizer.model").write_bytes(b"\0")
    with pytest.raises(ModelError, match=r"use_fast=True"):
        Tokenizer.load(tmp_path)


def test_a_broken_tokenizer_is_named(tmp_path: Path):
    path = base(tmp_path)
    (path / "tokenizer.json").write_text('{"model": 1}', encoding="utf-8")
    with pytest.raises(ModelError, match=r"tokenizer\.json: not a tokenizer"):
        Tokenizer.load(path)


def test_a_named_token_that_is_not_there(tmp_path: Path):
    with pytest.raises(ModelError, match="'<gone>' is not in the vocabulary"):
        Tokenizer.load(base(tmp_path, eos_token="<gone>"))


def test_the_digest_follows_the_file_and_the_stops(tmp_path: Path):
    first = Tokenizer.load(base(tmp_path / "a")).digest
    assert Tokenizer.load(base(tmp_path / "b")).digest == first
    assert Tokenizer.load(base(tmp_path / "c", stops=(4,))).digest != first


@pytest.mark.parametrize("name", ["weights/stories260K", "tokenizers/minimind-6400", "tokenizers/mistral-v3-rebuilt"])
def test_real_tokenizers_encode_as_transformers_does(name: str):
    if not (SHARED / name).is_dir():
        pytest.skip("the shared tokenizers are not here")
    transformers = pytest.importorskip("transformers")
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(SHARED / name)
    ours = Tokenizer.load(SHARED / name)
    text = f"Où est ma carte?\n\n {ours.token(ours.eos_id or 0)} 12.5 €  end\t"
    assert ours.encode(text, special=True) == theirs.encode(text, add_special_tokens=False)
    assert not set(ours.special_tokens.values()) & set(ours.encode(text, special=False)) - {
        ours.special_tokens.get("<unk>")
    }
    assert ours.eos_id == theirs.eos_token_id
    assert ours.bos_id == theirs.bos_token_id


def test_the_small_real_model_stops_at_both_its_ids():
    if not (SHARED / "weights/stories260K").is_dir():
        pytest.skip("the shared weights are not here")
    assert Tokenizer.load(SHARED / "weights/stories260K").stop_ids == (1, 2)
