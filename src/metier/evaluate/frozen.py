"""The honest base of a head: the untrained base, frozen, with a linear head fitted on what it holds of every row.

What a head learns on top of that is what the training of the base itself brought.
Shapes: R = rows, D = width of the base, K = outputs.
"""

import warnings
from collections.abc import Callable, Iterable
from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from metier.core import extras, seeds
from metier.core.types import Sequence
from metier.forest.states import row_states
from metier.text.targets import Targets

_MOST_ROWS = 10_000
_STRENGTHS = (0.01, 0.1, 1.0)
_MOST_STEPS = 300


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """What a model holds at the last token of every prompt, float64 [R, D], and what a head should say, [R, K]."""

    states: np.ndarray
    wanted: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """What the fitted head says, as `Targets.values` float64 [R, K], and how it was fitted, in words."""

    values: np.ndarray
    how: str


def features(model: torch.nn.Module, sequences: Many[Sequence], width: int) -> Features:
    """Read the states of a model at the labels of rows.

    Args:
        model: a base, in evaluation mode.
        sequences: rows for a head, each with its target.
        width: the number of outputs K, for the case that there are no rows.
    """
    chosen = sequences
    if len(sequences) > _MOST_ROWS:
        order = seeds.permutation(len(sequences), "frozen")[:_MOST_ROWS]
        chosen = [sequences[int(place)] for place in sorted(order)]
    found = dict(row_states(model, chosen, through_head=False))
    states = [found[place][0].double().cpu().numpy() for place in range(len(chosen))]
    wanted = [sequence.target for sequence in chosen if sequence.target is not None]
    return Features(
        states=np.stack(states) if states else np.zeros((0, 1)),
        wanted=np.stack(wanted).astype(np.float64) if wanted else np.zeros((0, width)),
    )


def fit(head: Targets, train: Features, validation: Features, asked: Features) -> Fitted:
    """Fit a linear head on the training rows and let it answer; its strength is chosen on the validation rows.

    Logistic regression for classes and labels, ridge regression for numbers, from scikit-learn, on standardised states.
    """
    mean, spread = train.states.mean(axis=0), train.states.std(axis=0) + 1e-9
    known, held, wanted = ((part.states - mean) / spread for part in _filled(train, validation, asked))
    fitters: dict[str, Callable[[float], Callable[[np.ndarray], np.ndarray]]] = {
        "classify": lambda strength: _classes(known, train.wanted, strength),
        "multilabel": lambda strength: _labels(known, train.wanted, strength),
        "regress": lambda strength: _numbers(known, train.wanted, strength),
    }
    strengths = _STRENGTHS if len(validation.wanted) else _STRENGTHS[1:2]
    tried = [(strength, fitters[head.kind](strength)) for strength in strengths]
    strength, answer = min(tried, key=lambda pair: _loss(head, pair[1](held), validation.wanted))
    values = answer(wanted)
    if head.kind == "regress":
        values = head.values(values)
    name = "ridge regression" if head.kind == "regress" else "logistic regression"
    why = "chosen on the validation rows" if len(strengths) > 1 else "no validation rows to choose it"
    return Fitted(values=values, how=f"{name} on {len(known):,} training rows, strength {strength:g} ({why})")


def _filled(*parts: Features) -> Iterable[Features]:
    """Give parts without rows the width of the first."""
    width = parts[0].states.shape[1]
    return [part if len(part.states) else Features(states=np.zeros((0, width)), wanted=part.wanted) for part in parts]


def _classes(states: np.ndarray, wanted: np.ndarray, strength: float) -> Callable[[np.ndarray], np.ndarray]:
    model = _logistic(states, wanted.argmax(axis=1), strength)

    def answer(asked: np.ndarray) -> np.ndarray:
        values = np.zeros((len(asked), wanted.shape[1]))
        if len(asked):
            values[:, model.classes_] = model.predict_proba(asked)
        return values

    return answer


def _labels(states: np.ndarray, wanted: np.ndarray, strength: float) -> Callable[[np.ndarray], np.ndarray]:
    """Fit one yes-or-no regression a label; a label that always or never applies has its share as the answer."""
    shares = wanted.mean(axis=0)
    models = {
        k: _logistic(states, wanted[:, k].astype(int), strength) for k in range(wanted.shape[1]) if 0 < shares[k] < 1
    }

    def answer(asked: np.ndarray) -> np.ndarray:
        values = np.tile(shares, (len(asked), 1))
        for k, model in models.items():
            if len(asked):
                values[:, k] = model.predict_proba(asked)[:, 1]
        return values

    return answer


def _numbers(states: np.ndarray, wanted: np.ndarray, strength: float) -> Callable[[np.ndarray], np.ndarray]:
    model = extras.load("sklearn.linear_model", "heads").Ridge(alpha=1 / strength).fit(states, wanted[:, 0])
    return lambda asked: model.predict(asked)[:, None] if len(asked) else np.zeros((0, 1))


def _logistic(states: np.ndarray, wanted: np.ndarray, strength: float) -> Any:
    module = extras.load("sklearn.linear_model", "heads")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged by then: more steps hardly change what it says
        return module.LogisticRegression(C=strength, max_iter=_MOST_STEPS).fit(states, wanted)


def _loss(head: Targets, values: np.ndarray, wanted: np.ndarray) -> float:
    if not len(wanted):
        return 0.0
    if head.kind == "regress":
        return float(np.square(values - wanted).mean())
    clipped = np.clip(values, 1e-9, 1 - 1e-9)
    against = np.log1p(-clipped) * (1 - wanted) if head.kind == "multilabel" else 0.0
    return float(-(np.log(clipped) * wanted + against).sum(axis=1).mean())
