"""Arrange a step's sequences for a token budget: the trunk they share, computed once, and forests that hang from it.

What a step consists of never depends on this: only how it is computed does.
"""

from collections.abc import Sequence as Many
from dataclasses import dataclass
from itertools import pairwise
from math import inf

import numpy as np
import torch

from metier.core.types import Sequence
from metier.forest.bins import bins, bins_of_kin
from metier.forest.grow import Above, Forest, Trunk, grow, needed
from metier.forest.pieces import Node, attention_pieces
from metier.forest.trie import LEAST_SAVED, Trie, trie


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arrangement:
    """`forests`, each with the indices of its sequences, and the `trunk` beneath them (None: nothing in common)."""

    trunk: Trunk | None
    forests: tuple[tuple[tuple[int, ...], Forest], ...]

    @property
    def computed(self) -> int:
        """Number of tokens that are computed."""
        above = self.trunk.forest.tokens if self.trunk is not None else 0
        return above + sum(forest.tokens for _, forest in self.forests)

    @property
    def given(self) -> int:
        """Number of tokens of all sequences."""
        return sum(sum(forest.lengths) for _, forest in self.forests)


def arrange(sequences: Many[Sequence], budget: int, *, share: bool = True, together: int = 1) -> Arrangement:
    """Split sequences into forests of at most `budget` tokens (one longer sequence gets a forest of its own).

    Args:
        sequences: those of one step.
        budget: most tokens computed at once.
        share: False only packs side by side.
        together: so many neighbours stand in one forest, in their order, whatever they need: 2 for pairs.

    Returns:
        Forests of whole subtrees, packed by what each adds to the tokens of a forest; a beginning that subtrees of
        different forests share is in the trunk. A trunk holds no place that predicts a label, so each forest has all
        labels of its sequences.
    """
    if not share:
        items = [list(range(first, first + together)) for first in range(0, len(sequences), together)]
        groups = bins([sum(needed(sequences[i]) for i in item) for item in items], budget)
        chosen = [[i for number in group for i in items[number]] for group in groups]
        made = [(tuple(group), grow([sequences[i] for i in group], share=False)) for group in chosen]
        return Arrangement(trunk=None, forests=tuple(made))
    whole = trie([sequence.ids[: needed(sequence)] for sequence in sequences], [0] * len(sequences))
    if sum(node.length for node in whole.nodes) <= budget:
        forest = grow(sequences)
        return Arrangement(trunk=None, forests=((tuple(range(len(sequences))), forest),))
    cut, parts = _cut(whole, budget)
    trunk, above = _trunk(sequences, whole, cut)
    items = [
        half
        for low, high in parts
        for half in _within([whole.order[place] for place in range(low, high)], sequences, above, budget)
    ]
    items = items if together == 1 else _joined(items, together)
    made = []
    for group in _packed(sequences, items, above, budget, places=None if together > 1 else _places(whole)):
        chosen = sorted(index for number in group for index in items[number])
        forest = grow([sequences[i] for i in chosen], above=[above[i] for i in chosen], trunk=trunk)
        made.append((tuple(chosen), forest))
    return Arrangement(trunk=trunk, forests=tuple(made))


def _cut(whole: Trie, budget: int) -> tuple[list[int], list[tuple[int, int]]]:
    """Cut every node whose subtree is over the budget; return these nodes and the ranges of sequences left whole."""
    cut = [
        number for number, node in enumerate(whole.nodes) if node.end - node.start > budget and node.high - node.low > 1
    ]
    chosen = set(cut)
    covered: list[tuple[int, int]] = []
    for number, node in enumerate(whole.nodes):
        if number not in chosen and (node.parent < 0 or node.parent in chosen):
            covered.append((node.low, node.high))
    inside = {place for low, high in covered for place in range(low, high)}
    # sequences that end inside a cut node have no node of their own
    covered += [(place, place + 1) for place in range(len(whole.order)) if place not in inside]
    return cut, covered


def _trunk(sequences: Many[Sequence], whole: Trie, cut: list[int]) -> tuple[Trunk | None, list[Above]]:
    """Make the trunk of the cut nodes, each up to the first place that predicts a label, and say who hangs where."""
    first_label = [_first_source(sequence) for sequence in sequences]
    kept: dict[int, int] = {}
    nodes: list[Node] = []
    parents: list[int] = []
    ids, positions, owners = [], [], []
    above = [Above()] * len(sequences)
    place = 0
    for number in cut:
        node = whole.nodes[number]
        parent = whole.nodes[node.parent] if node.parent >= 0 else None
        if parent is not None and (node.parent not in kept or nodes[kept[node.parent]].length < parent.length):
            continue  # what stands above is not whole, so this cannot hang there
        members = [whole.order[index] for index in range(node.low, node.high)]
        length = min(node.length, min(first_label[index] for index in members) - node.depth)
        if length <= 0:
            continue
        kept[number] = len(nodes)
        parents.append(kept[node.parent] if parent is not None else -1)
        nodes.append(Node(start=place, length=length, end=place + length, depth=node.depth))
        ids.append(sequences[node.example].ids[node.depth : node.depth + length])
        positions.append(np.arange(node.depth, node.depth + length))
        owners.append(np.full(length, node.example))
        place += length
        for index in members:
            above[index] = Above(depth=node.depth + length, node=kept[number])
    if not nodes:
        return None, above
    return Trunk(_bare(_with_ends(nodes, parents), ids, positions, owners), parents), above


