"""Chat templates as Hugging Face models write them: an immutable Jinja sandbox with the same filters and functions.

`serve` is what the child process does that renders templates nobody here has read, under limits on memory, processor
time and output; so this imports nothing but the standard library, Jinja, and `trace`, which does the same.
"""

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import IO, Any, NoReturn

from jinja2 import Template, TemplateError, meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from metier.text import trace

REFUSALS = (TemplateError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RecursionError)
"""What a template can raise about the messages it was given."""

HEADER = struct.Struct(">I")
"""Every message on the child's pipes is its length in bytes, then JSON."""


class GenerationTag(Extension):
    """Accepts the block tag that some templates put around what the assistant says; it prints its body."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own way to declare tags

    def parse(self, parser: Parser) -> nodes.Node:
        """Return the statements between the two tags, in a scope of their own."""
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True)).set_lineno(line)


def compile_template(source: str, today: str) -> Template:
    """Compile a chat template.

    Args:
        source: Jinja text.
        today: the day that `strftime_now` shows, as an ISO date.

    Raises:
        jinja2.TemplateSyntaxError: it is not Jinja.
    """
    return _functional(today).from_string(source)


def _functional(today: str) -> ImmutableSandboxedEnvironment:
    """Return an environment with the functions that templates call."""
    environment = _environment()
    functions: dict[str, Any] = {"strftime_now": datetime.fromisoformat(today).strftime, "raise_exception": _refuse}
    environment.globals.update(functions)
    return environment


def check_syntax(source: str) -> None:
    """Read a template without running or folding any of it, which is safe in any process.

    Raises:
        jinja2.TemplateSyntaxError: it is not Jinja.
    """
    _environment().parse(source)


def names_read(source: str) -> frozenset[str]:
    """Return the names that a template reads and does not set itself."""
    environment = _environment()
    return frozenset(meta.find_undeclared_variables(environment.parse(source)) - environment.globals.keys())


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols]
    )
    del environment.globals["lipsum"]
    environment.filters["tojson"] = _to_json
    return environment


def render_cuts(template: Template, request: Mapping[str, Any], longest: int) -> list[str]:
    """Render several beginnings of one conversation.

    Args:
        template: a compiled template.
        request: `messages`, `tools` (or None), `variables`, and `cuts`: pairs (number of messages, generation prompt?).
        longest: most characters that one text may have.

    Raises:
        MemoryError: a text grew beyond `longest`.
    """
    return [_text(template, request, count, generation, longest) for count, generation in request["cuts"]]


def answer(template: Template, request: Mapping[str, Any], longest: int) -> dict[str, Any]:
    """Render one request; return `texts`, or `refusal` with the template's words, or `memory` when it took too much."""
    try:
        return {"texts": render_cuts(template, request, longest)}
    except MemoryError:
        return {"memory": True}
    except REFUSALS as error:
        return {"refusal": str(error) or type(error).__name__}


class Compiled:
    """A template ready for both kinds of request: to render a conversation, or to trace how it is rendered.

    Args:
        source: Jinja text.
        today: the day that `strftime_now` shows, as an ISO date.
        longest: most characters that one text may have.

    Raises:
        jinja2.TemplateSyntaxError: it is not Jinja.
    """

    def __init__(self, source: str, today: str, longest: int) -> None:
        self._source = source
        self._today = today
        self._longest = longest
        self._template = compile_template(source, today)
        self._tracing: Template | None = None

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one request: its texts, or where it says `trace` how the template makes them."""
        found = answer(self._template, request, self._longest)
        return self._traced(request, found["texts"]) if request.get("trace") and "texts" in found else found

    def _traced(self, request: Mapping[str, Any], texts: Sequence[str]) -> dict[str, Any]:
        """Return `traces`, or nothing where the template cannot be followed."""
        try:
            self._tracing = self._tracing or trace.prepare(_functional(self._today), self._source)
            return {"traces": trace.trace_cuts(self._tracing, request, texts)}
        except (trace.Untraceable, MemoryError, *REFUSALS):
            return {}


def _text(template: Template, request: Mapping[str, Any], count: int, generation: bool, longest: int) -> str:
    stream = template.generate(
        messages=request["messages"][:count],
        tools=request["tools"],
        documents=None,
        add_generation_prompt=generation,
        **request["variables"],
    )
    parts: list[str] = []
    length = 0
    for part in stream:
        length += len(part)
        if length > longest:
            raise MemoryError
        parts.append(part)
    return "".join(parts)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: Sequence[str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Write JSON without the HTML escapes of Jinja's own filter."""
    pair = None if separators is None else (separators[0], separators[1])
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=pair, sort_keys=sort_keys)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def read_message(stream: IO[bytes]) -> Any | None:
    """Read one message from a pipe; None when the other side has gone."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    size = HEADER.unpack(header)[0]
    data = stream.read(size)
    return json.loads(data) if len(data) == size else None


def write_message(stream: IO[bytes], value: Any) -> None:
    """Write one message to a pipe."""
    data = json.dumps(value).encode("ascii")
    stream.write(HEADER.pack(len(data)) + data)
    stream.flush()


def _limit(memory_bytes: int) -> Callable[[int], None]:
    """Bound this process where the system can, for good; return a function that allows it so many seconds more."""
    try:
        import resource
    except ImportError:  # not a POSIX system: the parent's clock is the only limit
        return lambda seconds: None
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def allow(seconds: int) -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        until = int(used.ru_utime + used.ru_stime) + seconds + 1
        resource.setrlimit(resource.RLIMIT_CPU, (until, resource.RLIM_INFINITY))

    return allow


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Read the settings (source, today, memory, seconds, longest), then answer lists of requests to the end."""
    settings = read_message(requests)
    if settings is None:
        return
    allow = _limit(settings["memory"])
    write_message(answers, {"ready": True})
    compiled: Compiled | None = None
    while (batch := read_message(requests)) is not None:
        allow(settings["seconds"])
        try:
            # compiling computes the template's constants, so it stands under the limits too
            compiled = compiled or Compiled(settings["source"], settings["today"], settings["longest"])
        except REFUSALS as error:
            write_message(answers, [{"refusal": f"it cannot be compiled: {error}"} for _ in batch])
        except MemoryError:
            write_message(answers, [{"memory": True} for _ in batch])
        else:
            write_message(answers, [compiled.answer(request) for request in batch])
