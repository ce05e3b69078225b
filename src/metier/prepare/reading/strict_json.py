"""JSON without what only some programs write: NaN, numbers beyond all bounds, one key twice."""

import json
import math
from typing import Any

from metier.prepare.reading.record import Record, unusable


class NotStrict(ValueError):
    """JSON that only some programs write."""


def _constant(name: str) -> None:
    raise NotStrict(f"{name} is not JSON")


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise NotStrict(f"{text[:40]} is too large for a number")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        raise NotStrict(f"the key {next(name for name in names if names.count(name) > 1)[:40]!r} stands there twice")
    return value


DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_number)
LENIENT = json.JSONDecoder()
"""Finds the end of an element that the strict one refuses."""


def record_of(number: int, text: str) -> Record:
    """Read one record from a text that holds nothing else."""
    try:
        value, end = DECODER.raw_decode(text)
    except (ValueError, RecursionError) as error:
        return broken(number, error, text)
    if end != len(text):
        return unusable(number, "broken JSON", f"something follows the object in column {end + 1}")
    return checked(number, value, text)


def broken(number: int, error: ValueError | RecursionError, text: str = "") -> Record:
    """Return what stands for a record that is no JSON."""
    if isinstance(error, RecursionError):
        return unusable(number, "JSON nested too deeply")
    if isinstance(error, NotStrict):
        return unusable(number, "not strict JSON", str(error))
    if isinstance(error, json.JSONDecodeError):
        if text[error.pos : error.pos + 1] == "\0":
            return unusable(number, "a NUL byte in the JSON", f"in column {error.colno}")
        return unusable(number, "broken JSON", f"{error.msg} in column {error.colno}")
    return unusable(number, "broken JSON", str(error)[:100])


def checked(number: int, value: Any, text: str) -> Record:
    """Return the record that a value is, if it is an object."""
    if not isinstance(value, dict):
        return unusable(number, "not a JSON object", f"it is {json_name(value)}")
    return Record(number, text, value)


def json_name(value: Any) -> str:
    """Say what kind of JSON a value is."""
    names = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
