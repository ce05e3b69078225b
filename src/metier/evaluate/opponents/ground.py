"""What opponents are asked, and how their names begin; imports no torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from metier.core.progress import Progress
from metier.core.types import Row
from metier.evaluate.questions import Question
from metier.evaluate.settings import EvaluateSettings
from metier.model.find import Base
from metier.text.settings import TextSettings

PROMPT, REMOTE, CLASSIFIER = "prompt:", "remote:", "classifier:"

Classify = Callable[[str, Sequence[Row], Sequence[Row], Path], tuple[str, ...]]
"""A way, training rows, rows to answer and the project's folder -> their answers; learns nothing from the latter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What opponents are asked: the rows of a snapshot under a base's tokens, as some evaluation asked them.

    `limit`: longest answer in tokens, None: as the settings say. `only`: ids of the rows, None: all of them. `model`:
    a trained model that is asked instead of the base, as a run or a version holds it. `classify`: what answers for a
    classifier without a language model. `questions`: the rows as a head was asked them, None: they are asked in words.
    """

    snapshot: Path
    base: Base
    text: TextSettings
    settings: EvaluateSettings
    folder: Path
    store: Path
    progress: Progress
    limit: int | None = None
    only: frozenset[str] | None = None
    seed: int = 0
    model: Path | None = None
    classify: Classify | None = None
    questions: tuple[Question, ...] | None = None


def is_opponent(name: str) -> bool:
    """Tell whether a name is that of somebody who has to be asked."""
    return name.startswith((PROMPT, REMOTE, CLASSIFIER))
