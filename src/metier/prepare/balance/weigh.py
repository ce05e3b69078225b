"""What a row's loss is multiplied by, so that rare classes are not drowned out."""

import numpy as np

from metier.prepare.balance.settings import BalanceSettings


def weights(counts: np.ndarray, settings: BalanceSettings) -> np.ndarray:
    """Return the weight of each class, float64 [classes]; 1 for a class without lines.

    `inverse`: 1 / n. `effective`: one over the effective number of samples, (1 − β) / (1 − β^n) (Y. Cui et al. 2019,
    "Class-Balanced Loss Based on Effective Number of Samples", equation 2). Both are scaled so that the mean over the
    lines is 1: a training with weights is as long and as fast as one without.

    Args:
        counts: int64 [classes], training lines of each.
        settings: `weighting` and `beta` matter here.
    """
    there = counts > 0
    sizes = np.where(there, counts, 1).astype(float)
    raw = 1 / sizes if settings.weighting == "inverse" else (1 - settings.beta) / (1 - settings.beta**sizes)
    scale = counts.sum() / (raw * counts).sum()
    return np.where(there, raw * scale, 1.0)
