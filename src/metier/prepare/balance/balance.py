"""From training rows to training lines: caps, then a mixture or sampling, then weights, then the order."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from metier.core.errors import DataError
from metier.prepare.balance.classes import Classes, classes_of, drawn, require_some
from metier.prepare.balance.curriculum import ordered
from metier.prepare.balance.sample import over, times, wanted
from metier.prepare.balance.settings import BalanceSettings, ClassKind
from metier.prepare.balance.training import Training
from metier.prepare.balance.weigh import weights
from metier.prepare.division import TRAIN, Division, Gone
from metier.prepare.reading.part import DataFile
from metier.prepare.spool import Spool

RULE = "balance"

Spared = Callable[[str, str], bool]


def balance(
    spool: Spool, division: Division, settings: BalanceSettings, *, files: Sequence[DataFile], kept: Collection[str]
) -> Training:
    """Decide which training rows are written, how often, with what weight and in what order.

    Args:
        spool: all rows.
        division: their splits; training rows that are left out are dropped from it.
        settings: what is asked for.
        files: what `data` names; those of training may have weights of a mixture.
        kept: sources and ids of rows that no rule may drop.

    Raises:
        DataError: rows have no class to go by, or a mixture and a sampling are both asked for.
    """
    work = _Work(spool, division, settings, files, kept)
    before = work.rows()
    work.cap()
    repeated = work.sample()
    numbers = np.repeat(repeated[0], repeated[1])
    repeats = _repeats(repeated[1])
    training = Training(numbers=numbers, repeats=repeats, warnings=work.warnings)
    by_class = None
    if settings.weighting != "none":
        classes = work.classes(settings.by, "weighting", numbers)
        by_class = weights(classes.counts(numbers), settings)
        training.weights = np.where(classes.codes[numbers] >= 0, by_class[classes.codes[numbers]], 1.0)
    if settings.curriculum.by != "none":
        order = ordered(spool, numbers, settings.curriculum)
        training.numbers, training.repeats = numbers[order], repeats[order]
        training.weights = None if training.weights is None else training.weights[order]
        training.curriculum = settings.curriculum.model_dump()
    training.facts = work.facts(before, numbers, by_class)
    return training


class _Work:
    """The training rows while they are balanced."""

    def __init__(
        self, spool: Spool, division: Division, settings: BalanceSettings, files: Sequence[DataFile],
        kept: Collection[str],
    ) -> None:  # fmt: skip
        self.places, self.division, self.settings, self.files = spool.places, division, settings, files
        self.spared = np.zeros(len(spool), bool)
        if kept:
            names = ((self.places.source(number), self.places.id(number)) for number in range(len(spool)))
            self.spared = np.array([source in kept or row_id in kept for source, row_id in names], bool)
        self.kinds: list[ClassKind] = []
        self.warnings: list[str] = []

    def rows(self) -> np.ndarray:
        """Return the training rows, int64, ascending."""
        return np.flatnonzero(self.division.splits == TRAIN)

    def classes(self, kind: ClassKind, setting: str, numbers: np.ndarray) -> Classes:
        """Return classes that are reported on afterwards."""
        found = classes_of(self.places, kind, self.files)
        require_some(found, numbers, setting, kind)
        if kind not in self.kinds:
            self.kinds.append(kind)
        return found

    def cap(self) -> None:
        """Drop what is over the caps."""
        for kind, most in self.settings.most.items():
            rows = self.rows()
            lost = over(self.classes(kind, "most", rows), drawn(self.places, rows, self.spared), most)
            self._drop(lost, f"over prepare.balance.most for its {kind}", f"{most:,} rows of one {kind} are kept")

    def sample(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the training rows and how often each is written, both int64 [rows]; what is never is dropped."""
        rows, settings, shares = self.rows(), self.settings, self._mixture()
        if shares is None and settings.sampling == "none" and settings.rows is None:
            return rows, np.broadcast_to(np.int64(1), len(rows))
        if shares is not None:
            classes, portions = shares
        elif settings.sampling == "none":
            classes, portions = Classes(codes=np.zeros(len(self.places), np.int64), names=("all",)), None
        else:
            classes, portions = self.classes(settings.by, "sampling", rows), None
        counts = classes.counts(rows)
        asked = wanted(counts, settings, portions)
        sizes = np.minimum(asked, settings.most_times * counts)
        self._warn_of_short(classes, asked, sizes)
        chosen = drawn(self.places, rows, self.spared)
        often = np.maximum(times(classes, chosen, sizes), self.spared[chosen])
        self._drop(np.sort(chosen[often == 0]), "left out by prepare.balance", "its class has rows enough")
        order = np.argsort(chosen, kind="stable")
        return chosen[order][often[order] > 0], often[order][often[order] > 0]

    def facts(self, before: np.ndarray, after: np.ndarray, by_class: np.ndarray | None) -> dict[str, Any] | None:
        """Return rows by class before and after, for the kinds of class that were gone by."""
        settings = self.settings
        if not self.kinds and settings.rows is None and settings.curriculum.by == "none":
            return None
        tables = {}
        for kind in self.kinds:
            classes = classes_of(self.places, kind, self.files)
            rows = zip(classes.names, classes.counts(before).tolist(), classes.counts(after).tolist(), strict=True)
            tables[kind] = {name: {"before": first, "after": then} for name, first, then in rows if first}
            if by_class is not None and kind == settings.by:
                for name, weight in zip(classes.names, by_class.tolist(), strict=True):
                    tables[kind].get(name, {})["weight"] = weight
        return {"before": len(before), "after": len(after), "classes": tables}

    def _mixture(self) -> tuple[Classes, np.ndarray] | None:
        """Return the entries of `data.train` as classes, and their weights; None where they have none."""
        weighed = {file.own.entry: file.own.weight for file in self.files if file.own and file.own.weight is not None}
        if not weighed:
            return None
        if self.settings.sampling != "none":
            raise DataError(
                f"prepare.balance.sampling: {self.settings.sampling}, and weights in data.train: two mixtures",
                "one of them", "leave the weights out, or set prepare.balance.sampling: none",
            )  # fmt: skip
        sources = self.classes("source", "most", self.rows())
        entries = np.array([file.own.entry if file.own else -1 for file in self._named(sources)])
        owns = {file.own.entry: file.own for file in self.files if file.own}
        names = tuple(owns[entry].name if entry in owns else "" for entry in range(max(owns) + 1))
        portions = np.array([weighed.get(entry, 0.0) for entry in range(len(names))], float)
        return Classes(codes=entries[sources.codes], names=names), portions

    def _named(self, sources: Classes) -> list[DataFile]:
        by_name = {file.name: file for file in self.files}
        return [by_name[name] for name in sources.names]

    def _warn_of_short(self, classes: Classes, asked: np.ndarray, sizes: np.ndarray) -> None:
        short = np.flatnonzero(sizes < asked)
        if len(short):
            worst = int(short[np.argmin(sizes[short] / asked[short])])
            self.warnings.append(
                f"{len(short)} class(es) stay smaller than was asked for, since no row is repeated more than "
                f"{self.settings.most_times} times (prepare.balance.most_times); {classes.names[worst]!r} has "
                f"{sizes[worst]:,} lines instead of {asked[worst]:,}"
            )

    def _drop(self, numbers: np.ndarray, reason: str, detail: str) -> None:
        numbers = numbers[~self.spared[numbers]]
        self.division.drop(Gone(np.sort(numbers), reason, detail, rule=RULE))


def _repeats(often: np.ndarray) -> np.ndarray:
    """Return 0, 1, 2 … for each line of a row that is written so often, int32."""
    if often.max(initial=1) == 1:
        return np.zeros(len(often), np.int32)
    starts = np.cumsum(often) - often
    return (np.arange(int(often.sum())) - np.repeat(starts, often)).astype(np.int32)
