"""Packing: every item once, within the budget, deterministic; targets stay tied to their places."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from metier.core.types import Sequence
from metier.forest.pack import bins, pack

LENGTHS = st.lists(st.integers(1, 60), max_size=40)


def sequence(ids: list[int], weights: list[float], name: str = "r") -> Sequence:
    return Sequence(ids=np.array(ids, dtype=np.int32), weights=np.array(weights, dtype=np.float32), row_id=name)


@given(LENGTHS, st.integers(1, 80))
def test_every_item_is_in_one_bin_and_no_bin_is_over_the_budget(lengths, budget):
    made = bins(lengths, budget)
    assert sorted(index for content in made for index in content) == list(range(len(lengths)))
    for content in made:
        assert content == sorted(content)
        assert len(content) == 1 or sum(lengths[index] for index in content) <= budget


@given(LENGTHS, st.integers(1, 80))
def test_bins_are_a_function_of_the_lengths(lengths, budget):
    assert bins(lengths, budget) == bins(tuple(lengths), budget)


@given(LENGTHS, st.integers(60, 200))
def test_bins_are_filled(lengths, budget):
    """No two bins could have been one: packing that always opens a new bin would pass everything above."""
    totals = sorted(sum(lengths[index] for index in content) for content in bins(lengths, budget))
    assert len(totals) < 2 or totals[0] + totals[1] > budget


@given(st.data())
def test_targets_are_the_tokens_and_sources_the_places_before_them(data):
    made = []
    for number in range(data.draw(st.integers(1, 5))):
        length = data.draw(st.integers(2, 8))
        ids = data.draw(st.lists(st.integers(0, 99), min_size=length, max_size=length))
        tail = data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=length - 1, max_size=length - 1))
        made.append(sequence(ids, [0.0, *tail], str(number)))
    batch = pack(made)
    assert sum(batch.lengths) == batch.ids.shape[1] == batch.positions.shape[1]
    starts = np.flatnonzero(batch.positions[0].numpy() == 0)
    assert np.diff([*starts, batch.ids.shape[1]]).tolist() == list(batch.lengths)
    for number, row in enumerate(made):
        mine = batch.sequence == number
        places = np.flatnonzero(row.weights)
        assert batch.token[mine].tolist() == row.ids[places].tolist()
        assert batch.weight[mine].tolist() == row.weights[places].tolist()
        assert batch.positions[0][batch.source[mine]].tolist() == (places - 1).tolist()
        assert batch.ids[0][batch.source[mine]].tolist() == row.ids[places - 1].tolist()


def test_longest_first_and_numbered_as_given():
    batch = pack([sequence([1, 2], [0, 1]), sequence([3, 4, 5], [0, 0, 1]), sequence([6, 7], [0, 1])])
    assert batch.lengths == (3, 2, 2)
    assert batch.ids.tolist() == [[3, 4, 5, 1, 2, 6, 7]]
    assert batch.positions.tolist() == [[0, 1, 2, 0, 1, 0, 1]]
    assert batch.source.tolist() == [1, 3, 5]
    assert batch.token.tolist() == [5, 2, 7]
    assert batch.sequence.tolist() == [1, 0, 2]


def test_moving_a_batch_keeps_it():
    batch = pack([sequence([1, 2], [0, 1])])
    moved = batch.to(torch.device("cpu"))
    assert all(torch.equal(a, b) for a, b in zip(batch.tensors(), moved.tensors(), strict=True))
    assert moved.lengths == batch.lengths
