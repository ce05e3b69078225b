"""Union-find over row numbers, in arrays."""

from collections.abc import Iterator

import numpy as np

_PART = 1 << 18


class Clusters:
    """Which rows belong together; every cluster is called after its first row.

    Args:
        count: the number of rows.
    """

    def __init__(self, count: int) -> None:
        self._parents = np.arange(count, dtype=np.int32)

    def join(self, pairs: np.ndarray) -> None:
        """Put the two rows of each pair, int [P, 2], into one cluster."""
        parents = self._parents
        for first, second in pairs.tolist():
            one, other = self._root(first), self._root(second)
            if one != other:
                parents[max(one, other)] = min(one, other)

    def _root(self, row: int) -> int:
        parents = self._parents
        while (parent := int(parents[row])) != row:
            parents[row] = parents[parent]
            row = parent
        return row

    def roots_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the first rows of the clusters of some rows, int32, the same shape."""
        parents = self._parents
        found = parents[rows]
        while True:
            further = parents[found]
            if (further == found).all():
                parents[rows] = found
                return found
            found = parents[further]

    def roots(self) -> np.ndarray:
        """Return the first row of every row's cluster, int32 [rows]."""
        for start in range(0, len(self._parents), _PART):
            self.roots_of(np.arange(start, min(start + _PART, len(self._parents))))
        return self._parents.copy()


def equal_runs(keys: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield where runs of at least two equal keys begin and end; the keys are in order."""
    same = np.concatenate([[False], keys[1:] == keys[:-1], [False]])
    begins, ends = np.flatnonzero(same[1:] & ~same[:-1]), np.flatnonzero(~same[1:] & same[:-1]) + 1
    yield from zip(begins.tolist(), ends.tolist(), strict=True)
