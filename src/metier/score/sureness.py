"""How sure a model is that writes one of several labels, and whether it may be; imports no torch.

n = rows, K = labels on offer. A label's log-probability is the sum over its tokens, end of the answer included, not
divided by their number: exp of it is the chance that exactly this label is written. The labels share the whole.
"""

from collections.abc import Mapping

import numpy as np

from metier.score import calibration
from metier.score.temperature import shares

CONFIDENCE, BRIER, HELD = "confidence", "brier", "likeliest_is_right"
"""The probability of the likeliest label, Brier's score, and whether that label is the right one, of every row."""


def of_logs(logs: np.ndarray, right: np.ndarray) -> dict[str, np.ndarray]:
    """Return the three numbers of every row, float64 [n] each.

    Args:
        logs: float64 [n, K], log-probability of each label behind each prompt.
        right: int64 [n], place of the right label; -1 where it is not on offer: it has the probability 0 then.
    """
    told = shares(logs)
    known = right >= 0
    none = np.square(told).sum(axis=1) + 1
    return {
        CONFIDENCE: told.max(axis=1),
        BRIER: np.where(known, calibration.brier(told, np.where(known, right, 0)), none),
        HELD: (told.argmax(axis=1) == right).astype(np.float64),
    }


def columns(numbers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the columns of `brier` float64 [n, 2] and `ece` float64 [n, 3 B]; all zeros where nothing was asked.

    Nothing was asked where the confidence is 0: of K labels the likeliest has at least 1/K.
    """
    asked = numbers[CONFIDENCE] > 0
    sure = np.zeros((len(asked), 3 * calibration.BINS))
    sure[asked] = calibration.columns(numbers[CONFIDENCE][asked], numbers[HELD][asked])
    return {"brier": np.stack([numbers[BRIER] * asked, asked.astype(np.float64)], axis=1), "ece": sure}
