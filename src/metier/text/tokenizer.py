"""A base's tokenizer, from its tokenizer.json alone, and what its other files say about control tokens."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken
from tokenizers import Tokenizer as Engine

from metier.core import digest
from metier.core.errors import ModelError
from metier.text import folder as folder_files
from metier.text import guard, thought
from metier.text.guard import Marked, Twins
from metier.text.pieces import Encoder, Fast, Slow

_SLOW_FILES = ("tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "tekken.json")
_ENDS_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>", "<eos>", "</s>", "<|end|>")
"""How bases spell the end of a document, apart from the end of a turn; the first one among the stop tokens is it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tokenizer:
    """Text to ids and back. Ids that the base does not have are None.

    `stop_ids`: where a server would stop (generation_config.json's, and the tokenizer's own end). `end_of_text_id`:
    what closes a document (the end of a turn where the base has no other). `context`: tokens the base can read.
    `vocabulary`: number of token ids. `special_tokens`: control-token strings and their ids. `named_tokens`: what
    templates call `bos_token`, `eos_token`…; `nameless` are names that are said to be none. `adds_bos`: the base's
    files ask for a BOS in front of every text.
    """

    folder: Path
    bos_id: int | None
    eos_id: int | None
    pad_id: int | None
    end_of_text_id: int | None
    stop_ids: tuple[int, ...]
    context: int | None
    vocabulary: int
    special_tokens: Mapping[str, int]
    named_tokens: Mapping[str, str]
    nameless: frozenset[str]
    adds_bos: bool
    chat_template: str | None
    digest: str
    _engine: Engine = field(repr=False)
    _plain: Engine = field(repr=False)
    _unknown: int | None = field(repr=False)
    _pattern: re.Pattern[str] = field(repr=False)
    _normalises_special: bool = field(repr=False)
    _twins: dict[str, Twins] = field(default_factory=dict, repr=False)

    @staticmethod
    def load(folder: Path) -> "Tokenizer":
        """Read a base folder.

        Raises:
            ModelError: there is no tokenizer.json or it cannot be read; a token that the other files name is not in it.
        """
        path = _tokenizer_file(folder)
        facts = folder_files.read(folder)
        engine, plain = engine_of(path), engine_of(path)
        special = _special_tokens(engine, facts.control_tokens)
        known = engine.get_added_tokens_decoder()
        controls = [_control(content, known.get(number)) for content, number in special.items()]
        for instance in (engine, plain):
            instance.no_padding()
            instance.no_truncation()
            instance.add_special_tokens(controls)
        plain.encode_special_tokens = True
        bos, eos, pad = (_id_of(engine, path, facts, name) for name in ("bos_token", "eos_token", "pad_token"))
        stops = tuple(dict.fromkeys([*facts.stop_ids, *(() if eos is None else (eos,))]))
        return Tokenizer(
            folder=folder,
            bos_id=bos,
            eos_id=eos,
            pad_id=pad,
            end_of_text_id=_end_of_text(special, stops, eos),
            stop_ids=stops,
            context=facts.context,
            vocabulary=engine.get_vocab_size(with_added_tokens=True),
            special_tokens=special,
            named_tokens=facts.named_tokens,
            nameless=facts.nameless,
            adds_bos=facts.adds_bos or _post_processor_adds(engine, bos),
            chat_template=facts.chat_template,
            digest=digest.of_value({"file": digest.of_file(path), "special": special, "stops": list(stops)}),
            _engine=engine,
            _plain=plain,
            _unknown=_unknown_id(engine),
            _pattern=guard.pattern(special),
            _normalises_special=_normalises_special(engine),
        )

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Return the ids of a text; never adds a BOS.

        Args:
            text: any text.
            special: read special-token strings as control tokens (True) or as the characters they are (False).

        Raises:
            DataError: the text is not valid Unicode.
        """
        return self.encode_batch([text], special=special)[0]

    def encode_batch(self, texts: Sequence[str], *, special: bool) -> list[list[int]]:
        """Encode many texts at once, on all cores; see `encode`."""
        engine = self._engine if special else self._plain
        try:
            encodings = engine.encode_batch_fast(list(texts), add_special_tokens=False)
        except TypeError as error:
            raise guard.not_unicode() from error
        batch = [encoding.ids for encoding in encodings]
        return batch if special else [self._without_control(text, ids) for text, ids in zip(texts, batch, strict=True)]

    def encode_marked(self, text: Marked) -> list[int]:
        """Encode a rendered text: the template's special-token strings as control tokens, the row's as plain text."""
        if text.mark is None:
            return self.encode(text.text, special=True)
        return self._twins_for(text.text).encode(text)

    def encode_marked_batch(self, texts: Sequence[Marked]) -> list[list[int]]:
        """Encode many rendered texts; see `encode_marked`."""
        if any(text.mark is not None for text in texts):
            return [self.encode_marked(text) for text in texts]
        return self.encode_batch([text.text for text in texts], special=True)

    def may_hold_control(self, text: str) -> bool:
        """Tell whether reading the text with special tokens recognised could yield a control token."""
        return self._normalises_special or self._pattern.search(text) is not None

    def with_marks(self, value: Any, mark: str) -> Any:
        """Return a copy of a plain value with the mark inside every special-token string."""
        return guard.with_marks(value, self._pattern, mark)

    def added_tokens(self) -> list[AddedToken]:
        """Return the tokens that are cut out of a text before anything else is looked at."""
        return list(self._engine.get_added_tokens_decoder().values())

    @property
    def normalises(self) -> bool:
        """Whether text is rewritten before it is encoded."""
        return self._engine.normalizer is not None

    def encoder(self, *, fast: bool, parallel: bool | None) -> Encoder:
        """Return what encodes many texts at once, control tokens recognised: `fast` asks for gigatoken.

        Raises:
            Unequal: it cannot read this tokenizer.
        """
        return Fast(self._engine, parallel=parallel) if fast else Slow(self._engine)

    def encode_parts(self, first: Marked, second: Marked) -> list[int]:
        """Encode two texts that follow one another so that no token spans both; read as in `encode_marked`."""
        return self._twins_for(first.text + second.text).encode_parts(first, second)

    def decode(self, ids: Sequence[int] | np.ndarray, *, skip_special: bool = True) -> str:
        """Return the text of ids; `skip_special` leaves control tokens out."""
        return self._engine.decode([int(number) for number in ids], skip_special_tokens=skip_special)

    def said(self, ids: Sequence[int] | np.ndarray) -> str:
        """Return the text of an answer's ids after any thinking, whose marks may be control tokens; see `thought`."""
        kept = [int(number) for number in ids]
        for opening, closing in thought.MARKS:
            first, last = (self.special_tokens.get(mark) for mark in (opening, closing))
            if last is not None and last in kept:
                kept = kept[len(kept) - kept[::-1].index(last) :]
            elif first is not None and first in kept:
                return ""
        return thought.spoken(self.decode(kept))

    def as_json(self) -> str:
        """Return the whole tokenizer as the text of a tokenizer.json, control tokens marked."""
        return self._engine.to_str()

    def token(self, number: int) -> str:
        """Return how the vocabulary spells one id."""
        return self._engine.id_to_token(number) or f"<id {number}>"

    def _without_control(self, text: str, ids: list[int]) -> list[int]:
        control = set(self.special_tokens.values()) - {self._unknown}
        return ids if control.isdisjoint(ids) else self._twins_for(text).encode_plain(text)

    def _twins_for(self, text: str) -> Twins:
        fence = guard.free_character(guard.FENCES, text)
        if fence not in self._twins:
            self._twins[fence] = Twins(self._engine.to_str(), self.special_tokens, self._unknown, fence)
        return self._twins[fence]


