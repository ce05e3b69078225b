"""Rows of logits as one table: without a copy where that is the same, with one where it is not."""

import pytest
import torch

from metier.engine.sampler import Draw, Sampling, sample, table


@pytest.mark.parametrize(
    ("chosen", "copied"), [((0, 1, 2), False), ((1, 2, 3), False), ((0, 2), True), ((2, 1), True), ((0, 1, 0), True)]
)
def test_rows_behind_one_another_are_a_table_already(chosen: tuple[int, ...], copied: bool) -> None:
    logits = torch.arange(20.0).view(4, 5)
    found = table([logits[row] for row in chosen])
    assert torch.equal(found, logits[list(chosen)])
    assert (found.data_ptr() != logits[chosen[0]].data_ptr()) == copied


def test_rows_of_several_tensors_and_rows_with_gaps_are_copied() -> None:
    wide = torch.arange(20.0).view(5, 4)
    columns = [wide[:, 0], wide[:, 1]]
    assert torch.equal(table(columns), wide.T[:2])
    others = [torch.ones(3), torch.zeros(3)]
    assert torch.equal(table(others), torch.stack(others))


def test_the_likeliest_token_is_not_asked_again_unless_a_rule_changes_the_row() -> None:
    logits, told = torch.tensor([[1.0, 3.0, 2.0], [5.0, 0.0, 1.0]]), torch.tensor([1, 0])
    plain = Draw(sampling=Sampling())
    assert sample(logits, [plain, plain], told)[0] == [1, 0]
    assert sample(logits, [plain, Draw(sampling=Sampling(bias={2: 100.0}))], told)[0] == [1, 2]
    drawn = [Draw(sampling=Sampling(temperature=1.0, seed=seed)) for seed in range(2)]
    assert sample(logits, drawn, told) == sample(logits, drawn)
    assert told.tolist() == [1, 0]
