"""Rows as questions whose answers are kept apart: what answers them never holds what is right. n = rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metier.core import seeds
from metier.core.errors import DataError
from metier.core.types import ChatRow, LabelledRow, Message, Row
from metier.score import calls, structured
from metier.score.exact import clean, exact_match
from metier.score.kinds import Kind
from metier.score.overlap import word_f1
from metier.text.turns import reference

MEASURED_BY: dict[Kind, str] = {
    "label": "share of right labels",
    "calls": "F1 of the functions and their arguments, averaged over rows",
    "json": "F1 of the fields, averaged over rows",
    "short": "share of answers that are right as a whole",
    "text": "F1 of the words, averaged over rows",
}
"""Kind of answer -> what its score in [0, 1] is."""

HIDDEN = "?"
"""What stands where the right answer stood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A row without its answer. `messages` end before it; `text` is the last user turn, by which rows are alike."""

    row_id: str
    source: str
    text: str
    messages: tuple[Message, ...]
    tools: tuple[dict[str, object], ...] = ()
    group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Training rows: questions and their answers, [n] each."""

    questions: tuple[Question, ...]
    answers: tuple[str, ...]

    @property
    def texts(self) -> list[str]:
        """Return what the rows ask, [n]."""
        return [question.text for question in self.questions]


def taken_apart(rows: Sequence[Row]) -> Known:
    """Return the questions and the answers of rows; rows that have none (plain text, preferences) are left out.

    Raises:
        DataError: no row has a question and an answer.
    """
    pairs = [pair for row in rows if (pair := _apart(row)) is not None]
    if not pairs:
        raise DataError(
            f"{len(rows)} rows, none with a question and an answer",
            "conversations that end with an answer, or labelled texts",
            "plain text, preferences and numbers cannot be advised on yet",
        )
    return Known(questions=tuple(pair[0] for pair in pairs), answers=tuple(pair[1] for pair in pairs))


def chosen(rows: Sequence[Row], most: int) -> list[Row]:
    """Return at most `most` rows, chosen by row id alone, in their own order."""
    wanted = {row.id for row in sorted(rows, key=lambda row: (seeds.unit("advise", row.id), row.id))[:most]}
    return [row for row in rows if row.id in wanted]


def scores(kind: Kind, outputs: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Return how right every answer is, float64 [n] in [0, 1]."""
    judge = {"label": _same, "calls": _called, "json": _fields, "short": exact_match, "text": word_f1}[kind]
    return np.array([float(judge(output, right)) for output, right in zip(outputs, references, strict=True)])


def in_form(kind: Kind, outputs: Sequence[str], known: Sequence[str]) -> float:
    """Return the share of answers in the form of the training rows': a known label, a call, JSON, any text."""
    labels = {clean(answer) for answer in known}
    checks = {
        "label": lambda output: clean(output) in labels,
        "calls": lambda output: bool(calls.parse(output)),
        "json": lambda output: structured.parse(output) is not None,
        "short": lambda output: bool(clean(output)),
        "text": lambda output: bool(clean(output)),
    }
    return sum(checks[kind](output) for output in outputs) / max(1, len(outputs))


def _apart(row: Row) -> tuple[Question, str] | None:
    tools: tuple[dict[str, object], ...] = ()
    if isinstance(row, LabelledRow) and row.answer != "score":
        messages, answer = (Message(role="user", content=row.text),), row.label
    elif isinstance(row, ChatRow) and any(message.role == "assistant" for message in row.messages):
        last = max(place for place, message in enumerate(row.messages) if message.role == "assistant")
        messages, answer, tools = row.messages[:last], reference(row.messages[last].as_dict()), row.tools
    else:
        return None
    text = next((message.content for message in reversed(messages) if message.role == "user"), "")
    if not text:
        return None
    question = Question(
        row_id=row.id, source=row.source, text=text, messages=messages, tools=tools, group=row.group
    )  # fmt: skip
    return question, answer


def _same(output: str, right: str) -> bool:
    return clean(output) == clean(right)


def _fields(output: str, right: str) -> float:
    """Return the F1 over (field, value) pairs of one row."""
    if structured.parse(right) is None:
        return float(exact_match(output, right))
    match = structured.compare(output, right)
    below = 2 * match.hits + match.false_alarms + match.misses
    return 2 * match.hits / below if below else 1.0


def _called(output: str, right: str) -> float:
    """Return the F1 over functions and (function, argument, value) of one row; 1 where both call nothing."""
    match = calls.compare(output, right)
    hits, alarms, misses = (sum(pair) for pair in zip(match.names, match.arguments, strict=True))
    below = 2 * hits + alarms + misses
    return 2 * hits / below if below else 1.0