def _first_source(sequence: Sequence) -> int:
    """Return the first place that predicts a label; without labels the last token, which a head may want to read."""
    labels = np.flatnonzero(sequence.weights)
    return int(labels[0]) - 1 if len(labels) else len(sequence) - 1


def _with_ends(nodes: list[Node], parents: list[int]) -> tuple[Node, ...]:
    ends = [node.stop for node in nodes]
    for number in range(len(nodes) - 1, -1, -1):
        if parents[number] >= 0:
            ends[parents[number]] = max(ends[parents[number]], ends[number])
    return tuple(
        Node(start=node.start, length=node.length, end=end, depth=node.depth)
        for node, end in zip(nodes, ends, strict=True)
    )


def _bare(
    nodes: tuple[Node, ...], ids: list[np.ndarray], positions: list[np.ndarray], owners: list[np.ndarray]
) -> Forest:
    """Make a forest without labels."""
    none = torch.empty(0, dtype=torch.int64)
    position = torch.from_numpy(np.concatenate(positions).astype(np.int64))
    return Forest(
        ids=torch.from_numpy(np.concatenate(ids).astype(np.int64))[None],
        positions=position[None],
        nodes=nodes,
        source=none, row=none, token=none, weight=torch.empty(0), sequence=none, last=none,
        lengths=(),
        reach=int(position.max()) + 1,
        pieces=attention_pieces(nodes, ()),
        label_pieces=(),
        owner=torch.from_numpy(np.concatenate(owners).astype(np.int64)),
    )  # fmt: skip


def _within(item: list[int], sequences: Many[Sequence], above: list[Above], budget: int) -> list[list[int]]:
    """Halve a group until it fits: what it shares may hold labels, which keep it out of the trunk."""
    if len(item) == 1 or _size(sequences, item, above) <= budget:
        return [item]
    middle = len(item) // 2
    return [half for part in (item[:middle], item[middle:]) for half in _within(part, sequences, above, budget)]


def _joined(items: list[list[int]], together: int) -> list[list[int]]:
    """Join the items that neighbours stand in, so that no neighbours are apart."""
    home: dict[int, list[int]] = {}  # neighbours -> the item that they stand in
    for item in items:
        joined = [*item]
        for number in sorted({place // together for place in item}):
            other = home.get(number, joined)
            if other is not joined:
                joined += other
                home |= dict.fromkeys((place // together for place in other), joined)
            home[number] = joined
    return [joined for number, joined in home.items() if number == min(joined) // together]


def _places(whole: Trie) -> list[int]:
    """Return where each sequence stands in the tree's order."""
    places = [0] * len(whole.order)
    for place, index in enumerate(whole.order):
        places[index] = place
    return places


def _packed(
    sequences: Many[Sequence], items: list[list[int]], above: list[Above], budget: int, *, places: list[int] | None
) -> list[list[int]]:
    """Distribute items over forests: by their sizes, or by what they add to one another where that computes less.

    Sequences have something in common beneath the trunk where it predicts labels. `places`: see `_places`; None: items
    are not runs of neighbours.
    """
    sizes = [_size(sequences, item, above) for item in items]
    apart = bins(sizes, budget)
    if places is None:
        return apart
    order = sorted(range(len(items)), key=lambda number: places[items[number][0]])
    runs = [sorted(items[number], key=lambda index: places[index]) for number in order]
    common = [0] + [_common(sequences, left[-1], right[0], above) for left, right in pairwise(runs)]
    if not any(common):
        return apart
    inner = [min((_common(sequences, *pair, above) for pair in pairwise(run)), default=sizes[number])
             for number, run in zip(order, runs, strict=True)]  # fmt: skip
    plans = [apart]
    for spare in (0, 2 * LEAST_SAVED):  # what few tokens would save is not shared after all
        kin = bins_of_kin([sizes[number] for number in order], common, inner, budget - spare)
        plans.append([[order[place] for place in group] for group in kin])
    return min(plans, key=lambda plan: _computed(sequences, items, above, plan, budget))


def _computed(
    sequences: Many[Sequence], items: list[list[int]], above: list[Above], plan: list[list[int]], budget: int
) -> float:
    """Count the tokens of forests; infinite where several items do not fit into one together."""
    groups = [[index for number in group for index in items[number]] for group in plan]
    sizes = [_size(sequences, group, above) for group in groups]
    fits = all(size <= budget or len(group) == 1 for size, group in zip(sizes, plan, strict=True))
    return sum(sizes) if fits else inf


def _common(sequences: Many[Sequence], first: int, second: int, above: list[Above]) -> int:
    """Count the tokens that two sequences begin with alike beneath the trunk; 0 where that is not worth a node."""
    if above[first] != above[second]:
        return 0
    one, other = (sequences[index].ids[above[index].depth : needed(sequences[index])] for index in (first, second))
    length = min(len(one), len(other))
    differ = np.flatnonzero(one[:length] != other[:length])
    tokens = int(differ[0]) if len(differ) else length
    return tokens if tokens >= LEAST_SAVED else 0


def _size(sequences: Many[Sequence], item: list[int], above: list[Above]) -> int:
    """Count the distinct tokens of some sequences beneath the trunk: what they cost in a forest."""
    grown = trie([sequences[i].ids[above[i].depth : needed(sequences[i])] for i in item], [above[i].node for i in item])
    return sum(node.length for node in grown.nodes)
