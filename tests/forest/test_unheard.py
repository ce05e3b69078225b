"""What shows in long rows only: windows that a mask alone has, and rotary angles that follow the longest row."""

from dataclasses import replace

import pytest
import torch

from metier.core.types import Sequence
from metier.engine.attend import in_slots
from metier.engine.way import shape_of
from metier.forest import score
from metier.forest.descend import descend
from metier.forest.frozen import states_below
from metier.forest.grow import grow
from metier.forest.unheard import steady, unheard
from metier.forest.way import TOLERANCE, Way, probe
from tests.forest.architectures import MOE, PACKABLE, RECURRENT, SMALL, build, sequences
from tests.forest.trees import prompt_rows

WINDOW = 40
"""Longer than any row of a probe."""

UNTOLD = {
    "qwen2_moe": SMALL | MOE | {"num_experts": 4, "shared_expert_intermediate_size": 16}
    | {"sliding_window": WINDOW, "use_sliding_window": True, "max_window_layers": 2},
    "phimoe": SMALL | {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": WINDOW},
}  # fmt: skip
"""Architectures of the library whose masks have a window that their attention is not told of."""

LONG_ROPE = SMALL | {
    "original_max_position_embeddings": 32,
    "rope_parameters": {
        "rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 4, "long_factor": [4.0, 3.0, 2.0, 8.0],
        "original_max_position_embeddings": 32,
    },
}  # fmt: skip
DYNAMIC = SMALL | {
    "max_position_embeddings": 32,
    "rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0},
}


def difference(model: torch.nn.Module, way: Way, rows: list[Sequence], budget: int) -> float:
    """Return the largest difference of a label in nats from its row alone, over the forests of a step."""
    largest = 0.0
    with torch.no_grad():
        expected = [score.alone(model, grow([row])) if row.weights.any() else None for row in rows]
        with way.attention(model):
            for indices, forest in descend(model, way.arrange(rows, budget)):
                found = way.losses(model, forest)
                for place, index in enumerate(indices):
                    if (wanted := expected[index]) is not None:
                        largest = max(largest, float((found[forest.sequence == place] - wanted).abs().max()))
    return largest


@pytest.mark.parametrize("name", UNTOLD)
def test_a_window_that_only_the_mask_has_is_found(name, monkeypatch):
    """The planted fault: a trial of short rows alone sees nothing of it."""
    model = build((name, UNTOLD[name]), torch.float32)
    way = probe(model)
    assert not way.packed
    assert way.reason == f"a mask of {WINDOW} tokens that its attention is not told of"
    assert way.reason in way.reasoned().reason
    rows = sequences((3 * WINDOW,))
    assert difference(model, way, rows, 1000) < TOLERANCE
    with in_slots(model):
        assert shape_of(model) == way.reason
    monkeypatch.setattr("metier.forest.way.unheard", lambda model: "")
    deaf = probe(model)
    assert deaf.packed
    assert difference(model, deaf, rows, 1000) > 10 * TOLERANCE


def test_a_state_is_known_where_it_says_next_to_nothing_yet(monkeypatch):
    """A base of small random numbers: what one row leaves to the next is below what a trial counts as a difference."""
    name, settings = RECURRENT["lfm2"]
    model = build((name, settings | {"initializer_range": 0.02}), torch.float32)
    way = probe(model)
    assert not way.packed
    assert way.reason == "a layer carries a state from token to token"
    monkeypatch.setattr("metier.forest.way.unheard", lambda model: "")
    assert probe(model).packed, "the planted fault"


@pytest.mark.parametrize("name", PACKABLE)
def test_what_attention_is_told_of_is_no_reason(name):
    assert unheard(build(PACKABLE[name], torch.float32)) == ""


def test_a_window_that_no_layer_has_is_no_reason():
    """Its masks are made all the same."""
    settings = UNTOLD["qwen2_moe"] | {"use_sliding_window": False}
    assert unheard(build(("qwen2_moe", settings), torch.float32)) == ""


def test_a_window_longer_than_any_row_is_no_reason():
    model = build(("phimoe", UNTOLD["phimoe"] | {"sliding_window": SMALL["max_position_embeddings"]}), torch.float32)
    assert unheard(model) == ""
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("budget", [10_000, 45])
def test_what_attends_in_a_window_lies_in_memory_as_the_library_has_it(budget):
    """AFMoE views it as a matrix: short rows, which no window holds back, took another way and were fine."""
    settings = (
        SMALL | MOE | {"num_experts": 4, "num_shared_experts": 1, "num_dense_layers": 1, "sliding_window": WINDOW}
    )
    model = build(("afmoe", settings), torch.float32)
    way = probe(model)
    assert way.packed
    assert difference(model, way, [*prompt_rows((3, 8), prompt=WINDOW), *sequences((3 * WINDOW,))], budget) < TOLERANCE


@pytest.mark.parametrize("budget", [10_000, 45])
def test_a_long_row_changes_no_other(budget):
    """The planted fault: arranged like any others, rows get the angles of the longest one, and trunks others again."""
    model = build(("phi3", LONG_ROPE), torch.float32)
    way = probe(model)
    assert way.packed
    assert way.steady == steady(model) == 32
    rows = [*prompt_rows((3, 8, 5), prompt=20), *prompt_rows((20, 30, 25), prompt=30, seed=1)]
    assert difference(model, way, rows, budget) < 1e-4
    assert difference(model, replace(way, steady=None), rows, budget) > 10 * TOLERANCE


def test_neighbours_of_a_long_row_stay_beside_it():
    way = Way(steady=32)
    rows = [*prompt_rows((3, 8), prompt=20), *prompt_rows((3, 30), prompt=20, seed=1), *prompt_rows((4, 2), prompt=9)]
    found = [indices for indices, _ in way.arrange(rows, 1000, together=2).forests]
    assert found == [(2, 3), (0, 1, 4, 5)]
    assert not way.is_steady(rows)
    assert way.is_steady(rows[:2])
    assert Way().is_steady(rows)


def test_what_enters_a_layer_is_the_same_beside_a_long_row():
    model = build(("phi3", LONG_ROPE), torch.float32)
    way = probe(model)
    rows = [*prompt_rows((3, 8), prompt=20), *prompt_rows((20,), prompt=30, seed=1)]
    together = dict(states_below(model, way, rows, 1))
    for index, row in enumerate(rows):
        ((_, alone),) = states_below(model, way, [row], 1)
        assert torch.allclose(together[index], alone, atol=1e-5)
    mixed = dict(states_below(model, replace(way, steady=None), rows, 1))
    assert not torch.allclose(mixed[0], together[0], atol=1e-3), "the planted fault"


def test_angles_that_grow_with_the_row_are_steady_as_far_as_the_base_was_trained():
    """Beyond that the library keeps those of the longest row that it has seen, whatever a call holds."""
    model = build(("llama", DYNAMIC), torch.float32)
    way = probe(model)
    assert way.steady == steady(model) == 32
    rows = [*prompt_rows((3, 8, 5), prompt=20), *prompt_rows((20,), prompt=30, seed=1)]
    assert difference(model, way, rows, 1000) < 1e-4
    assert difference(model, replace(way, steady=None), rows, 1000) > 10 * TOLERANCE


def test_angles_that_stay_are_steady():
    assert all(steady(build(kind, torch.float32)) is None for kind in PACKABLE.values())
