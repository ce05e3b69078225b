"""Who is right where two de-duplications differ: the exact likeness of every row that only one of them drops."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

_LIKE = 0.8
_RUN = 5
_MOST_LOOKED_AT = 50


def likeness(first: str, second: str) -> tuple[float, float]:
    """Return the share of common words (of the longer text, counted as often as they stand), and Jaccard's of runs.

    The first is what metier promises a threshold of, the second (five words in a row, as sets) what the peers estimate.
    """
    words = [re.findall(r"\w+", text.lower()) for text in (first, second)]
    common = (Counter(words[0]) & Counter(words[1])).total()
    runs = [{tuple(said[start : start + _RUN]) for start in range(max(1, len(said) - _RUN + 1))} for said in words]
    union = len(runs[0] | runs[1])
    return common / max(*map(len, words), 1), len(runs[0] & runs[1]) / union if union else 1.0


def differences(texts: Sequence[str], theirs: Sequence[int], ours: Sequence[int]) -> list[tuple[str, int, int, int]]:
    """Return, for each side, the rows that only it drops: how many, and how many of them are right by either measure.

    A row is dropped rightly when one of the rows that its cluster puts before it is like it.

    Args:
        texts: the rows.
        theirs: the first row of each one's cluster, by a peer.
        ours: the same by metier.
    """
    found = []
    for name, mine, other in (("theirs", theirs, ours), ("metier", ours, theirs)):
        members = defaultdict[int, list[int]](list)
        counts = [0, 0, 0]
        for row, first in enumerate(mine):
            if row != first and other[row] == row:
                before = members[first][:_MOST_LOOKED_AT]
                measured = [likeness(texts[row], texts[one]) for one in before]
                counts[0] += 1
                counts[1] += any(words >= _LIKE for words, _ in measured)
                counts[2] += any(runs >= 0.5 for _, runs in measured)
            members[first].append(row)
        found.append((name, *counts))
    return found
