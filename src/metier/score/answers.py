"""The columns of answers, row by row: of written ones, and of what a head says; imports no torch.

n = rows, L = labels.
"""

import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from metier.score import calibration, calls, classify, regression, structured
from metier.score.exact import clean, exact_match
from metier.score.overlap import word_f1


def flags(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return float64 [n, 2]: the value of each row, and that it counts."""
    return np.stack([np.asarray(values, dtype=np.float64), np.ones(len(values))], axis=1)


def of_head(
    references: Sequence[str], outputs: Sequence[str | None], task: str, numbers: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the columns float64 [n, k] of every metric of a head's task.

    Args:
        references: the right answers [n] as text.
        outputs: what the head says [n], written in the same way.
        task: "label", "labels" or "score".
        numbers: what else it tells of every row, `brier` and `confidence`.
    """
    said = [output or "" for output in outputs]
    makers: dict[str, Callable[[], dict[str, np.ndarray]]] = {
        "label": lambda: _label(said, references, numbers),
        "labels": lambda: _labels(said, references),
        "score": lambda: _score(said, references),
    }
    return makers[task]()


def _label(said: Sequence[str], wanted: Sequence[str], numbers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    right = np.array([clean(a) == clean(b) for a, b in zip(said, wanted, strict=True)], np.float64)
    names = classify.labels_of(wanted)
    found = {"accuracy": flags(right.tolist()), "macro_f1": classify.counts(said, wanted, names)}
    if "brier" in numbers:
        found["brier"] = flags(numbers["brier"].tolist())
    if "confidence" in numbers:
        found["ece"] = calibration.columns(numbers["confidence"], right)
    return found


def _labels(said: Sequence[str], wanted: Sequence[str]) -> dict[str, np.ndarray]:
    pairs = [(set(json.loads(a or "[]")), set(json.loads(b or "[]"))) for a, b in zip(said, wanted, strict=True)]
    names = sorted(set().union(*(right for _, right in pairs)))
    place = {name: number for number, name in enumerate(names)}
    by_label = np.zeros((len(pairs), 3 * len(names)))
    in_all = np.zeros((len(pairs), 3))
    for row, (found, right) in enumerate(pairs):
        for kind, chosen in enumerate((found & right, found - right, right - found)):
            in_all[row, kind] = len(chosen)
            for name in chosen & place.keys():
                by_label[row, kind * len(names) + place[name]] = 1
    exact = [float(found == right) for found, right in pairs]
    return {"exact_match": flags(exact), "micro_f1": in_all, "macro_f1": by_label}


def _score(said: Sequence[str], wanted: Sequence[str]) -> dict[str, np.ndarray]:
    first, second = (np.array([float(text) for text in side]) for side in (said, wanted))
    error = first - second
    return {
        "mae": flags(np.abs(error).tolist()),
        "rmse": flags(np.square(error).tolist()),
        "spearman": regression.rank_columns(first, second),
    }


def of_answers(outputs: Sequence[str], references: Sequence[str], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the columns float64 [n, k] of metrics of written answers.

    Args:
        outputs: what a model said [n].
        references: the right answers [n].
        names: of `WRITTEN`.
    """
    return {name: _WRITTEN[name](outputs, references) for name in names}


def _known(outputs: Sequence[str], references: Sequence[str]) -> np.ndarray:
    labels = set(classify.labels_of(references))
    return flags([clean(output) in labels for output in outputs])


def _valid(outputs: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Return float64 [n, 2]; only rows whose right answer is a structure are concerned."""
    table = flags([structured.parse(output) is not None for output in outputs])
    return table * np.array([structured.parse(reference) is not None for reference in references])[:, None]


def _fields(outputs: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Return float64 [n, 5]: fields right, fields, and (field, value) hits, false alarms, misses."""
    table = np.zeros((len(references), 5))
    for row, (output, reference) in enumerate(zip(outputs, references, strict=True)):
        if structured.parse(reference) is not None:
            match = structured.compare(output, reference)
            fields = len(match.right) + len(match.wrong)
            table[row] = (len(match.right), fields, match.hits, match.false_alarms, match.misses)
    return table


def _called(outputs: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Return float64 [n, 10]: same calls, 1, same names in order, 1, then hits, false alarms and misses of both.

    The triples count names, and (name, argument, value). An answer without calls is right where none is wanted; where
    no row wants one, none is concerned.
    """
    if not any(calls.parse(reference) for reference in references):
        return np.zeros((len(references), 10))
    found = [calls.compare(*pair) for pair in zip(outputs, references, strict=True)]
    table = [(match.same, 1, match.in_order, 1, *match.names, *match.arguments) for match in found]
    return np.array(table, dtype=np.float64).reshape(-1, 10)


_WRITTEN: dict[str, Callable[[Sequence[str], Sequence[str]], np.ndarray]] = {
    "accuracy": lambda said, right: flags([clean(a) == clean(b) for a, b in zip(said, right, strict=True)]),
    "exact_match": lambda said, right: flags([exact_match(a, b) for a, b in zip(said, right, strict=True)]),
    "macro_f1": lambda said, right: classify.counts(said, right, classify.labels_of(right)),
    "label_known": _known,
    "json_valid": _valid,
    "field_accuracy": lambda said, right: _fields(said, right)[:, :2],
    "field_f1": lambda said, right: _fields(said, right)[:, 2:],
    "calls_right": lambda said, right: _called(said, right)[:, :2],
    "call_order": lambda said, right: _called(said, right)[:, 2:4],
    "function_f1": lambda said, right: _called(said, right)[:, 4:7],
    "argument_f1": lambda said, right: _called(said, right)[:, 7:],
    "word_f1": lambda said, right: flags([word_f1(a, b) for a, b in zip(said, right, strict=True)]),
}
WRITTEN = tuple(_WRITTEN)
"""The metrics of written answers."""
