"""Renders chats with the bundled chat template, without loading a tokenizer."""

from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import Template
from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

TEMPLATE_FILE = Path(__file__).with_name("chat_template.jinja")


def read_template() -> str:
    """Return the chat template's source."""
    return TEMPLATE_FILE.read_text(encoding="utf-8").rstrip("\n")


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


@cache
def _compiled() -> Template:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    names: dict[str, Any] = environment.globals
    names["raise_exception"] = _refuse
    return environment.from_string(read_template())


def render_chat(messages: list[dict], add_generation_prompt: bool = False) -> str:
    """Return the text of a chat, special-token strings included."""
    return _compiled().render(messages=messages, add_generation_prompt=add_generation_prompt)
