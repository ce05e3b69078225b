"""The mask of a GPU's attention says the same as the pieces; its kernel runs on a CPU too, slowly and forward only."""

import pytest
import torch

from metier.forest.arrange import arrange
from metier.forest.flex import Sight, attend_flexibly
from metier.forest.plain import Keys, Options, attend_plainly
from tests.forest.trees import prompt_rows, tree_rows

pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")


def both(budget: int, *, labels: bool, options: Options, spoil: bool = False) -> float:
    """The largest difference over all forests of a step between the two ways of attending."""
    work = arrange([*tree_rows(1), *prompt_rows((3, 8, 8, 1))], budget)
    largest = 0.0
    for _, forest in work.forests:
        places = forest.source if labels else torch.arange(forest.tokens)
        query = torch.randn(1, 4, len(places), 8)
        key, value = torch.randn(2, 1, 2, forest.tokens, 8)
        held, keys, values = None, key, value
        if forest.trunk is not None:
            above = forest.trunk
            held_key, held_value = torch.randn(2, 1, 2, above.tokens, 8)
            held = Keys(key=held_key, value=held_value, positions=above.positions)
            keys, values = torch.cat([held_key, key], 2), torch.cat([held_value, value], 2)
        own = Keys(key=key, value=value, positions=forest.positions[0])
        pieces = forest.label_pieces if labels else forest.pieces
        expected = attend_plainly(query, forest.positions[0][places], own, held, pieces, options=options)
        sight = Sight(forest)
        if spoil:
            sight.high = sight.high + 1
        mask = sight.mask(at_labels=labels, window=options.window)
        largest = max(largest, (attend_flexibly(query, keys, values, mask, options) - expected).abs().max().item())
    return largest


@pytest.mark.parametrize("budget", [10_000, 60])
@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("extra", [{}, {"window": 6}, {"softcap": 2.0}, {"sinks": torch.tensor([0.1, 1.0, -1.0, 0.5])}])
def test_both_ways_agree(budget, labels, extra):
    torch.manual_seed(0)
    assert both(budget, labels=labels, options=Options(scale=0.3, **extra)) < 1e-5


def test_a_key_shown_to_one_place_too_many_is_found():
    """The planted fault."""
    assert both(10_000, labels=False, options=Options(scale=0.3), spoil=True) > 1e-3
