"""A row as a question and its answer, which is how recipes see it, and the way back to a row."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from metier.core.types import ChatRow, LabelledRow, Message, PreferenceRow, Row, TextRow


class Task(NamedTuple):
    """What is asked (`input`) and what is right (`answer`, "" when there is none); `system` is what stands before."""

    row: Row
    input: str
    answer: str
    system: str = ""

    @property
    def source(self) -> str:
        """Return where the row came from."""
        return self.row.source


def task_of(row: Row) -> Task | None:
    """Return a row as a task; None for what cannot be said in one question and one answer (tool calls, preferences)."""
    if isinstance(row, LabelledRow):
        return Task(row, row.text, row.label)
    if isinstance(row, TextRow):
        return Task(row, row.text, "")
    if not isinstance(row, ChatRow) or row.tools or any(turn.tool_calls for turn in row.messages):
        return None
    *before, last = row.messages
    if last.role != "assistant" or not before or before[-1].role != "user":
        return None
    system = "\n".join(turn.content for turn in before if turn.role == "system")
    return Task(row, before[-1].content, last.content, system)


def with_input(task: Task, text: str, answer: str | None = None) -> Row:
    """Return the task's row with another question, and another answer unless it stays."""
    row = task.row
    if isinstance(row, TextRow):
        return replace(row, text=text)
    if isinstance(row, LabelledRow):
        return replace(row, text=text, label=task.answer if answer is None else answer)
    assert isinstance(row, ChatRow)
    asked, said = row.messages[-2], row.messages[-1]
    last = replace(said, content=task.answer if answer is None else answer)
    return replace(row, messages=(*row.messages[:-2], replace(asked, content=text), last))


def preference(task: Task, chosen: str, rejected: str) -> PreferenceRow:
    """Return the task's question with a better and a worse answer."""
    row = task.row
    prompt: Sequence[Message]
    prompt = row.messages[:-1] if isinstance(row, ChatRow) else (Message(role="user", content=task.input),)
    return PreferenceRow(
        id="", source=row.source, group=row.group, prompt=tuple(prompt),
        chosen=(_said(chosen),), rejected=(_said(rejected),),
    )  # fmt: skip


def conversation(source: str, asked: str, answer: str) -> ChatRow:
    """Return one question and one answer."""
    return ChatRow(id="", source=source, messages=(Message(role="user", content=asked), _said(answer)))


def _said(text: str) -> Message:
    return Message(role="assistant", content=text)
