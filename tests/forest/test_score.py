"""Scores at labels: sums per row, and models that cannot be packed are found and read one by one."""

import math

import pytest
import torch

from metier.core.progress import Silent
from metier.forest import score
from metier.forest.pack import pack
from tests.forest.architectures import PACKABLE, RECURRENT, VOCABULARY, build, sequences

LENGTHS = (9, 5, 7, 12, 5)


@pytest.mark.parametrize("name", PACKABLE)
def test_what_can_be_packed_is_packed(name):
    model = build(PACKABLE[name], torch.float32).train()
    assert score.packing_error(model, VOCABULARY) < 1e-4
    assert score.packs(model)
    assert model.training, "the probe leaves the model as it was"


@pytest.mark.parametrize("name", RECURRENT)
def test_a_model_with_a_memory_is_found(name):
    model = build(RECURRENT[name], torch.float32)
    assert score.packing_error(model, VOCABULARY) > score.PACKING_TOLERANCE
    assert not score.packs(model)


@pytest.mark.parametrize("name", ["llama", *RECURRENT])
def test_row_losses_are_those_of_rows_alone(name):
    model = build((PACKABLE | RECURRENT)[name], torch.float32)
    rows = sequences(LENGTHS)
    together = score.row_losses(model, rows, micro_batch_tokens=25, progress=Silent())
    for row, (nats, weight) in zip(rows, together, strict=True):
        with torch.no_grad():
            expected = score.alone(model, pack([row])).sum().item()
        assert nats == pytest.approx(expected, rel=1e-4)
        assert weight == len(row) - 1


@pytest.mark.parametrize("name", ["llama", *RECURRENT])
def test_label_logits_are_those_of_rows_alone(name):
    model = build((PACKABLE | RECURRENT)[name], torch.float32)
    rows = sequences(LENGTHS)
    told = dict(score.label_logits(model, rows, micro_batch_tokens=25))
    assert sorted(told) == list(range(len(rows)))
    for index, row in enumerate(rows):
        ids = torch.from_numpy(row.ids.astype("int64"))[None]
        with torch.no_grad():
            expected = torch.log_softmax(model(input_ids=ids, use_cache=False).logits[0, :-1], dim=-1)
        assert told[index].shape == (len(row) - 1, VOCABULARY)
        assert (told[index] - expected).abs().max().item() < 1e-3


def test_packing_a_memory_would_be_wrong():
    """The planted fault of the two tests above: read packed all the same, a recurrent model tells something else."""
    model = build(RECURRENT["lfm2"], torch.float32)
    batch = pack(sequences(LENGTHS))
    with torch.no_grad(), score.packed(model):
        wrong = score.losses(model, batch)
    with torch.no_grad():
        right = score.alone(model, batch)
    assert (wrong - right).abs().max().item() > 1e-2


def test_the_budget_changes_nothing_but_the_number_of_calls():
    model = build(PACKABLE["llama"], torch.float32)
    rows = sequences(LENGTHS)
    few, many = (score.row_losses(model, rows, micro_batch_tokens=budget) for budget in (1, 1000))
    for one, other in zip(few, many, strict=True):
        assert math.isclose(one[0], other[0], rel_tol=1e-5)
        assert one[1] == other[1]


def test_half_precision_is_scored_in_float32():
    assert score.at_least_float32(torch.ones(1, dtype=torch.bfloat16)).dtype == torch.float32
    assert score.at_least_float32(torch.ones(1, dtype=torch.float64)).dtype == torch.float64
