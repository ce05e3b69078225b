"""How often each training row is trained on: caps, down- and up-sampling, temperature, mixtures."""

import numpy as np

from metier.prepare.balance.classes import Classes
from metier.prepare.balance.settings import BalanceSettings


def over(classes: Classes, ordered: np.ndarray, most: int) -> np.ndarray:
    """Return the rows that come after the first `most` of their class.

    Args:
        classes: of all rows.
        ordered: int64, rows in the order in which they are chosen.
        most: rows that a class may keep.
    """
    codes = classes.codes[ordered]
    return ordered[(codes >= 0) & (_ranks(codes) >= most)]


def wanted(counts: np.ndarray, settings: BalanceSettings, shares: np.ndarray | None) -> np.ndarray:
    """Return how many lines each class is to have, int64 [classes]; 0 for a class without rows.

    With temperature T the share of a class of n rows is proportional to n^(1/T) (multilingual BERT, J. Devlin 2018;
    N. Arivazhagan et al. 2019, "Massively Multilingual Neural Machine Translation in the Wild"). Sizes are rounded by
    largest remainders, so that they add up, but every class that has rows gets one line at least.

    Args:
        counts: int64 [classes], rows of each.
        settings: `sampling`, `temperature` and `rows` matter here.
        shares: float64 [classes], the weights of a mixture, which take the place of `sampling`; None: there are none.
    """
    there = counts > 0
    parts, total = _parts(counts, settings) if shares is None else (shares, int(counts.sum()))
    parts = np.where(there, parts, 0.0)
    total = total if settings.rows is None else settings.rows
    exact = parts / parts.sum() * total
    sizes = np.floor(exact).astype(np.int64)
    sizes[np.argsort(sizes - exact, kind="stable")[: total - int(sizes.sum())]] += 1
    return np.where(parts > 0, np.maximum(sizes, 1), 0)


def _parts(counts: np.ndarray, settings: BalanceSettings) -> tuple[np.ndarray, int]:
    """Return what the shares of the classes are proportional to, and how many lines there are when none are asked."""
    there = counts[counts > 0]
    if settings.sampling == "temperature":
        return counts ** (1 / settings.temperature), int(counts.sum())
    if settings.sampling == "none":
        return counts.astype(float), int(counts.sum())
    size = there.min() if settings.sampling == "down" else there.max()
    return np.ones(len(counts)), int(size) * len(there)


def times(classes: Classes, ordered: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return how often each row stands in the training file, int64 [rows of `ordered`]; 1 for rows of no class.

    Every row of a class comes equally often, give or take one; the first in order get the one more.
    """
    codes = classes.codes[ordered]
    counts = classes.counts(ordered)
    known = codes >= 0
    found = np.ones(len(ordered), np.int64)
    of = codes[known]
    found[known] = sizes[of] // counts[of] + (_ranks(codes)[known] < sizes[of] % counts[of])
    return found


def _ranks(codes: np.ndarray) -> np.ndarray:
    """Return how many rows before it are of the class of each row, int64, same shape."""
    order = np.argsort(codes, kind="stable")
    put = codes[order]
    starts = np.flatnonzero(np.r_[True, put[1:] != put[:-1]]) if len(put) else np.zeros(0, np.int64)
    ranks = np.empty(len(codes), np.int64)
    ranks[order] = np.arange(len(codes)) - np.repeat(starts, np.diff(np.r_[starts, len(codes)]))
    return ranks
