"""The texts of a row that cleaning may look at: what people and models wrote, never what tools said or were called."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from metier.core.types import ChatRow, JudgedRow, LabelledRow, Message, PreferenceRow, Row, TaskRow, TextRow

Side = Literal["told", "asked", "answered", "document"]
"""Whose words: the system's, the asking person's, the answering one's, or nobody's (a text learnt whole)."""

_SIDES: dict[str, Side] = {"system": "told", "developer": "told", "user": "asked", "assistant": "answered"}


class Piece(NamedTuple):
    """One text of a row."""

    text: str
    side: Side


def pieces(row: Row) -> list[Piece]:
    """Return the texts of a row in order; those that are empty or a tool's are left out."""
    if isinstance(row, TextRow):
        return [Piece(row.text, "document")]
    if isinstance(row, LabelledRow):
        return [Piece(row.text, "asked")]
    return [Piece(turn.content, _SIDES[turn.role]) for turn in _turns(row) if _is_said(turn)]


def rebuilt(row: Row, texts: Sequence[str]) -> Row:
    """Return the row with other texts in the places of its `pieces`."""
    if isinstance(row, TextRow | LabelledRow):
        return replace(row, text=texts[0])
    rest = iter(texts)

    def said(turns: Sequence[Message]) -> tuple[Message, ...]:
        return tuple(replace(turn, content=next(rest)) if _is_said(turn) else turn for turn in turns)

    if isinstance(row, ChatRow):
        return replace(row, messages=said(row.messages))
    if isinstance(row, JudgedRow):
        return replace(row, prompt=said(row.prompt), completion=said(row.completion))
    if isinstance(row, TaskRow):
        return replace(row, prompt=said(row.prompt))
    assert isinstance(row, PreferenceRow)
    return replace(row, prompt=said(row.prompt), chosen=said(row.chosen), rejected=said(row.rejected))


def answers(row: Row) -> list[str]:
    """Return what is learnt as a good answer: assistant turns that count, of a preference the better ones."""
    if isinstance(row, ChatRow):
        return [turn.content for turn in row.messages if turn.role == "assistant" and turn.content and turn.weight != 0]
    if isinstance(row, PreferenceRow):
        return [turn.content for turn in row.chosen if turn.role == "assistant" and turn.content]
    if isinstance(row, JudgedRow) and row.good:
        return [turn.content for turn in row.completion if turn.role == "assistant" and turn.content]
    return []


def asked(row: Row) -> str:
    """Return what the row asks: its text, or the user's turns."""
    if isinstance(row, TextRow | LabelledRow):
        return row.text
    turns = row.messages if isinstance(row, ChatRow) else row.prompt
    return "\n".join(turn.content for turn in turns if turn.role == "user")


def _turns(row: ChatRow | JudgedRow | PreferenceRow | TaskRow) -> Sequence[Message]:
    if isinstance(row, ChatRow):
        return row.messages
    if isinstance(row, TaskRow):
        return row.prompt
    return (*row.prompt, *row.completion) if isinstance(row, JudgedRow) else (*row.prompt, *row.chosen, *row.rejected)


def _is_said(turn: Message) -> bool:
    return bool(turn.content) and turn.role in _SIDES
