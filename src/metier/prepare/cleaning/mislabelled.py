"""Finds rows whose label is probably wrong, by confident learning over a cross-validated probe.

Each row is judged by a linear classifier (TF-IDF of words and pairs of words) that has not seen it. Its label is
doubted when the classifier is at least as sure of another label as it is, on average, of rows that bear that label
(Northcutt, Jiang and Chuang, "Confident learning", JAIR 2021). A classifier to which the words say nothing is no judge:
where it is not surely less surprised at the labels than their shares alone would be, no label is doubted.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from metier.core import extras
from metier.core.types import Reasoned
from metier.prepare.cleaning.seen import Seen
from metier.prepare.cleaning.texts import asked
from metier.prepare.decisions import Action, Decision
from metier.prepare.spool import Spool

RULE = "clean.mislabelled"
REASON = "label is probably another"
EXTRA = "clean"
_FOLDS = 5
_MOST_ROWS = 20_000
_FEWEST_ROWS = 50
_MOST_LABELS = 500
_SHARPNESS = np.geomspace(0.5, 16, 21)


class Mislabelled:
    """Judges labels by the texts beside them, at most 20,000 of them, drawn by their content.

    Args:
        spool: the rows.
        seen: is told what was left out.
        drops: whether doubted rows are dropped.
    """

    def __init__(self, spool: Spool, seen: Seen, *, drops: bool) -> None:
        self._action: Action = "drop" if drops else "flag"
        self._choices = seen.choices
        places = spool.places
        labelled = int(((places.labels >= 0) & spool.alive).sum())
        draws = np.ascontiguousarray(places.ids[:, :4]).view(">u4")[:, 0]
        chosen = draws < 2**32 * min(1.0, _MOST_ROWS / max(labelled, 1))
        self._numbers = np.flatnonzero(chosen & (places.labels >= 0) & spool.alive)
        if labelled > _MOST_ROWS:
            reason = f"a draw of the {labelled:,} with a label; more would take minutes"
            seen.choices.append(Reasoned(name="rows looked at for a wrong label", value=_MOST_ROWS, reason=reason))

    def decisions(self, spool: Spool) -> Iterator[Decision]:
        """Yield the doubted rows, the most doubtful first."""
        numbers = self._numbers
        codes, labels = np.unique(spool.places.labels[numbers], return_inverse=True) if len(numbers) else ([], numbers)
        enough = np.isin(labels, np.flatnonzero(np.bincount(labels) >= _FOLDS)) if len(labels) else np.zeros(0, bool)
        kinds = len(np.unique(labels[enough]))
        if enough.sum() < _FEWEST_ROWS or not 2 <= kinds <= min(_MOST_LABELS, enough.sum() // _FOLDS):
            return
        texts = [asked(row) for row in spool.rows(numbers[enough])]
        known, given = np.unique(labels[enough], return_inverse=True)
        chances = probabilities(texts, given)
        if not tells(chances, given):
            reason = "the words of the texts tell their labels no better than the shares of the labels do"
            self._choices.append(Reasoned(name="rows looked at for a wrong label", value=0, reason=reason))
            return
        for place, instead, sure, share in doubted(chances, given):
            name = spool.places.label_names[codes[known[instead]]]
            detail = f"{name!r} at {sure:.0%} against {share:.0%} for its own"
            yield spool.decision(int(numbers[enough][place]), RULE, self._action, REASON, detail)


def tells(chances: np.ndarray, labels: np.ndarray) -> bool:
    """Tell whether a probe is surely less surprised at the labels than their shares are (by two standard errors).

    Args:
        chances: float64 [N, K], what the probe says of rows that it has not seen.
        labels: int [N], those that the rows bear.
    """
    count = len(labels)
    shares = np.bincount(labels)[labels] / count
    gains = np.log(np.maximum(chances[np.arange(count), labels], 1e-12)) - np.log(shares)
    return bool(gains.mean() > 2 * gains.std() / count**0.5)


def doubted(chances: np.ndarray, labels: np.ndarray) -> list[tuple[int, int, float, float]]:
    """Return what is probably mislabelled, the most doubtful first.

    Args:
        chances: float64 [N, K], what a probe says of rows that it has not seen.
        labels: int [N], those that the rows bear.

    Returns:
        (place, the label that it probably has, the probability of that one, the probability of its own).
    """
    count, kinds = chances.shape
    own = chances[np.arange(count), labels]
    usual = np.array([own[labels == kind].mean() for kind in range(kinds)])
    sure = np.where(chances >= usual, chances, -1.0)
    best = sure.argmax(axis=1)
    places = np.flatnonzero((sure.max(axis=1) >= 0) & (best != labels))
    order = places[np.argsort(own[places] - chances[places, best[places]], kind="stable")]
    return [(int(place), int(best[place]), float(chances[place, best[place]]), float(own[place])) for place in order]


def probabilities(texts: list[str], labels: np.ndarray) -> np.ndarray:
    """Return float64 [N, K]: what a probe that has not seen a row says of it; each label stands five times or more."""
    words = extras.load("sklearn.feature_extraction.text", EXTRA)
    linear = extras.load("sklearn.svm", EXTRA)
    selection = extras.load("sklearn.model_selection", EXTRA)
    vectoriser = words.TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2, max_features=50_000)
    try:
        features: Any = vectoriser.fit_transform(texts)
    except ValueError:  # no word stands in two texts
        return np.eye(labels.max() + 1)[labels]
    values = np.zeros((len(texts), int(labels.max()) + 1))
    folds = selection.StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    for seen, unseen in folds.split(features, labels):
        probe = linear.LinearSVC(C=0.5, tol=1e-2, random_state=0).fit(features[seen], labels[seen])
        said = probe.decision_function(features[unseen])
        values[unseen] = np.stack([-said, said], axis=1) if said.ndim == 1 else said
    return _sharpened(values, labels)


def _sharpened(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return probabilities from margins, as sharp as fits the labels best."""
    picked = min(_SHARPNESS, key=lambda sharpness: -np.log(_shares(values, sharpness, labels)).mean())
    return _softmax(picked * values)


def _shares(values: np.ndarray, sharpness: float, labels: np.ndarray) -> np.ndarray:
    return np.maximum(_softmax(sharpness * values)[np.arange(len(labels)), labels], 1e-12)


def _softmax(values: np.ndarray) -> np.ndarray:
    shares = np.exp(values - values.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)
