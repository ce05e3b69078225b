"""A prompt read from a file, and rows with it in front: what the base does when it is told well; imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from metier.core import digest
from metier.core.errors import DataError, InputError
from metier.core.types import ChatRow, LabelledRow, Message, PreferenceRow, Row

_FORM = "a text file, or YAML with `system: …` and `examples: [{user: …, assistant: …}]`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompting:
    """What stands in front of a question: a system turn, and turns that show how it is done."""

    system: str = ""
    examples: tuple[tuple[str, str], ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        return digest.of_value([self.system, [list(pair) for pair in self.examples]])

    def before(self, row: Row) -> Row:
        """Return a row with the prompt in front; plain text is left as it is.

        A row's own system turn stays and comes first; examples stand between it and the row's own turns.
        """
        if isinstance(row, LabelledRow):
            turns = (Message(role="user", content=row.text), Message(role="assistant", content=row.label))
            row = ChatRow(
                id=row.id, source=row.source, group=row.group, slice=row.slice, weight=row.weight, messages=turns
            )  # fmt: skip
        if not isinstance(row, (ChatRow, PreferenceRow)):
            return row
        turns = row.messages if isinstance(row, ChatRow) else row.prompt
        own = [message for message in turns if message.role in ("system", "developer")]
        rest = [message for message in turns if message.role not in ("system", "developer")]
        parts = [*(message.content for message in own), *([self.system] if self.system else [])]
        system = [Message(role="system", content="\n\n".join(parts))] if parts else []
        shown = [
            Message(role=role, content=text, weight=0.0 if role == "assistant" else None)
            for pair in self.examples
            for role, text in zip(("user", "assistant"), pair, strict=True)
        ]
        turns = (*system, *shown, *rest)
        return replace(row, messages=turns) if isinstance(row, ChatRow) else replace(row, prompt=turns)


def read(path: Path) -> Prompting:
    """Read a prompt.

    Raises:
        InputError: there is no such file, or it is no UTF-8 text.
        DataError: it is YAML of another form, or empty.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte {error.start})", _FORM) from error
    except OSError as error:
        raise InputError(f"prompt {path}: cannot be read ({error.strerror})", _FORM) from error
    is_plain = path.suffix not in (".yaml", ".yml", ".json")
    found = Prompting(system=text.strip()) if is_plain else _structured(path, text)
    if not found.system and not found.examples:
        raise DataError(f"{path}: empty", _FORM)
    return found


def _structured(path: Path, text: str) -> Prompting:
    try:
        values: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not YAML ({' '.join(str(error).split())[:200]})", _FORM) from error
    if not isinstance(values, dict) or set(values) - {"system", "examples"}:
        raise DataError(f"{path}: neither `system` nor `examples` alone", _FORM)
    system, examples = values.get("system") or "", values.get("examples") or []
    if not isinstance(system, str) or not isinstance(examples, list):
        raise DataError(f"{path}: `system` is no text, or `examples` no list", _FORM)
    return Prompting(system=system.strip(), examples=tuple(_pair(path, entry) for entry in examples))


def _pair(path: Path, entry: Any) -> tuple[str, str]:
    found = [entry.get(name) for name in ("user", "assistant")] if isinstance(entry, dict) else []
    texts = [text for text in found if isinstance(text, str) and text]
    if len(texts) != 2:
        raise DataError(f"{path}: an example without `user` or `assistant`: {str(entry)[:80]}", _FORM)
    return texts[0], texts[1]


def all_before(prompting: Prompting | None, rows: Sequence[Row]) -> list[Row]:
    """Return rows with the prompt in front of each, or as they are."""
    return list(rows) if prompting is None else [prompting.before(row) for row in rows]
