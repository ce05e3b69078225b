"""The one step: exact accumulation, gradients equal to the plain Hugging Face step, nothing hidden."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.core.errors import NonFiniteError
from metier.core.types import Sequence
from metier.forest.arrange import Arrangement, arrange
from metier.forest.attend import packed
from metier.forest.grow import grow
from metier.model.find import find
from metier.model.load import load_base
from metier.train.loop import Arithmetic, measured, step
from metier.train.objectives.supervised import Supervised
from tests.forest.trees import tree_rows

CPU = Arithmetic(device=torch.device("cpu"))


def sequences(lengths: list[int], seed: int = 0) -> list[Sequence]:
    random = np.random.default_rng(seed)
    made = []
    for number, length in enumerate(lengths):
        weights = (random.random(length) < 0.6).astype(np.float32) * random.choice([0.5, 1.0, 2.0], length)
        weights[0] = 0
        weights[-1] = 1
        made.append(
            Sequence(
                ids=random.integers(0, 268, length).astype(np.int32),
                weights=weights.astype(np.float32),
                row_id=str(number),
            )
        )
    return made


def model(base: Path) -> torch.nn.Module:
    loaded = load_base(find(str(base), base), device=torch.device("cpu")).double().train()
    loaded.requires_grad_(True)
    return loaded


def plain_gradients(net: torch.nn.Module, rows: list[Sequence]) -> tuple[float, dict[str, torch.Tensor]]:
    """The plain step: one padded batch through the model's own attention, all logits, shifted labels."""
    longest = max(len(row) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    weights = torch.zeros(len(rows), longest, dtype=torch.float64)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.from_numpy(row.ids.astype(np.int64))
        mask[place, : len(row)] = 1
        weights[place, : len(row)] = torch.from_numpy(row.weights.astype(np.float64))
    logits = net(input_ids=ids, attention_mask=mask, use_cache=False).logits
    logp = torch.log_softmax(logits[:, :-1], dim=-1).gather(2, ids[:, 1:, None])[..., 0]
    loss = -(logp * weights[:, 1:]).sum() / weights.sum()
    net.zero_grad()
    loss.backward()
    return loss.item(), {name: weight.grad.clone() for name, weight in net.named_parameters()}


def side_by_side(groups: list[list[Sequence]]) -> Arrangement:
    return Arrangement(forests=tuple((tuple(range(len(rows))), grow(rows, share=False)) for rows in groups))


def our_gradients(net: torch.nn.Module, work: Arrangement) -> tuple[float, dict[str, torch.Tensor]]:
    optimiser = torch.optim.SGD(net.parameters(), lr=0.0)
    with packed(net):
        log = step(net, Supervised(), work, optimiser, clip=0, arithmetic=CPU)
    return log.loss, {name: weight.grad.clone() for name, weight in net.named_parameters()}


def relative_difference(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    """The largest over the weights; a gradient that is zero but for rounding is measured against the whole one."""
    whole = torch.stack([gradient.norm() for gradient in second.values()]).norm()
    return max(((first[name] - second[name]).norm() / (second[name].norm() + 1e-6 * whole)).item() for name in second)


@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(2, 40), min_size=1, max_size=6), split=st.integers(1, 4), seed=st.integers(0, 99))
def test_any_packing_gives_the_gradient_of_the_plain_padded_step(tiny_base, lengths, split, seed):
    net = model(tiny_base)
    rows = sequences(lengths, seed)
    groups = [group for start in range(split) if (group := rows[start::split])]
    loss, gradients = our_gradients(net, side_by_side(groups))
    plain_loss, plain = plain_gradients(net, rows)
    # the library's norms compute in float32 even here; tests/forest proves 1e-9 on a model that does not
    assert loss == pytest.approx(plain_loss, rel=1e-7)
    assert relative_difference(gradients, plain) <= 1e-6


def test_mean_of_means_would_not_pass(tiny_base):
    """The planted fault: dividing each micro-batch by its own weight is another gradient when rows differ in length."""
    net = model(tiny_base)
    rows = sequences([40, 3, 3, 3])
    _, wrong = our_gradients(net, side_by_side([rows[:1]]))
    for part in (rows[1:],):
        _, other = our_gradients(net, side_by_side([part]))
        wrong = {name: (wrong[name] + other[name]) / 2 for name in wrong}
    _, plain = plain_gradients(net, rows)
    assert relative_difference(wrong, plain) > 0.05


