"""Growing: every distinct token once, every label in its place, budgets kept, deterministic."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metier.core.types import Sequence
from metier.forest.arrange import arrange
from metier.forest.bins import bins
from metier.forest.forest import label_places
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


def check(rows, indices, forest) -> None:
    """Every label is where its row has it, and what stands before it, in trunks and here, spells its row."""
    above = sum(len(trunk.forest.source) for trunk in forest.trunks)
    for place, index in enumerate(indices):
        row = rows[index]
        labels = np.flatnonzero(row.weights)
        mine = forest.sequence == place
        assert forest.token[mine].tolist() == row.ids[labels].tolist()
        assert forest.weight[mine].tolist() == row.weights[labels].tolist()
        path = forest.path(place)
        depth = needed(row) - len(path)
        assert forest.ids[0, path].tolist() == row.ids[depth : needed(row)].tolist()
        assert forest.positions[0, path].tolist() == list(range(depth, needed(row)))
        held = spelt(forest.trunk, row, depth)
        whole = [*held, *(("here", int(at)) for at in path)]
        assert [predicting(forest, number) for number in torch.nonzero(mine)[:, 0]] == [whole[at - 1] for at in labels]
    assert sorted(forest.told.unique().tolist()[: len(forest.own)]) == list(range(len(forest.own)))
    assert len(forest.held) <= above


def spelt(trunk, row: Sequence, depth: int) -> list[tuple[str, int]]:
    """Find a row's first tokens in trunks: where each stands."""
    if not depth:
        return []
    ids = torch.cat([part.forest.ids[0] for part in (*trunk.forest.trunks, trunk)]).tolist()
    ends = [
        trunk.places(node)
        for node, at in enumerate(trunk.nodes)
        if at.depth + at.length == depth
    ]  # fmt: skip
    (places,) = [found for found in ends if [ids[at] for at in found] == row.ids[:depth].tolist()]
    assert trunk.positions[torch.from_numpy(places)].tolist() == list(range(depth))
    return [("above", int(at)) for at in places]


def predicting(forest, label: int) -> tuple[str, int]:
    """Say where a label is predicted; in a trunk its number and its place have to agree."""
    row, told = int(forest.row[label]), int(forest.told[label])
    if row < len(forest.source):
        assert int(forest.own[told]) == label
        return "here", int(forest.source[row])
    name = int(forest.trunk.labels[told - len(forest.own)])
    sources = np.unique(label_places(forest.trunk.labels))
    assert sources[forest.held[row - len(forest.source)]] == name >> 32
    assert name & 0xFFFFFFFF == int(forest.token[label])
    return "above", name >> 32


BUDGETS = st.sampled_from([10_000, 200, 60, 25, 5, 1])


@given(st.integers(0, 10_000), st.integers(1, 4), BUDGETS, st.booleans(), st.sampled_from([1, 2]))
def test_labels_stay_with_their_rows(seed, depth, budget, share, together):
    rows = tree_rows(seed, depth=depth)
    rows = [*rows, *rows[: len(rows) % together]]
    work = arrange(rows, budget, share=share, together=together)
    assert sorted(index for indices, _ in work.forests for index in indices) == list(range(len(rows)))
    for indices, forest in work.forests:
        check(rows, indices, forest)
        assert forest.tokens
        assert together > 1 or forest.tokens <= max(budget, *(needed(rows[index]) for index in indices))
        assert torch.equal(forest.source, forest.source.unique())
        assert all((index ^ 1) in indices for index in indices) or together == 1
    assert work.given == sum(len(row) for row in rows)
    assert work.computed <= work.given
    again = arrange(rows, budget, share=share, together=together)
    for (_, first), (_, second) in zip(work.forests, again.forests, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first.tensors(), second.tensors(), strict=True))


@given(st.integers(0, 10_000), st.integers(1, 4), BUDGETS, st.sampled_from([1, 2]))
def test_every_token_of_the_tree_is_computed_once_whatever_the_budget(seed, depth, budget, together):
    """Also those that are learnt, and those that predict where rows part."""
    rows = tree_rows(seed, depth=depth, fan=3)
    work = arrange(rows, budget, together=together if len(rows) % together == 0 else 1)
    assert work.computed == grow(rows).tokens


