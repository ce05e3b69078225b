"""Which configurations are tried: Optuna's samplers propose them, one after the other, as a function of the seed.

A resumed sweep asks and tells again what was asked and told before, so that it goes on as if it had not stopped.
"""

import itertools
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from metier.core import extras, seeds
from metier.train.sweep.settings import SweepSettings
from metier.train.sweep.space import Axis, Choice, Point, size, values

EXTRA = "sweep"
_ATTEMPTS = 20
"""Proposals in a row that were made before, after which the space counts as used up."""


class Proposer:
    """Points of a space, each once.

    Args:
        axes: the space.
        settings: sampler and number of trials.
        seed: of the sampler.

    Raises:
        MissingExtraError: Optuna is not installed.
    """

    def __init__(self, axes: Mapping[str, Axis], settings: SweepSettings, seed: int) -> None:
        self._axes = axes
        self._optuna: Any = extras.load("optuna", EXTRA)
        self._optuna.logging.set_verbosity(self._optuna.logging.ERROR)
        with _quiet():
            self._study = self._optuna.create_study(sampler=self._sampler(settings, seeds.key("sweep", seed) % 2**32))
        self._distributions = {name: self._distribution(axis) for name, axis in axes.items()}
        self._known: list[tuple[Point, float | None]] = []
        self._all = self._everything() if size(axes) < settings.trials else None
        self._asked: Any = None

    def next(self) -> Point | None:
        """Return a point that was not tried yet; None when there is none left."""
        if self._all is not None:
            return next((point for point in self._all if not self._losses(point)), None)
        for _ in range(_ATTEMPTS):
            with _quiet():
                trial = self._study.ask(self._distributions)
            point = {name: self._value(axis, trial.params[name]) for name, axis in self._axes.items()}
            if not (known := self._losses(point)):
                self._asked = trial
                return point
            self._tell(trial, known[0])
        return None

    def tell(self, point: Point, loss: float | None) -> None:
        """Report the loss of a point; None: it failed."""
        self._known.append((point, loss))
        if self._asked is not None:
            self._tell(self._asked, loss)
            self._asked = None

    def _tell(self, trial: Any, loss: float | None) -> None:
        with _quiet():
            if loss is None:
                self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            else:
                self._study.tell(trial, loss)

    def _losses(self, point: Point) -> list[float | None]:
        return [loss for known, loss in self._known if known == point]

    def _everything(self) -> list[Point]:
        listed = [values(axis) for axis in self._axes.values()]
        return [dict(zip(self._axes, chosen, strict=True)) for chosen in itertools.product(*listed)]

    def _sampler(self, settings: SweepSettings, seed: int) -> Any:
        samplers = self._optuna.samplers
        if settings.sampler == "random":
            return samplers.RandomSampler(seed=seed)
        if settings.sampler == "sobol":
            return samplers.QMCSampler(seed=seed, scramble=True, independent_sampler=samplers.RandomSampler(seed=seed))
        return samplers.TPESampler(seed=seed, n_startup_trials=max(2, settings.trials // 3))

    def _distribution(self, axis: Axis) -> Any:
        kinds = self._optuna.distributions
        if isinstance(axis, Choice):
            return kinds.CategoricalDistribution(list(range(len(axis.values))))
        if axis.whole:
            return kinds.IntDistribution(int(axis.low), int(axis.high), log=axis.log)
        return kinds.FloatDistribution(axis.low, axis.high, log=axis.log)

    def _value(self, axis: Axis, proposed: Any) -> Any:
        """Return a proposal as the setting's value, with three digits where it is a fraction."""
        if isinstance(axis, Choice):
            return axis.values[proposed]
        return proposed if axis.whole else min(axis.high, max(axis.low, float(f"{proposed:.3g}")))


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
