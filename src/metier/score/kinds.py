"""What right answers are: labels, function calls, JSON, a few words or free text; decided here only; no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from metier.score import calls, structured
from metier.score.classify import labels_of

Kind = Literal["label", "calls", "json", "short", "text"]

_LONGEST_LABEL = 64
_MOST_LABELS = 200
_ROWS_PER_LABEL = 3
_SHORT_WORDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """A kind of answer, and what of the right answers shows it."""

    kind: Kind
    reason: str


def recognise(references: Sequence[str], *, labelled: bool) -> Recognised:
    """Say what kind of answer right answers are.

    Args:
        references: the right answers, at least one.
        labelled: every row is a text with a label.
    """
    if labelled:
        return Recognised(kind="label", reason="every row is a text and its label")
    called = sum(calls.calls_in_json(reference) for reference in references)
    if 2 * called >= len(references):
        return Recognised(kind="calls", reason=f"{called} of {len(references)} right answers call functions")
    structures = sum(structured.parse(reference) is not None for reference in references)
    if 2 * structures >= len(references):
        return Recognised(kind="json", reason=f"{structures} of {len(references)} right answers are JSON")
    labels = labels_of(references)
    brief = all(len(label) <= _LONGEST_LABEL and "\n" not in label for label in labels)
    if brief and len(labels) <= min(_MOST_LABELS, len(references) / _ROWS_PER_LABEL):
        return Recognised(kind="label", reason=f"{len(references)} rows share {len(labels)} short answers")
    kind: Kind = "short" if are_short(references) else "text"
    return Recognised(kind=kind, reason=f"{len(labels)} different answers in {len(references)} rows")


def words(references: Sequence[str]) -> float:
    """Return the median number of words of right answers."""
    return median(len(reference.split()) for reference in references)


def are_short(references: Sequence[str]) -> bool:
    """Tell whether right answers are so short that they are right or wrong as a whole."""
    return words(references) <= _SHORT_WORDS
