"""How much of a free answer is in the reference: shared words."""

import re
from collections import Counter

_WORD = re.compile(r"\w+")


def word_f1(output: str, reference: str) -> float:
    """Return the F1 of the words two texts share, in [0, 1]; case and punctuation do not count, repetition does.

    Precision = shared words / words of the output, recall = shared words / words of the reference. Two texts without a
    word agree (1.0).
    """
    found = Counter(_WORD.findall(output.casefold()))
    wanted = Counter(_WORD.findall(reference.casefold()))
    if not found and not wanted:
        return 1.0
    return 2 * (found & wanted).total() / (found.total() + wanted.total())
