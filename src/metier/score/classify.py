"""Labels: counts that add up over rows, and F1 as a function of the sums. L = labels, n = rows.

Counts are kept per row because a bootstrap needs them so: resampling rows is then a matrix product.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metier.score.exact import clean


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelScore:
    """One label: its rows, and shares in [0, 1]. `precision` is None where the label was never answered."""

    label: str
    rows: int
    right: int
    recall: float
    precision: float | None
    f1: float


def labels_of(references: Sequence[str]) -> tuple[str, ...]:
    """Return the distinct labels in alphabetical order."""
    return tuple(sorted({clean(reference) for reference in references}))


def counts(outputs: Sequence[str], references: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Return float64 [n, 3 L]: for each row and label, whether it is a hit, a false alarm or a miss.

    The first L columns are hits, then L false alarms, then L misses. An output that is no label is a miss of the
    reference and a false alarm of nothing, so that garbage costs recall but invents no class.
    """
    place = {label: index for index, label in enumerate(labels)}
    many = len(labels)
    table = np.zeros((len(references), 3 * many))
    for row, (output, reference) in enumerate(zip(outputs, references, strict=True)):
        said, wanted = clean(output), clean(reference)
        if said == wanted:
            table[row, place[wanted]] = 1
            continue
        table[row, 2 * many + place[wanted]] = 1
        if said in place:
            table[row, many + place[said]] = 1
    return table


def macro_f1(sums: np.ndarray) -> np.ndarray:
    """Return the mean over labels of 2 hits / (2 hits + false alarms + misses), [...] from sums [..., 3 L].

    A label that occurs neither in references nor in outputs has no F1 and is left out of the mean.
    """
    hits, false_alarms, misses = np.split(np.asarray(sums, dtype=np.float64), 3, axis=-1)
    below = 2 * hits + false_alarms + misses
    present = below > 0
    values = np.divide(2 * hits, below, out=np.zeros_like(below), where=present)
    many = present.sum(axis=-1)
    return np.divide(values.sum(axis=-1), many, out=np.full(many.shape, np.nan), where=many > 0)


def micro_f1(sums: np.ndarray) -> np.ndarray:
    """Return 2 hits / (2 hits + false alarms + misses), [...] from sums [..., 3]."""
    hits, false_alarms, misses = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    below = 2 * hits + false_alarms + misses
    return np.divide(2 * hits, below, out=np.full(below.shape, np.nan), where=below > 0)


def per_label(outputs: Sequence[str], references: Sequence[str]) -> tuple[LabelScore, ...]:
    """Return the score of every label of the references, in alphabetical order."""
    labels = labels_of(references)
    if not labels:
        return ()
    hits, false_alarms, misses = np.split(counts(outputs, references, labels).sum(axis=0), 3)
    scores = []
    for label, hit, alarm, miss in zip(labels, hits, false_alarms, misses, strict=True):
        scores.append(
            LabelScore(
                label=label,
                rows=int(hit + miss),
                right=int(hit),
                recall=float(hit / (hit + miss)),
                precision=float(hit / (hit + alarm)) if hit + alarm else None,
                f1=float(2 * hit / (2 * hit + alarm + miss)),
            )
        )
    return tuple(scores)


def confusions(outputs: Sequence[str], references: Sequence[str], most: int) -> list[tuple[str, str, int]]:
    """Return the most frequent mistakes as (wanted, said, rows), most frequent first, ties in alphabetical order."""
    pairs = Counter(
        (clean(reference), clean(output))
        for output, reference in zip(outputs, references, strict=True)
        if clean(output) != clean(reference)
    )
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    return [(wanted, said, rows) for (wanted, said), rows in ranked[:most]]
