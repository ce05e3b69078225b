"""Grow a forest: sequences that begin alike share their beginning, so that every token in its context stands once.

Shapes: N = tokens of a forest, S = sequences in it, M = their labels, Q = distinct places that predict a label.
"""

from collections.abc import Sequence as Many
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from metier.core.types import Sequence
from metier.forest.pieces import Link, Node, Piece, attention_pieces, label_pieces
from metier.forest.trie import trie


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forest:
    """Sequences merged where they begin alike, depth first.

    `ids` and `positions` int64 [1, N] (a position counts from the beginning of the sequence); `nodes` as in
    `pieces.Node`; `source` int64 [Q]: the distinct places whose output predicts labels, ascending; for each of the M
    labels `row` int64 [M] is its place in `source`, `token` int64 [M] the label, `weight` float32 [M] its weight,
    `sequence` int64 [M] the sequence (0..S-1) it belongs to. `last` int64 [S] is where each sequence ends, `lengths`
    are the tokens of the S sequences as they were given, `reach` one more than the highest position.

    `owner` int64 [N] is a sequence that each token belongs to (several may share it; this is one of them), so that
    (owner, position) names a token; `states` [1, N, E] is what enters the lowest layer that trains, where it is known.

    `pieces` and `label_pieces` say which queries meet which keys; `trunk` holds the keys and values of tokens that
    stand before this forest and were computed once for the whole step. `sequences` are the S sequences as they were
    given, for objectives that want more of them than labels.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    nodes: tuple[Node, ...]
    source: torch.Tensor
    row: torch.Tensor
    token: torch.Tensor
    weight: torch.Tensor
    sequence: torch.Tensor
    last: torch.Tensor
    lengths: tuple[int, ...]
    reach: int
    pieces: tuple[Piece, ...]
    label_pieces: tuple[Piece, ...]
    owner: torch.Tensor
    trunk: "Trunk | None" = field(default=None)
    states: torch.Tensor | None = field(default=None)
    sequences: tuple[Sequence, ...] = ()

    def to(self, device: torch.device) -> "Forest":
        """Return the forest with its tensors on `device`."""
        if self.ids.device == device:
            return self
        names = ("ids", "positions", "source", "row", "token", "weight", "sequence", "last")
        moved = {name: value.to(device) for name, value in zip(names, self.tensors(), strict=True)}
        states = None if self.states is None else self.states.to(device)
        return replace(self, **moved, states=states)

    def tensors(self) -> tuple[torch.Tensor, ...]:
        """Return ids, positions, source, row, token, weight, sequence, last."""
        return self.ids, self.positions, self.source, self.row, self.token, self.weight, self.sequence, self.last

    def path(self, sequence: int) -> torch.Tensor:
        """Return the places of one sequence's tokens, int64 [T], in order. Not for a forest that hangs from a trunk."""
        last = int(self.last[sequence])
        spans = [
            torch.arange(node.start, min(node.stop, last + 1)) for node in self.nodes if node.start <= last < node.end
        ]
        return torch.cat(spans).to(self.ids.device)

    @property
    def tokens(self) -> int:
        """Number N of tokens that are computed."""
        return self.ids.shape[1]


