"""Arrange a step's sequences for a token budget: trunks that they share, each computed once, and forests beneath them.

What a step consists of never depends on this: only how it is computed does.
"""

from collections.abc import Sequence as Many
from dataclasses import dataclass

from metier.core.types import Sequence
from metier.forest.bins import bins
from metier.forest.cut import Item, phases
from metier.forest.forest import Forest, Trunk
from metier.forest.grow import Above, grow, needed
from metier.forest.trie import trie


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arrangement:
    """`forests`, each with the indices of its sequences; those that hang from one trunk are neighbours."""

    forests: tuple[tuple[tuple[int, ...], Forest], ...]

    @property
    def trunks(self) -> tuple[Trunk, ...]:
        """All trunks, in the order in which they are needed."""
        return tuple(dict.fromkeys(trunk for _, forest in self.forests for trunk in forest.trunks))

    @property
    def computed(self) -> int:
        """Number of tokens that are computed."""
        above = sum(trunk.forest.tokens for trunk in self.trunks)
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
        Forests of whole subtrees. A beginning that subtrees of different forests share is in a trunk, with the labels
        that it predicts, so that each token of the tree of all sequences is computed once, whatever the budget. What
        is held at one time is never more than a sequence, two budgets of trunks beside it and a budget of a forest
        (more only where neighbours would part). Without a single label there is nothing to compute, and no forest.
    """
    if not share:
        rows = [range(first, first + together) for first in range(0, len(sequences), together)]
        items = [Item(sequences=tuple(row), tokens=sum(needed(sequences[i]) for i in row)) for row in rows]
        groups = grouped(items, budget)
        return Arrangement(forests=tuple((g, grow([sequences[i] for i in g], share=False)) for g in groups))
    whole = trie([sequence.ids[: needed(sequence)] for sequence in sequences], [0] * len(sequences))
    if not whole.nodes:
        return Arrangement(forests=())
    if sum(node.length for node in whole.nodes) <= budget:
        return Arrangement(forests=((tuple(range(len(sequences))), grow(sequences)),))
    made = []
    for phase in phases(sequences, whole, budget, together=together):
        for chosen in grouped(phase.items, budget):
            above = [phase.above.get(index, Above()) for index in chosen]
            trunk = phase.trunk if any(top.depth for top in above) else None
            made.append((chosen, grow([sequences[i] for i in chosen], above=above, trunk=trunk)))
    made.sort(key=lambda entry: entry[1].trunk is not None)  # nothing else comes between what hangs from one trunk
    return Arrangement(forests=tuple(made))


def with_long_apart(
    sequences: Many[Sequence], budget: int, steady: int, *, share: bool = True, together: int = 1
) -> Arrangement:
    """Split sequences as `arrange` does, but for those that change how a call is computed.

    Args:
        sequences: those of one step.
        budget: most tokens computed at once.
        steady: a sequence of which more tokens are needed stands in a forest of its own, with its neighbours.
        share: as in `arrange`.
        together: as in `arrange`.
    """
    units = [range(first, first + together) for first in range(0, len(sequences), together)]
    apart = [tuple(unit) for unit in units if any(needed(sequences[index]) > steady for index in unit)]
    chosen = {index for unit in apart for index in unit}
    rest = [index for index in range(len(sequences)) if index not in chosen]
    near = arrange([sequences[index] for index in rest], budget, share=share, together=together)
    own = [(unit, grow([sequences[index] for index in unit], share=share)) for unit in apart]
    return Arrangement(
        forests=(*own, *((tuple(rest[place] for place in places), forest) for places, forest in near.forests))
    )


def grouped(items: list[Item], budget: int) -> list[tuple[int, ...]]:
    """Distribute items over forests of a budget; what has no tokens of its own goes where others have, or nowhere."""
    long = [item for item in items if item.tokens]
    ended = [index for item in items if not item.tokens for index in item.sequences]
    packed = bins([item.tokens for item in long], budget)
    groups = [[index for number in group for index in long[number].sequences] for group in packed]
    if groups:
        groups[0] += ended
    return [tuple(sorted(group)) for group in groups]
