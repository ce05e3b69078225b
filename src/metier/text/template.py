"""Which chat template writes the conversations, and how it is run: in this process if pinned, else in a sandbox."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import TemplateSyntaxError

from metier.core import digest
from metier.core.errors import DataError, ModelError, SettingsError
from metier.core.types import Reasoned
from metier.text import environment
from metier.text.sandbox import LONGEST_TEXT, Sandbox, check_size
from metier.text.settings import TextSettings
from metier.text.thought import before, thinking
from metier.text.tokenizer import Tokenizer
from metier.text.trace import Trace

FIXED_DAY = date(2025, 1, 1)
"""What `text.today: null` means."""

_GIVEN = frozenset({"messages", "tools", "add_generation_prompt", "strftime_now", "raise_exception"})

_PROBED_NAME = "metier_probe"
_PROBE = f'{{"{_PROBED_NAME}": 1}}'
_LONG_ID, _ID = "call_1", "a1b2c3d4e"


Ask = Callable[[Sequence[Mapping[str, Any]]], Sequence[Mapping[str, Any]]]
"""Sends conversations to where the template runs; see `environment.answer`."""


class TemplateRefusal(DataError):
    """The chat template refuses these messages, in its own words (roles that must alternate, no system turn…)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Template:
    """A chat template ready to run.

    `variables`: the named tokens it may print, and what `text.variables` tells it. `pinned` templates are ours and run
    in this process. `parsed_arguments`: it wants tool-call arguments as objects; others print the text they came as.
    `short_ids`: it refuses ids of tool calls that are not nine letters and digits, as Mistral's templates do.
    `null_content`: it writes calls only where the text beside them is null rather than empty, as DeepSeek's do.
    `thinks_apart`: it reads what was thought from a field of its own, not out of the text, as gpt-oss's and Kimi's do.
    """

    source: str
    name: str
    variables: Mapping[str, Any]
    today: str
    pinned: bool
    parsed_arguments: bool
    short_ids: bool
    null_content: bool
    thinks_apart: bool
    ask: Ask = field(repr=False)
    close: Callable[[], None] = field(repr=False)

    @property
    def digest(self) -> str:
        """SHA-256 of everything that decides what it prints."""
        facts = {"source": self.source, "variables": dict(self.variables), "today": self.today}
        return digest.of_value(facts | ({"short_ids": True} if self.short_ids else {}))

    def render(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None, *, generation: bool) -> str:
        """Return the text of a conversation; `generation` adds what the assistant's next turn begins with.

        Raises:
            TemplateRefusal: the template refuses the messages.
            ModelError: it takes more time or memory than it may.
        """
        (answer,) = self.render_cuts([Beginnings(messages, tools, [(len(messages), generation)])])
        if isinstance(answer, TemplateRefusal):
            raise answer
        return answer[0]

    def render_cuts(self, asked: Sequence["Beginnings"]) -> list[list[str] | TemplateRefusal]:
        """Return, for each conversation, the texts of the beginnings that are asked for, or the template's refusal.

        Raises:
            ModelError: it takes more time or memory than it may.
        """
        requests = [
            {"messages": each.messages, "tools": each.tools or None, "cuts": each.cuts, "variables": self.variables}
            for each in asked
        ]
        return [
            TemplateRefusal(f"{self.name} refuses the conversation: {answer['refusal']}")
            if "refusal" in answer
            else list(answer["texts"])
            for answer in self.ask(requests)
        ]

    def traces(self, asked: "Beginnings") -> list[Trace] | None:
        """Return how each beginning of a conversation is written, for all texts that answer alike; see `trace`.

        None where the template looks into the texts in a way that cannot be followed, or refuses the conversation.

        Raises:
            ModelError: it takes more time or memory than it may.
        """
        request = {"messages": asked.messages, "tools": asked.tools or None, "cuts": asked.cuts, "trace": True}
        (answer,) = self.ask([request | {"variables": self.variables}])
        return [Trace.read(entry) for entry in answer["traces"]] if "traces" in answer else None


@dataclass(frozen=True, slots=True)
class Beginnings:
    """A conversation and which of its beginnings to render: `cuts` are (number of messages, generation prompt?)."""

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Any] | None
    cuts: Sequence[tuple[int, bool]]


def choose(tokenizer: Tokenizer, settings: TextSettings) -> tuple[Template, tuple[Reasoned, ...]]:
    """Take the template that the settings name, else the base's own, else our plain one.

    Raises:
        SettingsError: the named file cannot be read.
        ModelError: the template is not Jinja.
    """
    source, name, reason = _find(tokenizer, settings)
    choice = Reasoned(name="text.template", value=name, reason=reason)
    variables = _variables(tokenizer, plain=name == "plain")
    today = settings.today or FIXED_DAY
    template = open_template(source, name, variables=variables | dict(settings.variables), today=today)
    _require_read(settings.variables, template, set(variables))
    return template, (choice,)


def _require_read(asked: Mapping[str, Any], template: Template, own: set[str]) -> None:
    """Check that a template reads what the settings tell it: a name that it does not know would do nothing."""
    known = environment.names_read(template.source) - own - _GIVEN if asked else frozenset[str]()
    if unread := sorted(set(asked) - known):
        template.close()
        raise SettingsError(
            f"text.variables: {template.name} does not read {unread[0]!r}",
            f"one of {', '.join(sorted(known))}" if known else "nothing: it reads the conversation alone",
            "leave it out, or name a template that reads it (text.template)",
        )


