"""A forest of sequences, and the trunks that it may hang from, computed once for all that hangs from them.

Shapes: N = tokens of a forest, S = sequences in it, M = their labels, Q = distinct places that predict a label.
"""

from collections.abc import Callable, Hashable
from collections.abc import Sequence as Many
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from metier.core.types import Sequence
from metier.forest.pieces import Node, Piece

_PLACE = 32
"""Bits of a token: a label of a trunk is named by its place and its token in one number."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forest:
    """Sequences merged where they begin alike, depth first.

    `ids` and `positions` int64 [1, N] (a position counts from the beginning of the sequence); `nodes` as in
    `pieces.Node`; `source` int64 [Q]: the distinct places whose output predicts labels, ascending; for each of the M
    labels `token` int64 [M] is the label, `weight` float32 [M] its weight, `sequence` int64 [M] the sequence (0..S-1)
    it belongs to, `row` int64 [M] the place that predicts it: one in `source`, or Q + one in `held`, which int64 [H]
    are places that predict labels in the trunks above. `own` int64 [O] are the labels that are predicted here, `told`
    int64 [M] says where each stands among those O and, after them, the labels of the trunks. `last` int64 [S] is where
    each sequence ends (-1: in a trunk), `lengths` are the tokens of the S sequences as they were given, `reach` one
    more than the highest position.

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
    own: torch.Tensor
    told: torch.Tensor
    held: torch.Tensor
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
        names = ("ids", "positions", "source", "row", "token", "weight", "sequence", "own", "told", "held", "last")
        moved = {name: value.to(device) for name, value in zip(names, self.tensors(), strict=True)}
        states = None if self.states is None else self.states.to(device)
        return replace(self, **moved, states=states)

    def tensors(self) -> tuple[torch.Tensor, ...]:
        """Return ids, positions, source, row, token, weight, sequence, own, told, held, last."""
        places = (self.ids, self.positions, self.source)
        labels = (self.row, self.token, self.weight, self.sequence, self.own, self.told, self.held)
        return *places, *labels, self.last

    def path(self, sequence: int) -> torch.Tensor:
        """Return the places of one sequence's tokens in this forest, int64 [T], in order."""
        last = int(self.last[sequence])
        spans = [
            torch.arange(node.start, min(node.stop, last + 1)) for node in self.nodes if node.start <= last < node.end
        ]
        return torch.cat(spans).to(self.ids.device) if spans else self.last.new_empty(0)

    @property
    def tokens(self) -> int:
        """Number N of tokens that are computed."""
        return self.ids.shape[1]

    @property
    def trunks(self) -> tuple["Trunk", ...]:
        """The trunks that it hangs from, the topmost first."""
        return () if self.trunk is None else (*self.trunk.forest.trunks, self.trunk)


