"""The prefix tree of many token lists: which beginnings they share, and where sharing is worth a node.

Shapes: S = token lists, T = tokens of one.
"""

from collections.abc import Sequence as Many
from dataclasses import dataclass

import numpy as np

LEAST_SAVED = 16
"""Tokens that a shared beginning must save in all to become a node: below, the extra attention call costs more."""


@dataclass(slots=True, kw_only=True)
class Branch:
    """A run of tokens that some lists share.

    Its tokens are `ids[example][depth : depth + length]`; it stands at places start..stop-1, everything beneath it at
    stop..end-1. `low`, `high`: the lists that pass through it are those in `order[low:high]`.
    """

    start: int
    length: int
    end: int
    depth: int
    parent: int
    example: int
    low: int
    high: int

    @property
    def stop(self) -> int:
        """First place after its own tokens."""
        return self.start + self.length


@dataclass(frozen=True, slots=True, kw_only=True)
class Trie:
    """`nodes` depth first; for each list the `paths` of nodes it runs through, and the `spans` of its top subtree."""

    nodes: list[Branch]
    paths: list[tuple[int, ...]]
    spans: list[tuple[int, int]]
    order: list[int]


def trie(ids: Many[np.ndarray], keys: Many[int], *, share: bool = True, least_saved: int = LEAST_SAVED) -> Trie:
    """Find the common beginnings of token lists.

    Args:
        ids: S integer arrays [T_i].
        keys: lists with different keys never share (they continue different trunks).
        share: False gives every list a node of its own, longest first.
        least_saved: tokens that a shared node must save, (lists - 1) x length.

    Returns:
        Nodes in depth-first order. Siblings without further branches stand by falling length, so that equal lengths
        are neighbours. Deterministic; lists that are equal keep the order they came in.
    """
    if share:
        encoded = [np.ascontiguousarray(array, dtype=">u4").tobytes() for array in ids]
        order = sorted(range(len(ids)), key=lambda index: (keys[index], encoded[index], index))
        common = [0] + [_common(ids, keys, order[i - 1], order[i]) for i in range(1, len(order))]
    else:
        order = sorted(range(len(ids)), key=lambda index: (-len(ids[index]), index))
        common = [-1] * len(order)  # as if each had a key of its own
    return _Growing(ids, order, np.array(common, dtype=np.int64), least_saved).grown()


def _common(ids: Many[np.ndarray], keys: Many[int], first: int, second: int) -> int:
    """Return how many tokens two lists share; -1 with different keys."""
    if keys[first] != keys[second]:
        return -1
    shorter = min(len(ids[first]), len(ids[second]))
    different = np.flatnonzero(ids[first][:shorter] != ids[second][:shorter])
    return int(different[0]) if len(different) else shorter


class _Growing:
    """The walk over sorted lists that makes nodes; `common[i]` is what lists i-1 and i of the order share."""

    def __init__(self, ids: Many[np.ndarray], order: list[int], common: np.ndarray, least_saved: int) -> None:
        self.ids = ids
        self.order = order
        self.common = common
        self.least_saved = least_saved
        self.nodes: list[Branch] = []
        self.paths: list[tuple[int, ...]] = [()] * len(order)
        self.place = 0

    def grown(self) -> Trie:
        """Walk depth first (with a stack of our own: nested conversations can be thousands deep)."""
        stack: list[tuple[int, int, int, tuple[int, ...]]] = [(0, len(self.order), 0, ())] if self.order else []
        while stack:
            low, high, depth, path = stack.pop()
            if high - low == 1:
                self._leaf(low, depth, path)
                continue
            shared = int(self.common[low + 1 : high].min())
            if (shared - depth) * (high - low - 1) >= self.least_saved:
                path = (*path, self._node(low, high, depth, shared - depth, path))
                depth = shared
            cuts = [low, *(low + 1 + np.flatnonzero(self.common[low + 1 : high] == shared)).tolist(), high]
            groups = [(cuts[i], cuts[i + 1], depth, path) for i in range(len(cuts) - 1)]
            if shared >= 0:  # lists of one key stay together, in the order of the keys
                groups.sort(key=lambda group: (group[1] - group[0] == 1, self._tail(group)))
            stack.extend(reversed(groups))
        for number in range(len(self.nodes) - 1, -1, -1):
            node = self.nodes[number]
            node.end = max(node.end, node.stop)
            if node.parent >= 0:
                self.nodes[node.parent].end = max(self.nodes[node.parent].end, node.end)
        spans = [(self.nodes[path[0]].start, self.nodes[path[0]].end) if path else (0, 0) for path in self.paths]
        return Trie(nodes=self.nodes, paths=self.paths, spans=spans, order=self.order)

    def _tail(self, group: tuple[int, int, int, tuple[int, ...]]) -> int:
        """Order leaves by falling length; groups keep the order of their tokens."""
        low, high, depth, _ = group
        return depth - len(self.ids[self.order[low]]) if high - low == 1 else low

    def _leaf(self, low: int, depth: int, path: tuple[int, ...]) -> None:
        index = self.order[low]
        length = len(self.ids[index]) - depth
        self.paths[index] = (*path, self._node(low, low + 1, depth, length, path)) if length else path

    def _node(self, low: int, high: int, depth: int, length: int, path: tuple[int, ...]) -> int:
        self.nodes.append(
            Branch(
                start=self.place, length=length, end=self.place, depth=depth, parent=path[-1] if path else -1,
                example=self.order[low], low=low, high=high,
            )
        )  # fmt: skip
        self.place += length
        return len(self.nodes) - 1