def open_template(source: str, name: str, *, variables: Mapping[str, Any], today: date = FIXED_DAY) -> Template:
    """Make a template ready to run.

    Raises:
        ModelError: it is not Jinja.
    """
    _check_syntax(source, name)
    pinned = source.rstrip("\n") in _pinned_sources()
    day = today.isoformat()
    if pinned:
        ask, close = _in_process(source, name, day), _nothing
    else:
        sandbox = Sandbox(source, name, day)
        ask, close = sandbox.ask, sandbox.close
    calls = "tool_calls" in source
    null = calls and _wants_null(ask, variables)
    probe = replace(_PROBED, content=None if null else "")
    parsed = calls and _wants_parsed(ask, probe, variables)
    return Template(
        source=source,
        name=name,
        variables=variables,
        today=day,
        pinned=pinned,
        parsed_arguments=parsed,
        short_ids=calls and _wants_short_ids(ask, replace(probe, parsed=parsed), variables),
        null_content=null,
        thinks_apart=_thinks_apart(ask, variables),
        ask=ask,
        close=close,
    )


def plain_source() -> str:
    """Return our own template for bases that have none: role, colon, text, and the end token after the assistant."""
    return _resource("metier.text", "plain.jinja")


def _find(tokenizer: Tokenizer, settings: TextSettings) -> tuple[str, str, str]:
    if settings.template != "auto":
        path = Path(settings.template)
        try:
            return path.read_text(encoding="utf-8"), str(path), "text.template names it"
        except (OSError, ValueError) as error:
            raise SettingsError(f"text.template: {path}: {error}", "a Jinja file, or auto") from error
    if tokenizer.chat_template is not None:
        return tokenizer.chat_template, f"chat template of {tokenizer.folder.name}", "the base brings it"
    return plain_source(), "plain", "the base has no chat template"


def _variables(tokenizer: Tokenizer, *, plain: bool) -> dict[str, str]:
    """Name the tokens as the base does; ids without a name get one, so that a plain base can still begin and stop.

    A name that is said to be none is none, as it is to servers, but for our `plain` template.
    """
    named = dict(tokenizer.named_tokens)
    for name, number in (("bos_token", tokenizer.bos_id), ("eos_token", tokenizer.eos_id)):
        if name not in named and number is not None and (plain or name not in tokenizer.nameless):
            named[name] = tokenizer.token(number)
    return named


def _pinned_sources() -> frozenset[str]:
    """Return the templates that this package carries, which anyone can read beside this file."""
    bundled = _resource("metier.bundled.tiny", "recipe/chat_template.jinja")
    return frozenset(text.rstrip("\n") for text in (plain_source(), bundled))


def _resource(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


def _in_process(source: str, name: str, today: str) -> Ask:
    compiled = environment.Compiled(source, today, LONGEST_TEXT)

    def ask(requests: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        return check_size([compiled.answer(request) for request in requests], name)

    return ask


def _check_syntax(source: str, name: str) -> None:
    """Find a broken template before the first row."""
    try:
        environment.check_syntax(source)
    except TemplateSyntaxError as error:
        raise ModelError(f"{name}: line {error.lineno}: {error.message}", "a Jinja chat template") from error
    except RecursionError as error:
        raise ModelError(f"{name}: nested too deeply", "a Jinja chat template") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Probe:
    """A call that a template is tried with: arguments as objects or text, an id as hosted models make them or short."""

    content: str | None
    parsed: bool = False
    id: str = _LONG_ID

    def request(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Return the request to write a conversation that ends with the call."""
        function = {"name": "probe", "arguments": json.loads(_PROBE) if self.parsed else _PROBE}
        call = {"id": self.id, "type": "function", "function": function}
        turn = {"role": "assistant", "content": self.content, "tool_calls": [call]}
        messages = [{"role": "user", "content": "probe"}, turn]
        return {"messages": messages, "tools": None, "cuts": [(2, False)], "variables": variables}


_PROBED = _Probe(content="")


def _wants_null(ask: Ask, variables: Mapping[str, Any]) -> bool:
    """Try calls in every form beside an empty text, and beside none: some templates write them beside none only."""

    def written(content: str | None) -> bool:
        forms = [_Probe(content=content, parsed=parsed, id=id) for parsed in (False, True) for id in (_LONG_ID, _ID)]
        answers = ask([form.request(variables) for form in forms])
        return any(_PROBED_NAME in text for answer in answers for text in answer.get("texts", ()))

    return not written("") and written(None)


def _thinks_apart(ask: Ask, variables: Mapping[str, Any]) -> bool:
    """Try an answer with a thought in its text and in fields: a template that writes both alike is shown the text."""
    thought, said = "metier_thought", "metier_said"
    asked, answering = {"role": "user", "content": "probe"}, {"role": "assistant"}
    turns = (answering | {"content": before(thought, said)}, answering | {"content": said} | thinking(thought))
    shared = {"tools": None, "cuts": [(2, False)], "variables": variables}
    answers = ask([shared | {"messages": [asked, turn]} for turn in turns])
    inside, own = (answer.get("texts", [""])[0] for answer in answers)
    return thought in own and said in own and own != inside


def _wants_parsed(ask: Ask, probe: _Probe, variables: Mapping[str, Any]) -> bool:
    """Try a call whose arguments are text: a template that prints them quoted, or refuses, wants objects."""
    (answer,) = ask([probe.request(variables)])
    return "texts" not in answer or _PROBE not in answer["texts"][0]


def _wants_short_ids(ask: Ask, probe: _Probe, variables: Mapping[str, Any]) -> bool:
    """Try a call with an id as hosted models make them, and one with nine letters and digits."""
    long, short = ask([replace(probe, id=id).request(variables) for id in (_LONG_ID, _ID)])
    return "texts" in short and "texts" not in long


def _nothing() -> None:
    """Close what needs no closing."""