def _tokenizer_file(folder: Path) -> Path:
    path = folder / "tokenizer.json"
    if path.is_file():
        return path
    slow = next((name for name in _SLOW_FILES if (folder / name).is_file()), None)
    if slow is None:
        raise ModelError(
            f"{folder}: no tokenizer.json", "a folder in Hugging Face format", "check the path of the base"
        )
    raise ModelError(
        f"{folder}: {slow} but no tokenizer.json",
        "a fast tokenizer",
        "convert it once where transformers is installed: "
        "AutoTokenizer.from_pretrained(FOLDER, use_fast=True).save_pretrained(FOLDER)",
    )


def engine_of(path: Path) -> Engine:
    """Read a tokenizer.json.

    Raises:
        ModelError: it is missing or no tokenizer.
    """
    try:
        return Engine.from_file(str(path))
    except Exception as error:  # the library raises the bare class; everything it says here is about the file
        raise ModelError(f"{path}: not a tokenizer ({error})", "a tokenizer.json", "download the base again") from error


def _special_tokens(engine: Engine, listed: Sequence[str]) -> dict[str, int]:
    """Collect what tokenizer.json flags as special, and what the other files call so if the vocabulary has it."""
    decoder = engine.get_added_tokens_decoder()
    special = {token.content: number for number, token in decoder.items() if token.special}
    for content in listed:
        number = engine.token_to_id(content)
        if number is not None:
            special.setdefault(content, number)
    return special


def _control(content: str, token: AddedToken | None) -> AddedToken:
    """Return the token as the file has it, flagged special."""
    if token is None:
        return AddedToken(content, normalized=False, special=True)
    sides = {"single_word": token.single_word, "lstrip": token.lstrip, "rstrip": token.rstrip}
    return AddedToken(content, normalized=token.normalized, special=True, **sides)


def _id_of(engine: Engine, path: Path, facts: folder_files.FolderFacts, name: str) -> int | None:
    """Return the id of a named token; where no file spells it, the id that the model's configuration gives."""
    content = facts.named_tokens.get(name)
    if content is None:
        return facts.ids.get(f"{name}_id")
    number = engine.token_to_id(content)
    if number is None and name != "pad_token":
        raise ModelError(f"{path}: {name} {content!r} is not in the vocabulary", "the token its tokenizer_config names")
    return number


def _end_of_text(special: Mapping[str, int], stops: Sequence[int], eos: int | None) -> int | None:
    return next((special[name] for name in _ENDS_OF_TEXT if special.get(name) in stops), eos)


def _post_processor_adds(engine: Engine, bos: int | None) -> bool:
    return bos is not None and engine.encode("a", add_special_tokens=True).ids[:1] == [bos]


def _unknown_id(engine: Engine) -> int | None:
    """Return the id that unknown characters become, where the model has one."""
    try:
        unknown = engine.model.unk_token
    except AttributeError:
        return None
    return engine.token_to_id(unknown) if unknown else None


def _normalises_special(engine: Engine) -> bool:
    """Tell whether text that only looks like a special token (full-width letters, say) can become one."""
    tokens = engine.get_added_tokens_decoder().values()
    return engine.normalizer is not None and any(token.special and token.normalized for token in tokens)
