"""A classifier without a language model as an opponent: learnt from training rows, asked held-out rows."""

from collections.abc import Sequence
from pathlib import Path

from metier.advise import plain, task
from metier.core import extras
from metier.core.errors import DataError, InputError
from metier.core.types import LabelledRow, Row
from metier.score import kinds
from metier.text.preferences import answered

WAYS = ("commonest", "nearest", "logistic")


def classify(way: str, train: Sequence[Row], asked: Sequence[Row], folder: Path) -> tuple[str, ...]:
    """Answer rows by what the training rows show; what is right of the asked rows is taken off before.

    Args:
        way: one of `WAYS`, on TF-IDF; `WAY:FOLDER` on a static embedding model (of `nearest` and `logistic`).
        train: the training rows, at least one with a question and an answer.
        asked: the rows to answer.
        folder: the project's, which `FOLDER` is relative to.

    Returns:
        An answer to each of `asked`, in their order.

    Raises:
        InputError: there is no such way.
        DataError: a row has no question, or the answers are not of a kind that a regression can give.
        MissingExtraError: scikit-learn is not installed.
    """
    name, _, space = way.partition(":")
    if name not in WAYS:
        raise InputError(f"classifier:{way}", " or ".join(f"classifier:{known}" for known in WAYS))
    known = task.taken_apart([answered(row) for row in train])
    questions = task.taken_apart([answered(row) for row in asked]).questions
    if len(questions) != len(asked):
        raise DataError(
            f"classifier:{way}: {len(asked) - len(questions)} of {len(asked)} rows have no question",
            "rows that all end with an answer to somebody",
        )  # fmt: skip
    texts = [question.text for question in questions]
    if name == "commonest":
        return plain.majority(known.texts, known.answers, texts).outputs
    extras.require("heads")
    where = (folder / Path(space).expanduser()).resolve()
    measure = plain.embedded(where, "classifier:WAY:FOLDER") if space else plain.lexical
    rows, wanted = measure(known.texts, texts)
    if name == "nearest":
        return tuple(plain.nearest(rows, known.answers, wanted))
    labelled = all(isinstance(row, LabelledRow) for row in train)
    found = plain.regression(kinds.recognise(known.answers, labelled=labelled).kind)(rows, known.answers, wanted)
    if found is None:
        raise DataError(f"classifier:{way}: {plain.NO_REGRESSION}", "labels", "ask `classifier:nearest` instead")
    return tuple(found)
