"""Runs a chat template on stand-ins for what people wrote, to learn how it writes every conversation of that shape.

A stand-in is no string: it can be printed, joined and stripped, and it can be asked a few questions (is it empty, does
it hold this tag), each of which is noted with its answer. Whatever else a template tries with it ends the trace. So a
trace that comes to its end *proves* what the template prints for every conversation with the same roles whose texts
give the same answers: nothing else about the texts was ever looked at. Runs in the child process, too: it imports
nothing but the standard library and Jinja.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

from jinja2 import Environment, Template

Operations = tuple[tuple[str, str | None], ...]
"""What is done to a text before it is printed: ("strip" | "lstrip" | "rstrip", characters or None), in order."""

Part = str | tuple[int, Operations]
"""A piece of a trace: fixed text, or (number of the message, operations on its text)."""

Question = tuple[int, Operations, str, str, bool]
"""(message, operations, "true" | "equal" | "holds" | "starts" | "ends", what was asked about, the answer)."""

_TESTS = {
    "string": True, "defined": True, "iterable": True, "sequence": True,
    "none": False, "undefined": False, "mapping": False, "number": False, "integer": False, "float": False,
    "boolean": False, "true": False, "false": False, "callable": False,
}  # fmt: skip
"""What Jinja's tests say of any string."""

_STRIPS: Mapping[str, Callable[[str, str | None], str]] = {
    "strip": str.strip,
    "lstrip": str.lstrip,
    "rstrip": str.rstrip,
}


class Untraceable(Exception):
    """The template looked at a text in a way that no trace can follow."""


@dataclass(frozen=True, slots=True)
class Trace:
    """How a template writes one beginning: its parts, for all texts that answer the questions as noted."""

    parts: tuple[Part, ...]
    questions: tuple[Question, ...]

    @staticmethod
    def read(data: Mapping[str, Any]) -> "Trace":
        """Read one from JSON, which knows no tuples."""
        parts = (part if isinstance(part, str) else (part[0], _operations(part[1])) for part in data["parts"])
        questions = ((entry[0], _operations(entry[1]), *entry[2:]) for entry in data["questions"])
        return Trace(tuple(parts), tuple(questions))


def _operations(data: Sequence[Sequence[Any]]) -> Operations:
    return tuple((name, characters) for name, characters in data)


def applied(operations: Operations, text: str) -> str:
    """Return the text after the operations."""
    for name, characters in operations:
        text = _STRIPS[name](text, characters)
    return text


def answered(question: Question, text: str) -> bool:
    """Return what this text answers; a trace holds for it if that is the answer which was noted."""
    _, operations, kind, asked, _ = question
    text = applied(operations, text)
    if kind == "true":
        return bool(text)
    if kind == "equal":
        return text == asked
    if kind == "holds":
        return asked in text
    return text.startswith(asked) if kind == "starts" else text.endswith(asked)


class _Log:
    """The questions of one trace, and whether it went wrong anywhere (also where the template swallowed the error)."""

    def __init__(self) -> None:
        self.questions: dict[Question, None] = {}
        self.broken = False

    def refuse(self) -> Untraceable:
        self.broken = True
        return Untraceable()


class Traced:
    """A stand-in: parts of fixed text and of messages, with the value that they have in this conversation."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, log: _Log, value: str, parts: tuple[Part, ...]) -> None:
        self._log = log
        self._value = value
        self.parts = parts

    def __add__(self, other: Any) -> "Traced":
        return joined([self, self._text(other)])

    def __radd__(self, other: Any) -> "Traced":
        return joined([self._text(other), self])

    def __bool__(self) -> bool:
        if any(isinstance(part, str) for part in self.parts):
            return True
        return self._ask("true", "") if self.parts else False

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Traced):
            raise self._log.refuse()
        return self._ask("equal", other) if isinstance(other, str) else False

    def __contains__(self, other: Any) -> bool:
        return self._ask("holds", other)

    def startswith(self, other: Any) -> bool:
        """Ask, as of a string."""
        return self._ask("starts", other)

    def endswith(self, other: Any) -> bool:
        """Ask, as of a string."""
        return self._ask("ends", other)

    def strip(self, characters: Any = None) -> "Traced":
        """Strip, as a string."""
        return self._stripped("strip", characters)

    def lstrip(self, characters: Any = None) -> "Traced":
        """Strip, as a string."""
        return self._stripped("lstrip", characters)

    def rstrip(self, characters: Any = None) -> "Traced":
        """Strip, as a string."""
        return self._stripped("rstrip", characters)

    def _refused(self, *_: Any, **__: Any) -> Any:
        raise self._log.refuse()

    __str__ = __repr__ = __format__ = __len__ = __iter__ = __getitem__ = __mul__ = __rmul__ = __mod__ = _refused
    __lt__ = __le__ = __gt__ = __ge__ = __getattr__ = __call__ = _refused

    def _text(self, other: Any) -> Any:
        if not isinstance(other, str | Traced):
            raise self._log.refuse()
        return other

    def _one(self) -> tuple[int, Operations]:
        """Return the only part, which is a message's text."""
        if len(self.parts) != 1 or isinstance(self.parts[0], str):
            raise self._log.refuse()
        return self.parts[0]

    def _ask(self, kind: str, about: Any) -> bool:
        if not isinstance(about, str):
            raise self._log.refuse()
        number, operations = self._one()
        answer = answered((number, (), kind, about, True), self._value)
        self._log.questions[(number, operations, kind, about, answer)] = None
        return answer

    def _stripped(self, name: str, characters: Any) -> "Traced":
        if not (characters is None or isinstance(characters, str)):
            raise self._log.refuse()
        number, operations = self._one()
        value = _STRIPS[name](self._value, characters)
        return Traced(self._log, value, ((number, (*operations, (name, characters))),))

    def shown(self) -> str:
        """Return the value, for the parts that are compared with what the template really prints."""
        return self._value

    def log(self) -> _Log:
        """Return the log that all stand-ins of a trace share."""
        return self._log


