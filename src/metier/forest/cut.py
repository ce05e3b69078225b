"""Cut a tree of sequences that is over a budget of tokens: nodes that become trunks, and what hangs whole from them.

A trunk is computed with what stands above it held, and left when all beneath it is done; so only those on the way to
one another are ever held together.
"""

from collections.abc import Iterator
from collections.abc import Sequence as Many
from dataclasses import dataclass, field

import numpy as np
import torch

from metier.core.types import Sequence
from metier.forest.forest import Forest, Trunk, label_names, label_places
from metier.forest.grow import Above, joined, links_of
from metier.forest.pieces import Link, Node, attention_pieces, label_pieces
from metier.forest.trie import Trie


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Sequences that stand in one forest, and how many `tokens` they have beneath the trunk."""

    sequences: tuple[int, ...]
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A `trunk` (None: nothing is shared), the `items` that hang from it, and where each sequence leaves it."""

    trunk: Trunk | None
    items: list[Item]
    above: dict[int, Above]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """Nodes yet to be cut, which hang from `base`; `ended` are items without a token beneath it, for any forest.

    `room`: tokens of a trunk; its first node may have more.
    """

    nodes: list[int]
    base: Trunk | None
    room: int
    ended: list[Item] = field(default_factory=list)


def phases(sequences: Many[Sequence], whole: Trie, budget: int, *, together: int) -> Iterator[Phase]:
    """Yield trunks with what hangs from them, each trunk after the one that it hangs from and before others do.

    Args:
        sequences: those of one step.
        whole: their tree, over the budget.
        budget: most tokens of a forest; of a trunk too, and of one beneath another half of that each time.
        together: so many neighbours hang from one trunk.
    """
    cutting = _Cutting(sequences, whole, budget, together)
    stack = [_Open(nodes=[number for number in cutting.cut if whole.nodes[number].parent < 0], base=None, room=budget)]
    first = True
    while stack:
        opened = stack.pop()
        taken, later, beneath = cutting.take(opened)
        trunk = cutting.trunk(taken, opened.base) if taken else None
        hanging = [item for number in ([-1] if first else []) + taken for item in cutting.hanging.get(number, [])]
        items = _joined(hanging, together) + opened.ended
        first = False
        if later:
            stack.append(_Open(nodes=later, base=opened.base, room=opened.room))
        hangs = any(item.tokens for item in items)
        if beneath:
            stack.append(_Open(nodes=beneath, base=trunk, room=opened.room // 2, ended=[] if hangs else items))
        if hangs:
            yield Phase(trunk=trunk, items=items, above=cutting.above)


class _Cutting:
    """The nodes that are cut, what hangs from each, and where the trunks made of them keep them.

    A node is cut when its subtree is over the budget and cutting it spares something: when more than one subtree hangs
    from it, or one that is cut.
    """

    def __init__(self, sequences: Many[Sequence], whole: Trie, budget: int, together: int) -> None:
        self._sequences = sequences
        self._whole = whole
        self._labels = [np.flatnonzero(sequence.weights) for sequence in sequences]
        nodes = whole.nodes
        self._branches = [0] * len(nodes)
        for node in nodes:
            if node.parent >= 0:
                self._branches[node.parent] += 1
        chosen: set[int] = set()
        for number in range(len(nodes) - 1, -1, -1):
            node = nodes[number]
            over = node.end - node.start > budget
            if number in chosen or (over and self._branches[number] > 1):
                chosen.add(number)
                if node.parent >= 0:
                    chosen.add(node.parent)
        self.cut = sorted(chosen)
        self._beneath: dict[int, list[int]] = {}
        for number in self.cut:
            self._beneath.setdefault(nodes[number].parent, []).append(number)
        self._parting = {number for number in self.cut if together > 1 and self._parts(number, together)}
        self.hanging = self._items(chosen)
        self.above: dict[int, Above] = {}
        self._named: dict[int, int] = {}  # node -> its number in the trunk that holds it

    def _parts(self, number: int, together: int) -> bool:
        """Tell whether some neighbours stand beneath a node and others of them do not."""
        node = self._whole.nodes[number]
        rows = [index // together for index in self._whole.order[node.low : node.high]]
        return bool((np.unique(rows, return_counts=True)[1] != together).any())

    def _items(self, chosen: set[int]) -> dict[int, list[Item]]:
        """Return the largest subtrees that are left whole, and sequences that end in a cut node, by that node."""
        order, hanging = self._whole.order, dict[int, list[Item]]()
        for number, node in enumerate(self._whole.nodes):
            if number not in chosen and (node.parent < 0 or node.parent in chosen):
                item = Item(sequences=tuple(order[node.low : node.high]), tokens=node.end - node.start)
                hanging.setdefault(node.parent, []).append(item)
        for index, path in enumerate(self._whole.paths):
            if not path or path[-1] in chosen:
                hanging.setdefault(path[-1] if path else -1, []).append(Item(sequences=(index,), tokens=0))
        return hanging

    def take(self, opened: _Open) -> tuple[list[int], list[int], list[int]]:
        """Choose the nodes of a trunk, depth first; return them, and those left that hang as the first, and from it.

        What everything beneath the first node runs through is held in any case, so it is in the trunk.
        """
        taken: dict[int, None] = {}
        later, beneath = [], []
        room, stem = opened.room, opened.nodes[0] if opened.nodes else -1
        stack = opened.nodes[::-1]
        while stack:
            number = stack.pop()
            node = self._whole.nodes[number]
            if node.parent == stem and node.parent in taken and self._branches[stem] == 1:
                stem = number
            if number == stem or number in self._parting or node.length <= room:
                taken[number] = None
                room -= node.length
                stack += self._beneath.get(number, [])[::-1]
            else:
                (beneath if node.parent in taken else later).append(number)
        return list(taken), later, beneath

    def trunk(self, taken: list[int], base: Trunk | None) -> Trunk:
        """Make the trunk of some nodes, and note where what is beneath leaves it."""
        before = (0, 0) if base is None else (base.tokens, len(base.nodes))
        nodes, parents, place = [], [], 0
        for number in taken:
            node = self._whole.nodes[number]
            self._named[number] = before[1] + len(nodes)
            parents.append(self._named.get(node.parent, -1))
            nodes.append(Node(start=place, length=node.length, end=place + node.length, depth=node.depth))
            place += node.length
            leaves = Above(depth=node.depth + node.length, node=self._named[number])
            self.above |= dict.fromkeys(self._whole.order[node.low : node.high], leaves)
        nodes = _with_ends(nodes, [parent - before[1] for parent in parents])
        labels = np.unique(joined([self._told(number, at.start) for number, at in zip(taken, nodes, strict=True)]))
        tops = [parent if parent < before[1] else -1 for parent in parents]
        links = () if base is None else links_of([(node.start, node.end) for node in nodes], tops, base)
        forest = self._forest(taken, nodes, links, labels, base)
        return Trunk(forest, parents, labels + label_names(np.array(before[0]), np.array(0)))

    def _told(self, number: int, start: int) -> np.ndarray:
        """Name the labels that a node predicts, in any sequence."""
        node = self._whole.nodes[number]
        found = [np.empty(0, dtype=np.int64)]
        for index in self._whole.order[node.low : node.high]:
            labels = self._labels[index]
            low, high = np.searchsorted(labels, (node.depth + 1, node.depth + node.length + 1))
            at = labels[low:high]
            found.append(label_names(at - 1 - node.depth + start, self._sequences[index].ids[at]))
        return np.concatenate(found)

    def _forest(
        self, taken: list[int], nodes: tuple[Node, ...], links: Many[Link], labels: np.ndarray, base: Trunk | None
    ) -> Forest:
        chosen = [self._whole.nodes[number] for number in taken]
        position = joined([np.arange(node.depth, node.depth + node.length) for node in chosen])
        ids = joined([self._sequences[n.example].ids[n.depth : n.depth + n.length] for n in chosen])
        source, row = np.unique(label_places(labels), return_inverse=True)
        every = torch.arange(len(labels))
        none = torch.empty(0, dtype=torch.int64)
        return Forest(
            ids=torch.from_numpy(ids)[None],
            positions=torch.from_numpy(position)[None],
            nodes=nodes,
            source=torch.from_numpy(source),
            row=torch.from_numpy(row.reshape(-1).astype(np.int64)),
            token=torch.from_numpy(labels & 0xFFFFFFFF),
            weight=torch.zeros(len(labels)),
            sequence=torch.zeros_like(every),
            own=every,
            told=every,
            held=none,
            last=none,
            lengths=(),
            reach=int(position.max()) + 1,
            pieces=attention_pieces(nodes, links),
            label_pieces=label_pieces(nodes, links, source),
            owner=torch.from_numpy(joined([np.full(node.length, node.example) for node in chosen])),
            trunk=base,
        )


def _with_ends(nodes: list[Node], parents: list[int]) -> tuple[Node, ...]:
    ends = [node.stop for node in nodes]
    for number in range(len(nodes) - 1, -1, -1):
        if parents[number] >= 0:
            ends[parents[number]] = max(ends[parents[number]], ends[number])
    return tuple(
        Node(start=node.start, length=node.length, end=end, depth=node.depth)
        for node, end in zip(nodes, ends, strict=True)
    )


def _joined(items: list[Item], together: int) -> list[Item]:
    """Join the items that neighbours stand in, so that no neighbours are apart."""
    if together == 1:
        return items
    home: dict[int, set[int]] = {}  # neighbours -> the items that they stand in
    for number, item in enumerate(items):
        group = {number}
        for rows in {index // together for index in item.sequences}:
            group |= home.get(rows, set())
        for member in group:
            home |= dict.fromkeys((index // together for index in items[member].sequences), group)
    groups = {min(group): group for group in home.values()}
    return [
        Item(
            sequences=tuple(index for member in sorted(group) for index in items[member].sequences),
            tokens=sum(items[member].tokens for member in group),
        )
        for _, group in sorted(groups.items())
    ]
