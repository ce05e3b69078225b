"""The prompts: Jinja files beside this one, or the user's own of the same name."""

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from metier.core import digest
from metier.core.errors import SettingsError

NAMES = (
    "paraphrase", "persona", "translate", "self-instruct", "evolve", "hard-label", "wrong-answer", "questions",
    "sample", "judge", "again",
)  # fmt: skip
_FENCE = re.compile(r"^\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*$", re.S)


class Prompts:
    """Every prompt by name, read once.

    Args:
        folder: the user's own; None: the package's alone.

    Raises:
        SettingsError: the folder is missing, or a file in it is no template.
    """

    def __init__(self, folder: Path | None = None) -> None:
        if folder is not None and not folder.is_dir():
            raise SettingsError(
                f"prepare.further.synthesise.prompts: {folder}: no such folder", f"Jinja files: {', '.join(NAMES)}"
            )
        environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
        self._sources = {name: _source(name, folder) for name in NAMES}
        try:
            self._templates = {name: environment.from_string(source) for name, source in self._sources.items()}
        except TemplateError as error:
            raise SettingsError(f"prepare.further.synthesise.prompts: {folder}: {error}", "Jinja templates") from error

    def render(self, name: str, **values: Any) -> str:
        """Fill in a prompt.

        Raises:
            SettingsError: it uses a name that is not known to it.
        """
        try:
            return self._templates[name].render(**values)
        except TemplateError as error:
            raise SettingsError(
                f"prepare.further.synthesise.prompts: {name}.jinja: {error}", f"only {', '.join(values)}"
            ) from error

    def hash_of(self, *names: str) -> str:
        """Return what tells these prompts from changed ones, 12 hexadecimal characters."""
        return digest.of_value([self._sources[name] for name in names])[:12]


def _source(name: str, folder: Path | None) -> str:
    own = folder / f"{name}.jinja" if folder is not None else None
    if own is not None and own.is_file():
        return own.read_text(encoding="utf-8")
    package = resources.files("metier.prepare.synthesise").joinpath(f"prompts/{name}.jinja")
    return package.read_text(encoding="utf-8")


def read_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object that a reply is, also in a code fence or behind a few words; None when it is none."""
    fenced = _FENCE.match(text)
    body = (fenced.group(1) if fenced else text).strip()
    start = body.find("{")
    if start < 0:
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(body, start)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
