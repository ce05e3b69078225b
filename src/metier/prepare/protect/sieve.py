"""Which rules may find something in a text, told of many texts at once by RE2 (Arrow's), which scans each rule once.

A pattern of this sort (`MAY_…`, beside the rule that it stands for) matches wherever the rule could: where it does not,
the rule need not be asked. RE2 knows neither what stands around a match nor all letters of Python's classes, so that
patterns are wider than the rules: what is not ASCII counts as a letter, a sign and a space.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as arrow
from pyarrow import compute

DIGIT = r"\p{Nd}"
SPACE = r"[\t-\r\x1c-\x20\x{80}-\x{10ffff}]"
UPPER = r"[A-Z\x{80}-\x{10ffff}]"

WORTH_CHARACTERS = 1 << 14
"""Fewer are looked through sooner than patterns are made ready."""


def sieved(texts: Sequence[str], patterns: Sequence[str]) -> list[int]:
    """Return for each text which patterns it matches: bit i stands for pattern i; where it is not worth it, all bits.

    Args:
        texts: to look through.
        patterns: in the syntax of RE2.
    """
    everything = (1 << len(patterns)) - 1
    if sum(map(len, texts)) < WORTH_CHARACTERS:
        return [everything] * len(texts)
    try:
        column = arrow.array(texts, arrow.string())
    except UnicodeEncodeError:  # half a character somewhere
        return [everything] * len(texts)
    found = np.zeros(len(texts), np.int64)
    for number, pattern in enumerate(patterns):
        options = compute.MatchSubstringOptions(pattern)
        matches = compute.call_function("match_substring_regex", [column], options)
        found |= matches.to_numpy(zero_copy_only=False).astype(np.int64) << number
    return found.tolist()