class Trunk:
    """What a whole step shares, computed once: its forest, and by layer the keys and values that branches attend to.

    Branches see the keys and values as leaves, so their gradients add up there over any number of micro-batches; one
    backward pass then takes them on through the trunk. By the linearity of the backward pass this is the same gradient.

    Args:
        forest: the shared tokens; no labels.
        parents: for each node of the forest the number of the node above it, or -1.
    """

    def __init__(self, forest: Forest, parents: Many[int]) -> None:
        self.forest = forest
        self.parents = tuple(parents)
        self._computed: dict[int, tuple[torch.Tensor, ...]] = {}
        self._leaves: dict[int, tuple[torch.Tensor, ...]] = {}

    def record(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> None:
        """Keep the keys and values [1, K, N, D] of a layer (its `id`); recomputed ones are not taken again."""
        if layer not in self._computed:
            self._computed[layer] = (key, value)
            self._leaves[layer] = tuple(tensor.detach().requires_grad_(tensor.requires_grad) for tensor in (key, value))

    def held(self, layer: int) -> tuple[torch.Tensor, ...]:
        """Return the keys and values of a layer, as leaves."""
        return self._leaves[layer]

    def backward(self) -> None:
        """Carry the gradients that the branches left at the leaves through the trunk, and forget everything."""
        outputs, gradients = [], []
        for layer, computed in self._computed.items():
            for tensor, leaf in zip(computed, self._leaves[layer], strict=True):
                if leaf.grad is not None:
                    outputs.append(tensor)
                    gradients.append(leaf.grad)
        self._leaves = {}
        if outputs:
            torch.autograd.backward(outputs, gradients)
        self.forget()  # only now: on its way back a checkpointed trunk runs its layers again, and must record nothing

    def forget(self) -> None:
        """Let go of all tensors."""
        self._computed, self._leaves = {}, {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Above:
    """What stands before a sequence in a trunk: `depth` tokens, the last of them in node `node` (-1: nothing)."""

    depth: int = 0
    node: int = -1


def needed(sequence: Sequence) -> int:
    """Return how many tokens a model must read: up to the last place that predicts a label, or all without labels."""
    labels = np.flatnonzero(sequence.weights)
    return int(labels[-1]) if len(labels) else len(sequence)


def grow(
    sequences: Many[Sequence],
    *,
    share: bool = True,
    above: Many[Above] | None = None,
    trunk: Trunk | None = None,
) -> Forest:
    """Merge the beginnings that sequences have in common.

    Args:
        sequences: S of them; each with at least two tokens, or without labels. Duplicates are computed once.
        share: False lays them side by side: every sequence a tree of its own, longest first.
        above: for each sequence what of it stands in `trunk` already. None: nothing.
        trunk: where the keys and values of those tokens are kept.

    Returns:
        The forest. Its label-weighted sums are those of the sequences apart: nothing is dropped, nothing counted twice.
    """
    above = above or [Above()] * len(sequences)
    ids = [sequence.ids[top.depth : needed(sequence)] for sequence, top in zip(sequences, above, strict=True)]
    grown = trie(ids, [top.node for top in above], share=share)
    tokens, positions, owners, places = [], [], [], [np.empty(0, dtype=np.int64)] * len(sequences)
    for node in grown.nodes:
        depth = above[node.example].depth + node.depth
        tokens.append(ids[node.example][node.depth : node.depth + node.length])
        positions.append(np.arange(depth, depth + node.length))
        owners.append(np.full(node.length, node.example))
    for index, path in enumerate(grown.paths):
        spans = [np.arange(grown.nodes[number].start, grown.nodes[number].stop) for number in path]
        places[index] = np.concatenate(spans) if spans else np.empty(0, dtype=np.int64)
    labels = [np.flatnonzero(sequence.weights) for sequence in sequences]
    sources = _joined(
        [places[i][found - 1 - top.depth] for i, (found, top) in enumerate(zip(labels, above, strict=True))]
    )
    distinct, row = np.unique(sources, return_inverse=True)
    nodes = tuple(Node(start=n.start, length=n.length, end=n.end, depth=n.depth) for n in grown.nodes)
    links = _links(grown.spans, [top.node for top in above], trunk) if trunk is not None else ()
    position = _joined(positions)
    return Forest(
        ids=torch.from_numpy(_joined(tokens))[None],
        positions=torch.from_numpy(position)[None],
        nodes=nodes,
        source=torch.from_numpy(distinct),
        row=torch.from_numpy(row.reshape(-1).astype(np.int64)),
        token=torch.from_numpy(_joined([s.ids[found] for s, found in zip(sequences, labels, strict=True)])),
        weight=torch.from_numpy(
            np.concatenate([s.weights[found] for s, found in zip(sequences, labels, strict=True)]).astype(np.float32)
        ),
        sequence=torch.from_numpy(_joined([np.full(len(found), i) for i, found in enumerate(labels)])),
        last=torch.from_numpy(np.array([place[-1] if len(place) else -1 for place in places], dtype=np.int64)),
        lengths=tuple(len(sequence) for sequence in sequences),
        reach=int(position.max()) + 1 if len(position) else 0,
        pieces=attention_pieces(nodes, links),
        label_pieces=label_pieces(nodes, links, distinct),
        owner=torch.from_numpy(_joined(owners)),
        trunk=trunk,
        sequences=tuple(sequences),
    )


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, dtype=np.int64)


def _links(spans: Many[tuple[int, int]], tops: Many[int], trunk: Trunk) -> tuple[Link, ...]:
    """Say for every node of the trunk which places of this forest stand beneath it.

    They are neighbours, because sequences are sorted by where they leave the trunk, and the trunk is depth first.
    """
    beneath: dict[int, tuple[int, int]] = {}
    for (start, stop), top in zip(spans, tops, strict=True):
        number = top if stop > start else -1
        while number >= 0:
            low, high = beneath.get(number, (start, stop))
            beneath[number] = (min(low, start), max(high, stop))
            number = trunk.parents[number]
    nodes = trunk.forest.nodes
    return tuple(
        Link(start=low, stop=high, key_start=nodes[number].start, key_stop=nodes[number].stop)
        for number, (low, high) in sorted(beneath.items())
        if high > low
    )