def test_no_row_of_a_batch_sees_another(tiny_base):
    """A secret in one row must not change what another row predicts."""
    net = model(tiny_base).eval()
    first, second = sequences([20, 20])
    secret = Sequence(ids=second.ids[::-1].copy(), weights=second.weights, row_id="secret")
    with packed(net), torch.no_grad():
        objective = Supervised()
        alone = objective.loss(net, grow([first, second])).rows[0]
        beside = objective.loss(net, grow([first, secret])).rows[0]
    assert alone.item() == beside.item()


@pytest.mark.parametrize("budget", [10_000, 60, 20])
def test_a_shared_prompt_gives_the_gradient_of_the_plain_padded_step(tiny_base, budget):
    """The whole step: trunk, forests, one division; the prompt is computed once whatever the budget."""
    net = model(tiny_base)
    prompt = sequences([40])[0].ids
    rows = []
    for number, row in enumerate(sequences([9, 5, 17, 5])):
        weights = np.concatenate([np.zeros(40, dtype=np.float32), row.weights])
        rows.append(Sequence(ids=np.concatenate([prompt, row.ids]), weights=weights, row_id=str(number)))
    work = arrange(rows, budget)
    assert (not work.trunks) == (budget == 10_000)
    loss, gradients = our_gradients(net, work)
    plain_loss, plain = plain_gradients(net, rows)
    assert loss == pytest.approx(plain_loss, rel=1e-7)
    assert relative_difference(gradients, plain) <= 1e-6


@pytest.mark.parametrize("place", ["weight", "gradient"])
def test_non_finite_is_found_in_its_step(tiny_base, place):
    net = model(tiny_base).float()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    weight = net.get_input_embeddings().weight
    before = [value.detach().clone() for value in net.parameters()]
    if place == "weight":
        with torch.no_grad():
            weight[5] = float("nan")
    else:
        weight.register_hook(lambda gradient: gradient * float("inf"))
    with packed(net), pytest.raises(NonFiniteError):
        step(net, Supervised(), arrange(sequences([20, 10]), 1000), optimiser, clip=1.0, arithmetic=CPU)
    if place == "gradient":
        assert all(torch.equal(old, new) for old, new in zip(before, net.parameters(), strict=True))


def test_clipping_bounds_the_gradient(tiny_base):
    net = model(tiny_base).float()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.0)
    with packed(net):
        log = step(net, Supervised(), arrange(sequences([30]), 1000), optimiser, clip=1e-3, arithmetic=CPU)
    norm = torch.stack([weight.grad.norm() for weight in net.parameters()]).norm().item()
    assert log.gradient_norm > 1e-3
    assert norm == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("clip", [1e-3, 1.0, 1e6, 0.0])
def test_clipping_is_the_librarys(tiny_base, clip):
    """To the last bit, also where nothing is too long and so nothing is multiplied."""
    rows, found = arrange(sequences([30]), 1000), []
    for ours in (True, False):
        net = model(tiny_base).float()
        with packed(net):
            log = step(
                net, Supervised(), rows, torch.optim.SGD(net.parameters(), lr=0.0), clip=clip if ours else 0,
                arithmetic=CPU,
            )  # fmt: skip
        if not ours and clip:
            assert torch.nn.utils.clip_grad_norm_(net.parameters(), clip).item() == log.gradient_norm
        found.append([weight.grad for weight in net.parameters()])
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(*found, strict=True))


def test_accuracy_is_that_of_the_likeliest_tokens(tiny_base):
    """Of a model that knows some of the rows, by every division into forests and trunks, as counted row by row."""
    net, rows = model(tiny_base), tree_rows(3)
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(25):
        with packed(net):
            step(net, Supervised(), arrange(rows, 10_000), optimiser, clip=1, arithmetic=CPU)
    right = weight = 0.0
    for row in rows:
        ids = torch.from_numpy(row.ids.astype(np.int64))
        said = net(input_ids=ids[None], use_cache=False).logits[0, :-1].argmax(dim=1)
        right += float(row.weights[1:][(said == ids[1:]).numpy()].sum())
        weight += float(row.weights[1:].sum())
    assert 0.1 < right / weight < 0.95
    for budget in (10_000, 60, 20, 1):
        with packed(net):
            for share in (True, False):
                work = arrange(rows, budget, share=share)
                log = step(net, Supervised(), work, torch.optim.SGD(net.parameters(), lr=0.0), clip=0, arithmetic=CPU)
                assert log.accuracy == pytest.approx(right / weight, abs=1e-12)
            assert measured(net, Supervised(), [arrange(rows, budget)], CPU)[1] == log.accuracy
