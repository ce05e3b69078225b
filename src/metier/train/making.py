"""The seam for objectives whose sequences do not stand in the rows: the model that trains is asked for them."""

from collections.abc import Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import Protocol

import torch

from metier.core.types import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The sequences of a step, and what is told of them in the log; `idle`: why there is none, where that is so."""

    sequences: list[Sequence]
    told: Mapping[str, float]
    idle: str = ""


class Maker(Protocol):
    """Makes the sequences of each step, as a function of (model, step, rows) alone."""

    @property
    def repeats(self) -> bool:
        """Whether the same step of the same model always gives the same sequences, bit by bit on a CPU."""

    @property
    def held_out(self) -> Many[object]:
        """What the model is judged by at checks; nothing: it is not judged."""

    def make(self, model: torch.nn.Module, step: int, rows: Many[int]) -> Made:
        """Return a step's sequences; the model computes in its own attention, and trains before and after."""

    def judge(self, model: torch.nn.Module) -> dict[str, float]:
        """Return figures of held-out rows, among them the `reward`: higher is better."""
