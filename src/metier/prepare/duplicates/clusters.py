"""Union-find over row numbers, in arrays."""

import numpy as np


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

    def roots(self) -> np.ndarray:
        """Return the first row of every row's cluster, int32 [rows]."""
        parents = self._parents
        while True:
            further = parents[parents]
            if (further == parents).all():
                return parents.copy()
            parents[:] = further
