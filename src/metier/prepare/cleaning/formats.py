"""Finds answers unlike nearly all others: not JSON, or not with its fields, or a name spelt in another way."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from metier.core.types import LabelledRow, Row
from metier.prepare.cleaning.texts import answers
from metier.prepare.decisions import Action, Decision
from metier.prepare.spool import Spool

RULE = "clean.formats"
_MOST_SHAPES = 10_000
_FEWEST_ROWS = 20
_NEARLY_ALL = 0.95
_MOST = 0.8
_RARE = 0.02
_LONGEST_NAME = 40
_TIMES_AS_FREQUENT = 10

Shape = tuple[tuple[str, str], ...]
"""The fields of an object with the names of their types, in the order of their names."""

_FENCED = re.compile(r"\s*```[a-zA-Z]*\s*\n?(.*?)```\s*\Z", re.DOTALL)
_SIGNS = re.compile(r"[\W_]+")


class Formats:
    """An observer of answers and labels.

    Where four answers in five are JSON objects it judges the others by them; a field that nearly all of them have
    (95 %) is needed, one that hardly any has (2 %) is odd, and so are types. Where answers are names out of a small
    set, or rows have labels, a rare name that differs from a frequent one in case and signs only is odd.

    Args:
        rows: how many there are.
        drops: whether odd rows are dropped.
    """

    def __init__(self, rows: int, *, drops: bool) -> None:
        self._action: Action = "drop" if drops else "flag"
        self._kinds = np.full(rows, -1, dtype=np.int32)
        self._shapes: dict[Shape | str, int] = {}
        self._names = np.full(rows, -1, dtype=np.int32)
        self._spellings: dict[str, int] = {}

    def see(self, number: int, row: Row) -> None:
        """Look at the last answer of one row, or at its label."""
        if isinstance(row, LabelledRow):
            said = row.label if row.answer == "label" else ""
        else:
            said = next(reversed(answers(row)), "")
            if said:
                self._kinds[number] = _numbered(self._shapes, _shape(said))
        if said and len(said) <= _LONGEST_NAME:
            self._names[number] = _numbered(self._spellings, said)

    def decisions(self, spool: Spool) -> Iterator[Decision]:
        """Yield the rows in another form."""
        yield from self._shaped(spool)
        yield from self._spelt(spool)

    def _shaped(self, spool: Spool) -> Iterator[Decision]:
        shapes = list(self._shapes)
        counts = np.bincount(self._kinds[self._kinds >= 0], minlength=len(shapes))
        objects = {shape: int(count) for shape, count in zip(shapes, counts, strict=True) if not isinstance(shape, str)}
        total = int((self._kinds != -1).sum())
        if total < _FEWEST_ROWS or sum(objects.values()) < _MOST * total:
            return
        faults = [shape if isinstance(shape, str) else _Fields(objects).fault(shape) for shape in shapes]
        for number in np.flatnonzero(self._kinds >= 0):
            if reason := faults[self._kinds[number]]:
                yield spool.decision(number, RULE, self._action, reason)

    def _spelt(self, spool: Spool) -> Iterator[Decision]:
        spellings = list(self._spellings)
        counts = np.bincount(self._names[self._names >= 0], minlength=len(spellings))
        usual: dict[str, int] = {}
        for code in np.argsort(-counts, kind="stable"):
            usual.setdefault(_plain(spellings[code]), int(code))
        for number in np.flatnonzero(self._names >= 0):
            code = self._names[number]
            best = usual[_plain(spellings[code])]
            if counts[best] >= max(_FEWEST_ROWS, _TIMES_AS_FREQUENT * counts[code]):
                detail = f"{spellings[code]!r}, elsewhere {spellings[best]!r}"
                yield spool.decision(number, RULE, self._action, "spelt unlike most", detail)


class _Fields:
    """What nearly all objects have in common.

    Args:
        objects: how often each shape occurs.
    """

    def __init__(self, objects: Mapping[Shape, int]) -> None:
        self._total = sum(objects.values())
        self._types: dict[str, Counter[str]] = defaultdict(Counter)
        for shape, count in objects.items():
            for name, kind in shape:
                self._types[name][kind] += count

    def fault(self, shape: Shape) -> str:
        """Return what is odd about a shape, "" when nothing is."""
        present = dict(shape)
        for name, kinds in self._types.items():
            share = kinds.total() / self._total
            if name not in present:
                if share >= _NEARLY_ALL:
                    return f"field {name!r} is missing"
                continue
            if share <= _RARE:
                return f"field {name!r} is in hardly any answer"
            usual, count = kinds.most_common(1)[0]
            if present[name] != usual and count >= _NEARLY_ALL * kinds.total():
                return f"field {name!r} is {present[name]}, elsewhere {usual}"
        return ""


def _numbered(table: dict[Any, int], key: Any) -> int:
    """Return the number of a key; -2 for what no longer fits into the table."""
    found = table.get(key)
    if found is None:
        found = table[key] = len(table) if len(table) < _MOST_SHAPES else -2
        if found == -2:
            del table[key]
    return found


def _shape(answer: str) -> Shape | str:
    """Return the fields of a JSON object, or what the answer is instead."""
    text = answer.strip()
    if not text.startswith(("{", "[", "```")):
        return "answer is not JSON"
    fenced = _FENCED.match(text)
    value = _read(fenced.group(1) if fenced else text)
    if value is None:
        return "answer is not JSON" if fenced or text.startswith("```") else "answer is broken JSON"
    if not isinstance(value, dict):
        return "answer is JSON, but no object"
    if fenced:
        return "answer is JSON inside a code fence"
    return tuple(sorted((name, _type(inner)) for name, inner in value.items()))


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _type(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _plain(name: str) -> str:
    return _SIGNS.sub("", name.casefold()) or name
