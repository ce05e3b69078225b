"""Growing: every distinct token once, every label in its place, budgets kept, deterministic."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metier.core.types import Sequence
from metier.forest.arrange import arrange
from metier.forest.bins import bins, bins_of_kin
from metier.forest.grow import grow, needed
from metier.forest.trie import LEAST_SAVED, trie
from tests.forest.trees import prompt_rows, tree_rows

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
    assert made == bins(tuple(lengths), budget)


@given(LENGTHS, st.integers(60, 200))
def test_bins_are_filled(lengths, budget):
    """No two bins could have been one: packing that always opens a new bin would pass everything above."""
    totals = sorted(sum(lengths[index] for index in content) for content in bins(lengths, budget))
    assert len(totals) < 2 or totals[0] + totals[1] > budget


def check(rows, indices, forest, trunk) -> None:
    """Every label is where its row has it, and what stands before it spells its row."""
    for place, index in enumerate(indices):
        row = rows[index]
        labels = np.flatnonzero(row.weights)
        mine = forest.sequence == place
        source = forest.source[forest.row[mine]]
        assert forest.token[mine].tolist() == row.ids[labels].tolist()
        assert forest.weight[mine].tolist() == row.weights[labels].tolist()
        assert forest.positions[0, source].tolist() == (labels - 1).tolist()
        assert forest.ids[0, source].tolist() == row.ids[labels - 1].tolist()
        path = forest.path(place)
        depth = needed(row) - len(path)
        assert forest.ids[0, path].tolist() == row.ids[depth : needed(row)].tolist()
        assert forest.positions[0, path].tolist() == list(range(depth, needed(row)))
        assert trunk is not None or depth == 0


@given(st.integers(0, 10_000), st.integers(1, 4), st.sampled_from([10_000, 200, 60, 5]), st.booleans())
def test_labels_stay_with_their_rows(seed, depth, budget, share):
    rows = tree_rows(seed, depth=depth)
    work = arrange(rows, budget, share=share)
    assert sorted(index for indices, _ in work.forests for index in indices) == list(range(len(rows)))
    for indices, forest in work.forests:
        check(rows, indices, forest, work.trunk)
        assert forest.tokens <= budget or len(indices) == 1
        assert torch.equal(forest.source, forest.source.unique())
    assert work.given == sum(len(row) for row in rows)
    assert work.computed <= work.given
    again = arrange(rows, budget, share=share)
    for (_, first), (_, second) in zip(work.forests, again.forests, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first.tensors(), second.tensors(), strict=True))


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 60)), max_size=40), st.integers(1, 80))
def test_kin_stay_within_the_budget_and_nothing_is_lost(items, budget):
    lengths = [length for length, _ in items]
    common = [min(alike, length, before) for (length, alike), before in zip(items, [0, *lengths], strict=False)]
    made = bins_of_kin(lengths, common, lengths, budget)
    assert sorted(index for content in made for index in content) == list(range(len(lengths)))
    for content in made:
        added = lengths[content[0]]
        for before, index in pairwise(content):
            added += lengths[index] - min(common[before + 1 : index + 1])
        assert len(content) == 1 or added <= budget


def learnt_beginnings(rows: int = 16) -> list[Sequence]:
    """Rows behind three examples whose answers are learnt too: their labels keep the beginning out of the trunk."""
    random = np.random.default_rng(0)
    begin, learnt = random.integers(3, 1000, 300), np.r_[np.zeros(60), np.tile([0] * 40 + [1] * 40, 3)]
    made = []
    for number in range(rows):
        ids, weights = np.r_[begin, random.integers(3, 1000, 110)], np.r_[learnt, np.zeros(70), np.ones(40)]
        made.append(sequence(ids.tolist(), weights.tolist(), str(number)))
    return made


@pytest.mark.parametrize(("budget", "computed"), [(1024, 100 + 3 * 199 + 16 * 110), (4096, 299 + 16 * 110)])
def test_a_beginning_that_is_learnt_stands_once_in_each_of_as_few_forests_as_can_be(budget, computed):
    """Packed by the size of each row alone, three rows fill a forest that has room for seven."""
    work = arrange(learnt_beginnings(), budget)
    assert work.computed <= computed
    assert max(forest.tokens for _, forest in work.forests) <= budget


def test_shared_beginnings_stand_once():
    rows = prompt_rows((5, 3, 3), prompt=40)
    forest = grow(rows)
    assert forest.tokens == 40 + 4 + 2 + 2, "the last token of a row predicts nothing"
    assert grow(rows, share=False).tokens == 44 + 42 + 42
    assert len(forest.source) == 1 + 4 + 2 + 2, "three first tokens are predicted from one place"
    assert len(forest.token) == 11


def test_equal_rows_are_computed_once_and_count_each():
    row = prompt_rows((6,))[0]
    forest = grow([row, row, row])
    assert forest.tokens == 45
    assert len(forest.source) == 6
    assert forest.weight.sum() == 18


def test_a_row_that_begins_another_has_no_node_of_its_own():
    beginning = [1] * 20
    rows = [
        sequence([*beginning, *range(5, 30)], [0.0] + [1.0] * 44),
        sequence([*beginning, 5, 6, 7], [0.0] + [1.0] * 22),
    ]
    assert grow(rows).tokens == 44


def test_what_saves_less_than_a_call_costs_is_not_shared():
    short = LEAST_SAVED - 1
    ids = [np.array([*range(short), last] * 1) for last in (100, 200)]
    assert len(trie(ids, [0, 0]).nodes) == 2
    assert len(trie(ids, [0, 0], least_saved=short).nodes) == 3


def test_a_trunk_is_computed_once_for_all_forests():
    rows = prompt_rows((9,) * 8, prompt=100)
    work = arrange(rows, 40)
    assert work.trunk is not None
    assert len(work.forests) > 1
    assert work.trunk.forest.tokens == 99, "the place that predicts the first labels stays with the branches"
    assert work.computed < 100 + 8 * 10
    assert arrange(rows, 40, share=False).trunk is None


def test_labels_never_stand_in_a_trunk():
    ids = list(range(3, 63))
    rows = [sequence([*ids, tail, 1, 2, 3], [0.0] * 30 + [1.0] * 34) for tail in (70, 71, 72)]
    work = arrange(rows, 45)
    assert work.trunk is not None
    assert work.trunk.forest.tokens == 29
    assert sum(len(forest.token) for _, forest in work.forests) == 3 * 34


def test_siblings_of_equal_length_are_one_call():
    forest = grow(prompt_rows((8, 5, 8, 8)))
    assert [piece.count for piece in forest.pieces if piece.own] == [1, 3, 1]


def test_nested_conversations_do_not_exhaust_the_stack():
    rows = [sequence(list(range(2 + 20 * n)), [0.0] * (1 + 20 * n) + [1.0]) for n in range(1, 1500)]
    assert grow(rows).tokens == len(rows[-1]) - 1


@pytest.mark.parametrize("share", [True, False])
def test_moving_a_forest_keeps_it(share):
    forest = grow(tree_rows(0), share=share)
    moved = forest.to(torch.device("meta"))
    assert moved.lengths == forest.lengths
    assert moved.ids.shape == forest.ids.shape
    assert forest.to(torch.device("cpu")) is forest


def test_a_row_without_labels_is_kept_whole():
    row = sequence([1, 2, 3, 4], [0, 0, 0, 0])
    forest = grow([row])
    assert forest.tokens == 4
    assert forest.last.tolist() == [3]
