"""Function calls: found in an answer however it writes them, and compared by name, arguments and order."""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from metier.core import digest

_START = re.compile(r"[{\[]")
_ARGUMENTS = ("arguments", "parameters", "args", "input")
_SURE = _ARGUMENTS[:2]

_MOST_STARTS = 10_000
"""Braces and brackets that begin nothing, before the rest of a text is left unread: each costs a look backwards."""
_READ_AGAIN = 8
"""How often the length of a text may be read in vain: beginnings inside each other are all read to their end."""
_MOST_PYTHON = 50_000
"""Characters of an answer that is read as Python, whose tree takes a thousand times their room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call: the function's name and its arguments."""

    name: str
    arguments: dict[str, Any]

    def written(self) -> str:
        """Return the call as canonical JSON: equal calls, equal texts."""
        return digest.canonical_json([self.name, _plain(self.arguments)])


@dataclass(frozen=True, slots=True, kw_only=True)
class CallMatch:
    """An answer's calls against those wanted.

    `same`: the same calls (in the same order). `in_order`: the same names in the same order. The two triples count
    hits, false alarms and misses: over names, and over (name, argument, value).
    """

    same: bool
    in_order: bool
    names: tuple[int, int, int]
    arguments: tuple[int, int, int]


def parse(text: str) -> list[Call]:
    """Return the calls in an answer, in their order.

    Understood: JSON objects with a name and arguments (alone, in a list, in tags, one a line, wrapped in `function` or
    `tool_calls`, arguments as an object or as JSON text) and Python calls with keyword arguments, `[f(a=1), g(b=2)]`.
    """
    found = [call for value in _objects(text) for call in _calls_in(value)]
    return found or _python(text)


def calls_in_json(text: str) -> bool:
    """Tell whether a text calls a function as JSON with a name and arguments, in tags or not: not as Python."""
    return any(f'"{key}"' in text for key in _SURE) and any(True for value in _objects(text) for _ in _calls_in(value))


def compare(output: str, reference: str, *, ordered: bool = True) -> CallMatch:
    """Compare the calls of an answer with those of the right one.

    Args:
        output: the answer.
        reference: the right answer.
        ordered: whether calls in another order are other calls.
    """
    said, wanted = parse(output), parse(reference)
    texts = [[call.written() for call in side] for side in (said, wanted)]
    names = [[call.name for call in side] for side in (said, wanted)]
    if not ordered:
        texts = [sorted(side) for side in texts]
    return CallMatch(
        same=texts[0] == texts[1],
        in_order=names[0] == names[1],
        names=_counts(*names),
        arguments=_counts(*([triple for call in side for triple in _triples(call)] for side in (said, wanted))),
    )


def _counts(said: Sequence[str], wanted: Sequence[str]) -> tuple[int, int, int]:
    hits = (Counter(said) & Counter(wanted)).total()
    return hits, len(said) - hits, len(wanted) - hits


def _triples(call: Call) -> list[str]:
    return [digest.canonical_json([call.name, name, _plain(value)]) for name, value in call.arguments.items()]


def _plain(value: Any) -> Any:
    """Write 1.0 as 1 all the way down, so that equal numbers are equal."""
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return int(value) if value.is_integer() else repr(value)
    return value if isinstance(value, (str, int, bool)) or value is None else str(value)


def _objects(text: str) -> Iterator[Any]:
    """Yield every outermost JSON object or array in a text, until too much of it was read in vain.

    An answer that loses itself in a hundred thousand brackets would be read for a minute.
    """
    decoder, place, left = json.JSONDecoder(), 0, _READ_AGAIN * len(text)
    for start in islice(_START.finditer(text), _MOST_STARTS):
        if start.start() < place:
            continue
        try:
            value, place = decoder.raw_decode(text, start.start())
        except json.JSONDecodeError as error:
            left -= error.pos - start.start()
        except (ValueError, RecursionError):
            return
        else:
            yield value
        if left < 0:
            return


def _calls_in(value: Any) -> Iterator[Call]:
    if isinstance(value, list):
        for inner in value:
            yield from _calls_in(inner)
    if not isinstance(value, dict):
        return
    inner = value.get("tool_calls", value.get("function"))
    if isinstance(inner, (dict, list)):
        yield from _calls_in(inner)
        return
    name = value.get("name")
    arguments = next((value[key] for key in _ARGUMENTS if key in value), None)
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            return
    if isinstance(name, str) and isinstance(arguments, dict):
        yield Call(name=name, arguments=arguments)


def _python(text: str) -> list[Call]:
    """Return calls written as Python, or none where the text is anything else."""
    if len(text) > _MOST_PYTHON:
        return []
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    nodes = tree.elts if isinstance(tree, (ast.List, ast.Tuple)) else [tree]
    calls = []
    for node in nodes:
        if not isinstance(node, ast.Call) or node.args:
            return []
        try:
            arguments = {word.arg: ast.literal_eval(word.value) for word in node.keywords if word.arg}
        except (ValueError, RecursionError):
            return []
        calls.append(Call(name=ast.unparse(node.func), arguments=arguments))
    return calls
