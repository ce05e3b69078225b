"""Several LoRA adapters in one pass: which rows belong to which, and linear layers with every row's own beside them.

Shapes: R = rank, I = inputs and O = outputs of a linear layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Adapter:
    """`pairs`: layer name -> (A transposed [I, R], B transposed [R, O] with its scale in it).

    `owner` names whose keys and values a prefix has under it: its own, or "" (the base's) where it changes none.
    """

    name: str
    pairs: Mapping[str, tuple[torch.Tensor, torch.Tensor]]
    owner: str

    @property
    def bytes(self) -> int:
        """Memory of its matrices."""
        return sum(tensor.numel() * tensor.element_size() for pair in self.pairs.values() for tensor in pair)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rows of a pass that one product serves: `rows` of one adapter, or one row for each of several adapters."""

    rows: torch.Tensor
    adapters: tuple[Adapter, ...]


_CROWD_ROWS = 8
"""An adapter with more rows than this in a pass is computed by itself."""


class Mixture:
    """Which rows of the current pass belong to which adapter; every mixed layer looks here."""

    def __init__(self) -> None:
        self.groups: tuple[Group, ...] = ()

    def assign(self, rows: list[Adapter | None], device: torch.device) -> None:
        """Say whose each row of the coming pass is."""
        owned: dict[Adapter, list[int]] = {}
        for row, adapter in enumerate(rows):
            if adapter is not None:
                owned.setdefault(adapter, []).append(row)
        groups, crowd = [], []
        for adapter, places in owned.items():
            if len(places) > _CROWD_ROWS or len(owned) == 1:
                groups.append(Group(rows=torch.tensor(places, device=device), adapters=(adapter,)))
            else:
                crowd += [(place, adapter) for place in places]
        if crowd:
            chosen = torch.tensor([place for place, _ in crowd], device=device)
            groups.append(Group(rows=chosen, adapters=tuple(adapter for _, adapter in crowd)))
        self.groups = tuple(groups)


class MixedLinear(torch.nn.Module):
    """A linear layer of the base with every row's own adapter beside it: y = inner(x) + (x A) B."""

    def __init__(self, inner: torch.nn.Module, name: str, mixture: Mixture) -> None:
        super().__init__()
        self.inner = inner
        self._name = name
        self._mixture = mixture
        self._stacked: tuple[tuple[Adapter, ...], torch.Tensor, torch.Tensor] | None = None

    @property
    def weight(self) -> torch.nn.Parameter:
        """The base's weight, for models that look at its type."""
        return self.inner.get_parameter("weight")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return [..., O] of x [..., I]; the rows of x are those of the pass."""
        y = self.inner(x)
        if not self._mixture.groups:
            return y
        flat_in, flat_out = x.reshape(-1, x.shape[-1]), y.view(-1, y.shape[-1])
        for group in self._mixture.groups:
            if len(group.adapters) == 1:
                pair = group.adapters[0].pairs.get(self._name)
                if pair is not None:
                    flat_out.index_add_(0, group.rows, flat_in[group.rows] @ pair[0] @ pair[1])
                continue
            down, up = self._stack(group.adapters, x)
            if down is not None and up is not None:
                inner = torch.bmm(flat_in[group.rows][:, None], down)
                flat_out.index_add_(0, group.rows, torch.bmm(inner, up)[:, 0])
        return y

    def _stack(
        self, adapters: tuple[Adapter, ...], like: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Return A [n, I, R] and B [n, R, O] of one row each, kept until others are in the batch."""
        if self._stacked is not None and self._stacked[0] == adapters:
            return self._stacked[1:]
        pairs = [adapter.pairs.get(self._name) for adapter in adapters]
        known = [pair for pair in pairs if pair is not None]
        if not known:
            return None, None
        rank = max(down.shape[1] for down, _ in known)
        downs = like.new_zeros(len(pairs), known[0][0].shape[0], rank)
        ups = like.new_zeros(len(pairs), rank, known[0][1].shape[1])
        for row, pair in enumerate(pairs):
            if pair is not None:
                downs[row, :, : pair[0].shape[1]], ups[row, : pair[1].shape[0]] = pair
        self._stacked = (adapters, downs, ups)
        return downs, ups