class Trunk:
    """What many forests begin with, computed once: by layer the keys and values, and what is said at its labels.

    Branches see all of it as leaves, so gradients add up there over any number of micro-batches; one backward pass then
    takes them on through the trunk. By the linearity of the backward pass this is the same gradient. A trunk may hang
    from another one: its leaves are then those above and its own in one tensor, and what gathers at the former goes on
    to the trunk above.

    Args:
        forest: the shared tokens, and the distinct labels that they predict, whatever these weigh and in which rows.
        parents: for each node of the forest the number of the node above it, or -1; nodes of trunks above count first.
        labels: of those labels place and token, ascending, as `label_names` names them.
    """

    def __init__(self, forest: Forest, parents: Many[int], labels: np.ndarray) -> None:
        base = forest.trunk
        before = 0 if base is None else base.tokens
        own = tuple(
            Node(start=node.start + before, length=node.length, end=node.end + before, depth=node.depth)
            for node in forest.nodes
        )
        self.forest = forest
        self.tokens = before + forest.tokens
        self.nodes: tuple[Node, ...] = own if base is None else (*base.nodes, *own)
        self.parents: tuple[int, ...] = tuple(parents) if base is None else (*base.parents, *parents)
        self.labels: np.ndarray = labels if base is None else np.concatenate([base.labels, labels])
        self._given = (tuple(parents), labels)
        self._computed: dict[Hashable, tuple[torch.Tensor, ...]] = {}
        self._leaves: dict[Hashable, tuple[torch.Tensor, ...]] = {}
        self._axis: dict[Hashable, int] = {}
        self._reached: dict[str, torch.Tensor] = {}

    def again(self, forest: Forest) -> "Trunk":
        """Return a trunk of the same tokens, of which nothing is computed yet."""
        return Trunk(forest, *self._given)

    @property
    def positions(self) -> torch.Tensor:
        """Positions int64 [T] of all tokens, those of the trunks above first."""
        own, base = self.forest.positions[0], self.forest.trunk
        return own if base is None else torch.cat([base.positions.to(own.device), own])

    def places(self, node: int) -> np.ndarray:
        """Return where the tokens of a sequence stand that leaves the trunk behind a node, int64 [depth]."""
        spans = []
        while node >= 0:
            spans.append(np.arange(self.nodes[node].start, self.nodes[node].stop))
            node = self.parents[node]
        return np.concatenate(spans[::-1]) if spans else np.empty(0, dtype=np.int64)

    def record(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> None:
        """Keep the keys and values [1, K, N, D] of a layer (its `id`); recomputed ones are not taken again."""
        self._keep(layer, (key, value), axis=2)

    def reach(self, **found: torch.Tensor) -> None:
        """Keep what was found where its labels are predicted, [Q, E], by name."""
        self._reached = found

    def held(self, layer: int) -> tuple[torch.Tensor, ...]:
        """Return the keys and values of a layer, as leaves."""
        return self._leaves[layer]

    def said(self, name: str) -> torch.Tensor:
        """Return what was reached as `name`, for all places of trunks that predict labels, as a leaf."""
        return self.made(name, "", None)[0]

    def made(
        self, name: str, what: str, make: Callable[[torch.Tensor, Forest], tuple[torch.Tensor, ...]] | None
    ) -> tuple[torch.Tensor, ...]:
        """Return what `make` makes of what was reached as `name`, for all trunks in one, as leaves; made once.

        Args:
            name: as it was given to `reach`.
            what: is made, by name: for all labels, or for all places that predict labels, as `make` has it.
            make: None: what was reached is left as it is, by place.
        """
        key, base = (name, what), self.forest.trunk
        if name not in self._reached:  # no labels here
            assert base is not None
            return base.made(name, what, make)
        if key not in self._leaves:
            if base is not None and len(base.labels):
                base.made(name, what, make)
            reached = self._reached[name]
            self._keep(key, (reached,) if make is None else make(reached, self.forest.to(reached.device)), axis=0)
        return self._leaves[key]

    def backward(self) -> None:
        """Carry the gradients that the branches left at the leaves through the trunk, and forget everything."""
        outputs, gradients = [], []
        for name, computed in self._computed.items():
            above = self._above(name)
            for number, (tensor, leaf) in enumerate(zip(computed, self._leaves[name], strict=True)):
                if leaf.grad is None:
                    continue
                axis, own = self._axis[name], tensor.shape[self._axis[name]]
                before = leaf.shape[axis] - own
                if above is not None and above[number].requires_grad:
                    _add(above[number], leaf.grad.narrow(axis, 0, before))
                if tensor.requires_grad:
                    outputs.append(tensor)
                    gradients.append(leaf.grad.narrow(axis, before, own))
        self._leaves = {}
        if outputs:
            torch.autograd.backward(outputs, gradients)
        self.forget()  # only now: on its way back a checkpointed trunk runs its layers again, and must record nothing

    def forget(self) -> None:
        """Let go of all tensors."""
        self._computed, self._leaves, self._axis, self._reached = {}, {}, {}, {}

    def _keep(self, name: Hashable, tensors: tuple[torch.Tensor, ...], *, axis: int) -> None:
        if name in self._computed:
            return
        self._computed[name], self._axis[name] = tensors, axis
        whole, above = tensors, self._above(name)
        if above is not None:
            whole = tuple(torch.cat([a.detach(), t.detach()], axis) for a, t in zip(above, tensors, strict=True))
        learnt = [t.requires_grad for t in tensors]
        if above is not None:
            learnt = [mine or a.requires_grad for mine, a in zip(learnt, above, strict=True)]
        self._leaves[name] = tuple(
            _own(tensor.detach()).requires_grad_(learns) for tensor, learns in zip(whole, learnt, strict=True)
        )

    def _above(self, name: Hashable) -> tuple[torch.Tensor, ...] | None:
        """Return the leaves of the nearest trunk above that has such."""
        base = self.forest.trunk
        return None if base is None else base._leaves.get(name) or base._above(name)


def label_names(places: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Name labels by the place that predicts them and by their token, int64, in the order of the places."""
    return (places.astype(np.int64) << _PLACE) | tokens.astype(np.int64)


def label_places(labels: np.ndarray) -> np.ndarray:
    """Return the places in the names of labels."""
    return labels >> _PLACE


def _own(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor in memory of its own: a part of queries, keys and values in one would keep all three.

    Gradients of such a part would not lie in memory as torch wants them, either.
    """
    return tensor.clone() if tensor.untyped_storage().nbytes() > tensor.nbytes else tensor


def _add(leaf: torch.Tensor, gradient: torch.Tensor) -> None:
    if leaf.grad is None:
        leaf.grad = torch.zeros_like(leaf)  # in memory as the leaf, as torch wants it
    leaf.grad += gradient
