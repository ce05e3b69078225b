"""What an epoch consists of in tokens: padded, packed and shared, as the run's own order draws its steps."""

from collections.abc import Callable
from dataclasses import dataclass

from metier.core.types import Sequence
from metier.forest.arrange import Arrangement
from metier.text.rendered import Rendered
from metier.train.batches import Ordered

_MOST_STEPS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """An epoch in tokens, from a sample of its steps; `heaviest` is the step with the most."""

    steps: int
    padded: int
    packed: int
    shared: int
    labels: int
    heaviest: list[Sequence]

    @property
    def label_share(self) -> float:
        """Share of all tokens that are learnt."""
        return self.labels / self.packed

    @property
    def repeated(self) -> float:
        """Share of all tokens that others stand for."""
        return 1 - self.shared / self.packed

    @property
    def speed_up(self) -> float:
        """How many times fewer tokens are computed than in padded batches."""
        return self.padded / self.shared


def usage(rendered: Rendered, order: Ordered, arrange: Callable[[list[Sequence]], Arrangement]) -> Usage:
    """Count the tokens of an epoch, from at most 32 of its steps, evenly spread.

    Args:
        rendered: the training rows.
        order: of one epoch.
        arrange: lays out a step as a run would.
    """
    steps = order.steps
    chosen = sorted({place * steps // min(steps, _MOST_STEPS) for place in range(min(steps, _MOST_STEPS))})
    padded = packed = shared = labels = 0
    heaviest: list[Sequence] = []
    for number in chosen:
        sequences = [rendered.sequence(row) for row in order.step(number)]
        lengths = [len(sequence) for sequence in sequences]
        padded += len(lengths) * max(lengths)
        packed += sum(lengths)
        shared += arrange(sequences).computed
        labels += sum(int((sequence.weights != 0).sum()) for sequence in sequences)
        if sum(lengths) > sum(map(len, heaviest)):
            heaviest = sequences
    scale = steps / len(chosen)
    counts = {"padded": padded, "packed": packed, "shared": shared, "labels": labels}
    return Usage(steps=steps, heaviest=heaviest, **{name: round(count * scale) for name, count in counts.items()})
