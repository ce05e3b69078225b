"""What an untrained base scores on the user's rows, and how surprised it is by the right answers. n = rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metier.advise import measure
from metier.advise.ask import Clock
from metier.advise.job import Task
from metier.advise.measure import Asker, Seat
from metier.advise.prompts import Recipe
from metier.advise.task import Question
from metier.advise.ways import NotMeasured, Way
from metier.core.errors import MetierError
from metier.core.progress import Progress
from metier.core.types import ChatRow, Dropped, Message
from metier.forest.read import row_losses
from metier.model.find import Base
from metier.text.render import Renderer, open_renderer, render_many
from metier.text.settings import TextSettings


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """A base asked: its answers as they were judged, and `surprise`, float64 [n, 2]: bits and bytes of right answers.

    Bits a byte can be compared between bases whose tokens differ; a row that a base cannot read has 0 and 0.
    """

    way: Way
    surprise: np.ndarray

    @property
    def bits(self) -> float:
        """Return the bits that a byte of a right answer takes; less is better, not-a-number where none was read."""
        bits, size = self.surprise.sum(axis=0)
        return float(bits / size) if size else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What every base is asked, what is right, how rows become tokens, until when, and who listens."""

    job: Task
    right: tuple[str, ...]
    text: TextSettings
    clock: Clock
    progress: Progress


def score(base: Base, exam: Examination) -> Scored | str:
    """Ask a base as it is; returns why it was not asked where it was not."""
    try:
        renderer = open_renderer(base.folder, exam.text)
        seat = Seat(base=base, label=base.name, renderer=renderer, clock=exam.clock, progress=exam.progress)
        asker = measure.opened(seat, exam.job.seed)
        if isinstance(asker, NotMeasured):
            return asker.why
        found = asker.tried(exam.job, measure.ZERO_SHOT, 3, [Recipe()] * len(exam.right))
        if isinstance(found, NotMeasured):
            return found.why
        return Scored(way=exam.job.judge(found, exam.right), surprise=_surprise(asker, exam, renderer))
    except MetierError as error:
        return str(error)


def _surprise(asker: Asker, exam: Examination, renderer: Renderer) -> np.ndarray:
    """Return bits and bytes of the answers of every row, float64 [n, 2]."""
    rows = [_answered(*pair) for pair in zip(exam.job.asked, exam.right, strict=True)]
    rendered = [() if isinstance(entry, Dropped) else entry for entry in render_many(rows, renderer)]
    owners = [place for place, sequences in enumerate(rendered) for _ in sequences]
    losses = row_losses(asker.model, [one for sequences in rendered for one in sequences], progress=exam.progress)
    table = np.zeros((len(rows), 2))
    for place, (nats, _) in zip(owners, losses, strict=True):
        table[place, 0] += nats / math.log(2)
    for place in set(owners):
        table[place, 1] = _bytes(rows[place].messages)
    return table


def _answered(question: Question, answer: str) -> ChatRow:
    return ChatRow(
        id=question.row_id, source=question.source, tools=question.tools,  # type: ignore[arg-type]
        messages=(*question.messages, Message(role="assistant", content=answer)),
    )  # fmt: skip


def _bytes(messages: Sequence[Message]) -> int:
    """Return the bytes of what is learnt of a conversation: all that the assistant says."""
    return sum(len(message.content.encode("utf-8")) for message in messages if message.role == "assistant")