def joined(values: Iterable[Any]) -> Any:
    """Join strings and stand-ins, as `"".join` does."""
    items = [item if isinstance(item, str | Traced) else str(item) for item in values]
    first = next((item for item in items if isinstance(item, Traced)), None)
    if first is None:
        return "".join([str(item) for item in items])
    parts: list[Part] = []
    for item in items:
        for part in (item,) if isinstance(item, str) else item.parts:
            if isinstance(part, str) and parts and isinstance(parts[-1], str):
                parts[-1] += part
            elif part != "":
                parts.append(part)
    value = "".join(item if isinstance(item, str) else item.shown() for item in items)
    return Traced(first.log(), value, tuple(parts))


def prepare(environment: Environment, source: str) -> Template:
    """Compile a template in such a way that stand-ins pass through it; takes the environment over."""
    environment.filters.update({name: _filter(name, function) for name, function in environment.filters.items()})
    environment.tests.update({name: _test(name, function) for name, function in environment.tests.items()})
    environment.concat = joined  # type: ignore[method-assign]
    template = environment.from_string(source)
    # the compiled module calls these two by name wherever a value becomes text
    template.root_render_func.__globals__.update({"str": _printed, "str_join": joined})
    return template


def trace_cuts(template: Template, request: Mapping[str, Any], texts: Sequence[str]) -> list[dict[str, Any]]:
    """Trace several beginnings of one conversation.

    Args:
        template: from `prepare`.
        request: as for `environment.render_cuts`.
        texts: what the template really prints for each.

    Returns:
        for each beginning `parts` and `questions`, as lists for JSON.

    Raises:
        Untraceable: the template looked into a text.
    """
    return [_trace(template, request, cut, text) for cut, text in zip(request["cuts"], texts, strict=True)]


def _trace(template: Template, request: Mapping[str, Any], cut: tuple[int, bool], text: str) -> dict[str, Any]:
    log = _Log()
    count, generation = cut
    messages = [
        {**message, "content": Traced(log, message["content"], ((number, ()),))}
        for number, message in enumerate(request["messages"][:count])
    ]
    whole = joined(
        [
            Traced(log, "", ()),
            *template.generate(
                messages=messages,
                tools=request["tools"],
                documents=None,
                add_generation_prompt=generation,
                **request["variables"],
            ),
        ]
    )
    if log.broken or whole.shown() != text:
        raise Untraceable
    return {"parts": list(whole.parts), "questions": list(log.questions)}


def _printed(value: Any) -> Any:
    """Turn a printed value into text; stand-ins stay what they are."""
    return value if isinstance(value, Traced) else str(value)


def _filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a filter see no stand-in, but for the few that are known to be the same for every text."""

    @wraps(function)
    def guarded(*values: Any, **named: Any) -> Any:
        seen = [value for value in (*values, *named.values()) if isinstance(value, Traced)]
        if not seen:
            if name == "random":
                raise Untraceable
            return function(*values, **named)
        if not isinstance(values[0], Traced) or len(seen) > 1 or named:
            raise seen[0].log().refuse()
        if name == "trim":
            return seen[0].strip(*values[1:])
        if name == "string" and len(values) == 1:
            return seen[0]
        raise seen[0].log().refuse()

    return guarded


def _test(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Answer the tests that are the same for every text; equality asks the stand-in itself."""

    @wraps(function)
    def guarded(*values: Any, **named: Any) -> Any:
        seen = [value for value in (*values, *named.values()) if isinstance(value, Traced)]
        if not seen or name in ("eq", "==", "equalto", "ne", "!="):
            return function(*values, **named)
        if name in _TESTS and len(values) == 1 and not named:
            return _TESTS[name]
        raise seen[0].log().refuse()

    return guarded
