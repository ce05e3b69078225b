"""What the second looks of cleaning have to know of each row: told while the row is at hand, kept in columns."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metier.core.types import LabelledRow, Row
from metier.prepare.cleaning.boilerplate import has_lines
from metier.prepare.cleaning.formats import Shape, shape_of
from metier.prepare.cleaning.settings import CleanSettings
from metier.prepare.cleaning.texts import answers, asked
from metier.prepare.cleaning.tongues import tongues
from metier.prepare.ledger import TOGETHER, Ledger, Pages
from metier.prepare.places import hashed

_SHORTEST = 40
"""Shorter texts are in no language: of 10,000 short English questions 30 were mistaken, of those this long none."""

_LOOKED_AT = 100
_PROSE = 0.8
_NOT_WORDS = re.compile(r"[^\w\s]|[\d_]")
_LONGEST_NAME = 40
_MOST_KINDS = 10_000
NO_KIND = -1
TOO_MANY = -2


class Glance(NamedTuple):
    """What is told of a row.

    `languages` and `lengths` (characters): of what it asks and of its answer. `kind`: the shape of its answer, `name`:
    its answer or label when it is short. `has_lines`: what it asks stands on several lines. `input`: a hash of what a
    labelled row asks, 0 for others.
    """

    languages: tuple[str, str]
    lengths: tuple[int, int]
    kind: Shape | str | None
    name: str | None
    has_lines: bool
    input: int


def glances(rows: Sequence[Row], settings: CleanSettings, *, languages: bool) -> list[Glance]:
    """Look at some rows, a function of each alone.

    Args:
        rows: as they will be written.
        settings: of cleaning.
        languages: whether to tell them.
    """
    spoken = _languages(rows, frozenset(settings.languages or ())) if languages else [("", "")] * len(rows)
    return [_glance(row, settings, both) for row, both in zip(rows, spoken, strict=True)]


def _glance(row: Row, settings: CleanSettings, languages: tuple[str, str]) -> Glance:
    said, named = answers(row), isinstance(row, LabelledRow) and row.answer == "label"
    last = (row.label if named else "") if isinstance(row, LabelledRow) else (said[-1] if said else "")
    kind = shape_of(last) if last and not isinstance(row, LabelledRow) and settings.formats != "off" else None
    return Glance(
        languages,
        (len(asked(row)), sum(map(len, said))),
        kind,
        last if last and len(last) <= _LONGEST_NAME else None,
        has_lines(row),
        hashed(" ".join(row.text.casefold().split())) if isinstance(row, LabelledRow) and named else 0,
    )


def _languages(rows: Sequence[Row], wanted: frozenset[str]) -> list[tuple[str, str]]:
    texts = [side for row in rows for side in (asked(row), next(reversed(answers(row)), ""))]
    judged = [place for place, text in enumerate(texts) if _is_prose(text)]
    told = [""] * len(texts)
    for place, name in zip(judged, tongues([texts[place][:_LOOKED_AT] for place in judged], wanted), strict=True):
        told[place] = name
    return list(zip(told[::2], told[1::2], strict=True))


def _is_prose(text: str) -> bool:
    """Tell whether a text is long enough, and words rather than code, JSON or numbers."""
    text, length = text[:_LOOKED_AT], len(text)
    return length >= _SHORTEST and len(_NOT_WORDS.sub("", text)) >= _PROSE * len(text)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Looked:
    """The glances of N rows as columns.

    `languages` int16 [N, 2] into `language_names`, `kinds` int32 [N] into `kind_names`, `names` int32 [N] into
    `spellings`; -1 for none, -2 for one that came after the first 10,000. `lengths` int32 [N, 2]; `lines` bool [N];
    `inputs` uint64 [N]. `pages` is where these columns are mapped.
    """

    languages: np.ndarray
    lengths: np.ndarray
    kinds: np.ndarray
    names: np.ndarray
    lines: np.ndarray
    inputs: np.ndarray
    language_names: tuple[str, ...]
    kind_names: tuple[Shape | str, ...]
    spellings: tuple[str, ...]
    pages: Pages = field(default_factory=Pages)


class Growing:
    """The columns while rows come in.

    Args:
        folder: for their files.
    """

    def __init__(self, folder: Path) -> None:
        self._ledger = Ledger(_CODES, folder)
        self._languages: dict[str, int] = {}
        self._kinds: dict[Shape | str, int] = {}
        self._spellings: dict[str, int] = {}

    def add(self, glance: Glance) -> None:
        """Add one row."""
        columns = self._ledger.waiting
        for name in glance.languages:
            columns["languages"].append(_numbered(self._languages, name) if name else NO_KIND)
        columns["lengths"].extend(glance.lengths)
        columns["kinds"].append(NO_KIND if glance.kind is None else _numbered(self._kinds, glance.kind))
        columns["names"].append(NO_KIND if glance.name is None else _numbered(self._spellings, glance.name))
        columns["lines"].append(glance.has_lines)
        columns["inputs"].append(glance.input)
        if len(columns["kinds"]) >= TOGETHER:
            self._ledger.turn()

    def looked(self) -> Looked:
        """Return the columns; nothing may be added afterwards."""
        columns, pages = self._ledger.read()
        return Looked(
            languages=columns["languages"].reshape(-1, 2), lengths=columns["lengths"].reshape(-1, 2),
            kinds=columns["kinds"], names=columns["names"], lines=columns["lines"].view(bool),
            inputs=columns["inputs"], language_names=tuple(self._languages), kind_names=tuple(self._kinds),
            spellings=tuple(self._spellings), pages=pages,
        )  # fmt: skip


_CODES = {"languages": "h", "lengths": "i", "kinds": "i", "names": "i", "lines": "b", "inputs": "Q"}


def _numbered(table: dict[Any, int], key: Shape | str) -> int:
    """Return the number of a key; -2 for what no longer fits into the table."""
    found = table.get(key)
    if found is None:
        if len(table) >= _MOST_KINDS:
            return TOO_MANY
        found = table[key] = len(table)
    return found
