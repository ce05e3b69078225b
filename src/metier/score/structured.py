"""Structured answers field by field: a JSON value becomes a table from path to values, and two tables are compared.

A path names a field from the root: `customer.name`. The elements of an array share one path, `items[].price`, and
are compared as a bag: their order does not count, how often each occurs does.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Leaves = dict[str, Counter[str]]
"""Path -> how often each value (as canonical JSON) stands there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldMatch:
    """One answer against its reference, counted over (path, value) pairs.

    `right` and `wrong` are the reference's paths, by whether exactly its values stand there in the answer; `extra` are
    paths that the reference does not have. `hits`, `false_alarms` and `misses` count single pairs.
    """

    right: tuple[str, ...]
    wrong: tuple[str, ...]
    extra: tuple[str, ...]
    hits: int
    false_alarms: int
    misses: int


def parse(text: str) -> dict[str, Any] | list[Any] | None:
    """Return the JSON object or array that the whole text is, or None where it is not one.

    Strict: no text around it, no `NaN`. A bare string or number is no structure, so it gives None.
    """
    stripped = text.strip()
    if stripped[:1] not in ("{", "["):
        return None
    try:
        value = json.loads(stripped, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, (dict, list)) else None


def leaves(value: dict[str, Any] | list[Any] | None) -> Leaves | None:
    """Return every (path, value) pair of a structure; an empty object or array is a value itself. None gives None."""
    if value is None:
        return None
    table: Leaves = {}
    for path, leaf in _walk(value, ""):
        table.setdefault(path, Counter())[leaf] += 1
    return table


def compare(output: str, reference: str) -> FieldMatch:
    """Compare an answer with a reference field by field; an answer that is no structure has no field at all.

    Args:
        output: the answer as text.
        reference: a text for which `parse` gives a structure.
    """
    wanted = leaves(parse(reference)) or {}
    found = {path: values for path, values in (leaves(parse(output)) or {}).items() if path or path in wanted}
    nothing: Counter[str] = Counter()
    hits = sum((values & found.get(path, nothing)).total() for path, values in wanted.items())
    right = tuple(path for path, values in wanted.items() if found.get(path) == values)
    return FieldMatch(
        right=right,
        wrong=tuple(path for path in wanted if path not in right),
        extra=tuple(path for path in found if path not in wanted),
        hits=hits,
        false_alarms=sum(values.total() for values in found.values()) - hits,
        misses=sum(values.total() for values in wanted.values()) - hits,
    )


def value_at(table: Leaves | None, path: str) -> str | None:
    """Return what stands at a path, as one text (several values joined by ", "), or None where there is nothing."""
    values = (table or {}).get(path)
    return ", ".join(sorted(values.elements())) if values else None


def value_of(leaf: str) -> Any:
    """Return the value that a leaf's canonical JSON stands for."""
    return json.loads(leaf)


def close_counts(output: str, reference: str, tolerance: float) -> tuple[int, int, int]:
    """Return hits, false alarms and misses over (path, value) pairs, where numbers may be off by a share of themselves.

    Args:
        output: the answer as text.
        reference: a text for which `parse` gives a structure.
        tolerance: a number is right when it is within this share of the right one; 0.01 is one per cent.
    """
    wanted, found = leaves(parse(reference)) or {}, leaves(parse(output)) or {}
    hits = 0
    for path, values in wanted.items():
        left = list(found.get(path, Counter()).elements())
        for value in sorted(values.elements()):
            match = next((other for other in left if _close(value, other, tolerance)), None)
            if match is not None:
                left.remove(match)
                hits += 1
    said = sum(values.total() for path, values in found.items() if path or path in wanted)
    return hits, said - hits, sum(values.total() for values in wanted.values()) - hits


def _close(wanted: str, said: str, tolerance: float) -> bool:
    if wanted == said:
        return True
    numbers = [json.loads(text) for text in (wanted, said)]
    if any(isinstance(number, bool) or not isinstance(number, (int, float)) for number in numbers):
        return False
    return abs(numbers[1] - numbers[0]) <= tolerance * abs(numbers[0])


def _walk(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _walk(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list) and value:
        for inner in value:
            yield from _walk(inner, f"{path}[]")
    else:
        yield path, _canonical(value)


def _canonical(leaf: Any) -> str:
    """Write a leaf so that equal values give equal texts: 1.0 is 1, but true is not 1."""
    if isinstance(leaf, float) and leaf.is_integer():
        leaf = int(leaf)
    return json.dumps(leaf, ensure_ascii=False)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
