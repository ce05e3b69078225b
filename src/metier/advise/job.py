"""What is asked of every way and every base: questions apart from what is right, what was learnt from, how long."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metier.advise import task
from metier.advise.settings import AdviseSettings
from metier.advise.task import Known, Question
from metier.advise.ways import Tried, Way, judged
from metier.core.errors import DataError
from metier.core.types import ChatRow, LabelledRow, Row
from metier.score import kinds
from metier.score.kinds import Kind
from metier.text import room
from metier.text.asking import prompt
from metier.text.preferences import answered
from metier.text.render import Renderer
from metier.text.rows import load_split

_MOST_TRAINING_ROWS = 20_000
_MOST_NEW_TOKENS = 256
_CALLS_RENDERED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is asked, without what is right: questions [n], training rows, the kind of answer, the longest answer."""

    asked: tuple[Question, ...]
    known: Known
    kind: Kind
    room: int
    settings: AdviseSettings
    folder: Path
    seed: int = 0

    @property
    def texts(self) -> list[str]:
        """Return what is asked, [n]."""
        return [question.text for question in self.asked]

    @property
    def groups(self) -> list[str | None]:
        """Return the group of each question, [n]."""
        return [question.group for question in self.asked]

    def judge(self, tried: Tried, right: Sequence[str]) -> Way:
        """Judge what a way answered: the one place where what is right is looked at."""
        scores = task.scores(self.kind, tried.outputs, right)
        formed = task.in_form(self.kind, tried.outputs, self.known.answers)
        return judged(tried, scores, formed, groups=self.groups, confidence=self.settings.confidence)


def make(
    snapshot: Path, renderer: Renderer, settings: AdviseSettings, *, folder: Path, seed: int
) -> tuple[Task, tuple[str, ...]]:
    """Return what is asked, and apart from it what is right.

    Args:
        snapshot: a prepared one; its validation rows are asked, its test rows are not opened.
        renderer: of the base whose tokens the longest answer is counted in.
        settings: how many rows.
        folder: the project's.
        seed: the project's.

    Raises:
        DataError: there are no training or validation rows, or none of them has a question and an answer.
    """
    train, held = ([answered(row) for row in load_split(snapshot, split)] for split in ("train", "validation"))
    for rows, split in ((train, "training"), (held, "validation")):
        if not rows:
            raise DataError(
                f"{snapshot}: no {split} rows", "at least one",
                "raise prepare.validation_share, or name a validation file",
            )  # fmt: skip
    known = task.taken_apart(task.chosen(train, _MOST_TRAINING_ROWS))
    asked = task.taken_apart(task.chosen(held, settings.rows))
    labelled = all(isinstance(row, LabelledRow) for row in train)
    kind = kinds.recognise(known.answers, labelled=labelled).kind
    longest = room.longest([*known.answers, *_written(train, renderer)], renderer.tokenizer)
    job = Task(
        asked=asked.questions, known=known, kind=kind, settings=settings, folder=folder, seed=seed,
        room=settings.max_new_tokens or min(room.room(longest), _MOST_NEW_TOKENS),
    )  # fmt: skip
    return job, asked.answers


def _written(train: Sequence[Row], renderer: Renderer) -> list[str]:
    """Return some training rows' calls as the template writes them: longer than what they are compared by."""
    calling = [row for row in train if isinstance(row, ChatRow) and row.tools]
    found = []
    for row in task.chosen(calling, _CALLS_RENDERED):
        try:
            found.append(prompt(row, renderer).written or "")
        except DataError:  # the template refuses the row: preparing it said so, and nobody learns it
            continue
    return found
