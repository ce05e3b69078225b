"""Finds answers unlike nearly all others: not JSON, or not with its fields, or a name spelt in another way."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from metier.prepare.decisions import Action, Decision
from metier.prepare.spool import Spool

RULE = "clean.formats"
_FEWEST_ROWS = 20
_NEARLY_ALL = 0.95
_MOST = 0.8
_RARE = 0.02
_TIMES_AS_FREQUENT = 10

Shape = tuple[tuple[str, str], ...]
"""The fields of an object with the names of their types, in the order of their names."""

_FENCED = re.compile(r"\s*```[a-zA-Z]*\s*\n?(.*?)```\s*\Z", re.DOTALL)
_SIGNS = re.compile(r"[\W_]+")


class Formats:
    """Judges answers and labels.

    Where four answers in five are JSON objects it judges the others by them; a field that nearly all of them have
    (95 %) is needed, one that hardly any has (2 %) is odd, and so are types. Where answers are names out of a small
    set, or rows have labels, a rare name that differs from a frequent one in case and signs only is odd.

    Args:
        kinds: int32 [rows] into `shapes`, negative for rows without an answer, or with one of too many kinds.
        shapes: the kinds of answers.
        names: int32 [rows] into `spellings`, negative for rows without a short answer or label.
        spellings: short answers and labels.
        drops: whether odd rows are dropped.
    """

    def __init__(
        self, kinds: np.ndarray, shapes: Sequence[Shape | str], names: np.ndarray, spellings: Sequence[str], *,
        drops: bool,
    ) -> None:  # fmt: skip
        self._action: Action = "drop" if drops else "flag"
        self._kinds, self._shapes = kinds, shapes
        self._names, self._spellings = names, spellings

    def decisions(self, spool: Spool) -> Iterator[Decision]:
        """Yield the rows in another form."""
        yield from self._shaped(spool)
        yield from self._spelt(spool)

    def _shaped(self, spool: Spool) -> Iterator[Decision]:
        shapes = self._shapes
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
        spellings = self._spellings
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


def shape_of(answer: str) -> Shape | str:
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