@given(st.integers(0, 10_000), st.integers(1, 4), BUDGETS)
def test_what_is_held_at_once_is_bounded(seed, depth, budget):
    """A row, two budgets of trunks beside it, and a forest."""
    rows = tree_rows(seed, depth=depth, fan=3)
    longest = max(needed(row) for row in rows)
    for _, forest in arrange(rows, budget).forests:
        above = forest.trunk.tokens if forest.trunk is not None else 0
        assert above <= longest + 2 * budget
        assert forest.tokens <= max(budget, longest)


def test_what_hangs_from_one_trunk_is_computed_together():
    """Else it would be computed again."""
    for seed in range(30):
        left: set[int] = set()
        held: tuple = ()
        for _, forest in arrange(tree_rows(seed, depth=4, fan=3), 30).forests:
            left |= {id(trunk) for trunk in held if trunk not in forest.trunks}
            held = forest.trunks
            assert not left & {id(trunk) for trunk in held}


def test_a_conversation_that_grows_is_one_forest():
    """Each row begins the next: cutting would hold as many tokens and call the model more often."""
    rows = [sequence(list(range(3, 4 + 40 * n)), [0.0] * (40 * n) + [1.0]) for n in range(1, 6)]
    work = arrange(rows, 50)
    assert not work.trunks
    assert work.computed == 200


def learnt_beginnings(rows: int = 16) -> list[Sequence]:
    """Rows behind three examples whose answers are learnt too."""
    random = np.random.default_rng(0)
    begin, learnt = random.integers(3, 1000, 300), np.r_[np.zeros(60), np.tile([0] * 40 + [1] * 40, 3)]
    made = []
    for number in range(rows):
        ids, weights = np.r_[begin, random.integers(3, 1000, 110)], np.r_[learnt, np.zeros(70), np.ones(40)]
        made.append(sequence(ids.tolist(), weights.tolist(), str(number)))
    return made


@pytest.mark.parametrize("budget", [4096, 1024, 512, 128])
def test_a_beginning_that_is_learnt_is_computed_once(budget):
    work = arrange(learnt_beginnings(), budget)
    assert work.computed == 300 + 16 * 109
    assert [trunk.forest.tokens for trunk in work.trunks] == ([] if budget == 4096 else [300])
    assert max(forest.tokens for _, forest in work.forests) <= budget
    if budget < 4096:
        told = work.trunks[0].forest
        assert len(told.source) == 120
        assert len(told.token) == 120


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
    (trunk,) = work.trunks
    assert len(work.forests) > 1
    assert trunk.forest.tokens == 100
    assert trunk.forest.source.tolist() == [99], "the place that predicts the first labels"
    assert len(trunk.forest.token) == len({int(row.ids[100]) for row in rows}), "each of them once"
    assert work.computed == 100 + 8 * 8
    assert not arrange(rows, 40, share=False).trunks


def test_labels_in_a_trunk_stay_with_their_rows():
    ids = list(range(3, 63))
    rows = [sequence([*ids, tail, 1, 2, 3], [0.0] * 30 + [1.0] * 34) for tail in (70, 71, 72)]
    work = arrange(rows, 45)
    (trunk,) = work.trunks
    assert trunk.forest.tokens == 60
    assert len(trunk.forest.token) == 30 + 3, "of the place where rows part three next tokens"
    assert sum(len(forest.token) for _, forest in work.forests) == 3 * 34
    assert sum(len(forest.own) for _, forest in work.forests) == 3 * 3


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


@pytest.mark.parametrize("share", [True, False])
def test_a_row_without_labels_is_not_computed(share):
    """Alone in a forest it would leave the last layer without a single place, which models cannot compute."""
    row = sequence([1, 2, 3, 4], [0, 0, 0, 0])
    assert not arrange([row, row], 1, share=share).forests
    (found,) = arrange([row, sequence([1, 2, 3], [0, 0, 1])], 1, share=share).forests
    assert found[0] == (0, 1)
    assert found[1].tokens == 2
    assert found[1].last.tolist() == [-1, 1]
