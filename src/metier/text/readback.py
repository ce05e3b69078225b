"""What of a row is seen in its tokens: templates can drop parts of answers, of questions, and all functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metier.core.types import Row, TextRow
from metier.text.render import Renderer, conversation_of
from metier.text.rendered import Rendered
from metier.text.thought import spoken
from metier.text.tokenizer import Tokenizer

_ROWS_READ = 256
"""Rows that are read back and compared, evenly spread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """How many rows were read back, and of which (as `file:line`) something is not seen.

    `answers`: what should be learnt. `questions`: what a user or a system turn says. `functions`: the name of one that
    may be called.
    """

    read: int
    answers: tuple[str, ...]
    questions: tuple[str, ...]
    functions: tuple[str, ...]


def missed(rendered: Rendered, rows: Sequence[Row], renderer: Renderer) -> Missed:
    """Read rows back out of their tokens."""
    chats = [row for row in rows if not isinstance(row, TextRow)]
    read = chats[:: max(1, len(chats) // _ROWS_READ)]
    seen = _letters_seen(rendered, {row.id for row in read}, renderer.tokenizer)
    answers, questions, functions = [], [], []
    for row in read:
        if row.id not in seen:
            continue
        learnt, whole = seen[row.id]
        conversation = conversation_of(row, renderer)
        said = [text for number in conversation.learnt for text in _answer(conversation.messages[number])]
        asked = [turn["content"] for turn in conversation.messages if turn["role"] in ("system", "user")]
        names = [str(tool.get("function", tool).get("name", "")) for tool in conversation.tools]
        for texts, place, found in ((said, learnt, answers), (asked, whole, questions), (names, whole, functions)):
            if not all(_letters(_read_back(text, renderer.tokenizer)) in place for text in texts):
                found.append(row.source)
    return Missed(read=len(read), answers=tuple(answers), questions=tuple(questions), functions=tuple(functions))


def _letters_seen(rendered: Rendered, wanted: set[str], tokenizer: Tokenizer) -> dict[str, tuple[str, str]]:
    """Return what is learnt of some rows and all that is read of them, of all their sequences, by the rows' ids."""
    letters = dict.fromkeys(wanted & set(rendered.row_ids), ("", ""))
    for number, row_id in enumerate(rendered.row_ids):
        if row_id in letters:
            sequence = rendered.sequence(number)
            parts = (sequence.ids[sequence.weights > 0], sequence.ids)
            learnt, whole = (_letters(tokenizer.decode(ids, skip_special=False)) for ids in parts)
            letters[row_id] = (letters[row_id][0] + learnt, letters[row_id][1] + whole)
    return letters


def _answer(message: Mapping[str, Any]) -> list[str]:
    """Return what must be seen of an assistant turn: its text after any thinking, and the functions it calls."""
    calls = [call.get("function", call) for call in message.get("tool_calls", ())]
    return [spoken(message["content"] or ""), *(str(call.get("name", "")) for call in calls)]


def _read_back(text: str, tokenizer: Tokenizer) -> str:
    """Return the text as the tokenizer gives it back, which may have lost what it does not know."""
    return tokenizer.decode(tokenizer.encode(text, special=False), skip_special=False)


def _letters(text: str) -> str:
    """Return the text without white space, which templates may trim and tokenizers may add."""
    return "".join(text.split())
