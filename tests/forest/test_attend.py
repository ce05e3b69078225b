"""A forest equals its rows alone and padded, for every way of attending that we claim, at every depth."""

import math
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metier.forest import score
from metier.forest.arrange import arrange
from metier.forest.attend import _HEARD, NAME, forest_attention, inner_model, packed
from metier.forest.descend import descend
from metier.forest.forest import Trunk
from metier.forest.grow import grow
from metier.train.verify.exact import Exactly, widen
from tests.forest.architectures import PACKABLE, build, sequences
from tests.forest.trees import gradients, padded_loss, prompt_rows, tree_rows

LENGTHS = (21, 9, 9, 2, 15)
"""The longest is over three windows of six, two are equal, one is as short as can be."""

TOLERANCE = {"gpt2": 1e-9, "qwen3_moe": 5e-4, "mixtral": 5e-4, "deepseek_v3": 5e-4}
_DEFAULT = 2e-5
"""Nats in float64 (experts: float32, the library has no other);
rotary angles, norms and the cap's softmax are float32 inside the library."""


def dtype_of(name: str) -> torch.dtype:
    return torch.float32 if name in ("qwen3_moe", "mixtral", "deepseek_v3") else torch.float64


def forest_step(
    model: torch.nn.Module, rows, budget: int, *, labels_only: bool = True, read=score.losses
) -> tuple[float, torch.Tensor]:
    """Loss and gradient of all rows, arranged for a budget."""
    model.zero_grad()
    work = arrange(rows, budget)
    total = 0.0
    with packed(model, labels_only=labels_only):
        for _, forest in descend(model, work, learn=True):
            loss = (read(model, forest) * forest.weight).sum()
            loss.backward()
            total += loss.item()
    return total, gradients(model)


@contextmanager
def counting(model: torch.nn.Module):
    """How many tokens each call of a model embeds."""
    seen: list[int] = []
    handle = model.get_input_embeddings().register_forward_hook(
        lambda module, args, output: seen.append(args[0].numel())
    )
    try:
        yield seen
    finally:
        handle.remove()


@pytest.mark.parametrize("name", PACKABLE)
@pytest.mark.parametrize("share", [False, True])
def test_a_forest_equals_its_rows_alone(name, share):
    model = build(PACKABLE[name], dtype_of(name))
    rows = [*sequences(LENGTHS), *prompt_rows((3, 8, 8, 1))]
    forest = grow(rows, share=share)
    assert forest.tokens < sum(forest.lengths) - (120 if share else 0)
    with torch.no_grad():
        expected = score.alone(model, forest)
        with packed(model, labels_only=name != "gpt2"):
            error = (score.losses(model, forest) - expected).abs().max().item()
    assert error <= TOLERANCE.get(name, _DEFAULT)
    assert expected.std() > 0.1, "a model that says the same everywhere would prove nothing"


@pytest.mark.parametrize("budget", [10_000, 60])
@pytest.mark.parametrize("name", PACKABLE)
def test_gradients_are_those_of_the_padded_step(name, budget):
    model = build(PACKABLE[name], dtype_of(name))
    rows = [*tree_rows(1), *prompt_rows((3, 8, 8, 1))]
    loss, ours = forest_step(model, rows, budget, labels_only=name != "gpt2")
    model.zero_grad()
    plain = padded_loss(model, rows)
    plain.backward()
    assert loss == pytest.approx(plain.item(), rel=1e-5)
    error = ((ours - gradients(model)).norm() / ours.norm()).item()
    assert error <= (1e-5 if dtype_of(name) == torch.float64 else 1e-3)


@pytest.fixture(scope="module", params=PACKABLE)
def exact(request):
    """A model that computes in float64 throughout, also where the library would compute in float32."""
    model = build(PACKABLE[request.param])
    widen(model)
    return model, request.param != "gpt2"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10_000),
    depth=st.integers(1, 4),
    budget=st.sampled_from([10_000, 300, 90, 40, 1]),
    plain_head=st.booleans(),
)
def test_any_tree_and_any_budget_give_the_gradient_of_the_padded_step(exact, seed, depth, budget, plain_head):
    """With labels anywhere: in trunks, where rows leave them, and beneath; scored in the trunk, or in each forest."""
    model, labels_only = exact
    capped = getattr(model.config, "final_logit_softcapping", None) is not None
    read = score.head_losses if plain_head and not capped else score.losses
    rows = tree_rows(seed, depth=depth)
    with Exactly(), counting(model) as read_tokens:
        loss, ours = forest_step(model, rows, budget, labels_only=labels_only, read=read)
        assert sum(read_tokens) == grow(rows).tokens, "every token of the tree once, whatever the budget"
        model.zero_grad()
        plain = padded_loss(model, rows)
        plain.backward()
    assert loss == pytest.approx(plain.item(), rel=1e-12)
    assert ((ours - gradients(model)).norm() / ours.norm()).item() <= 1e-9


def test_what_a_trunk_keeps_lies_in_memory_of_its_own():
    """A model that computes queries, keys and values in one: torch warns once where gradients lie otherwise."""
    model = build(PACKABLE["gpt2"])
    torch.set_warn_always(True)
    try:
        forest_step(model, tree_rows(203, depth=3), 1, labels_only=False)
    finally:
        torch.set_warn_always(False)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), budget=st.sampled_from([10_000, 90]))
def test_labels_only_on_top_changes_nothing(seed, budget):
    model = build(PACKABLE["llama"])
    rows = tree_rows(seed)
    (loss, ours), (whole, expected) = (forest_step(model, rows, budget, labels_only=only) for only in (True, False))
    assert loss == pytest.approx(whole, rel=1e-7)
    assert ((ours - expected).norm() / expected.norm()).item() <= 1e-6


def test_checkpointing_computes_the_same():
    model = build(PACKABLE["llama"]).train()
    rows = prompt_rows((3, 8, 8, 1))
    _, expected = forest_step(model, rows, 30)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    _, ours = forest_step(model, rows, 30)
    assert ((ours - expected).norm() / expected.norm()).item() <= 1e-6


def test_a_checkpointed_trunk_can_be_computed_again():
    model = build(PACKABLE["llama"]).train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    work = arrange(prompt_rows((3, 8, 8, 1)), 30)
    found = []
    for _ in range(2):
        model.zero_grad()
        with packed(model):
            for _, forest in descend(model, work, learn=True):
                (score.losses(model, forest) * forest.weight).sum().backward()
        found.append(gradients(model))
    assert torch.equal(*found)


@pytest.mark.parametrize("budget", [10_000, 50])
def test_no_row_sees_another(budget):
    """A secret in one row must not change what the others predict, though they share their beginning with it."""
    model = build(PACKABLE["llama"])
    rows = prompt_rows((9, 9, 9, 9))
    secret = [*rows[:3], replace(rows[3], ids=np.append(rows[3].ids[:-9], [7] * 9).astype(np.int32))]
    told = []
    for given_rows in (rows, secret):
        work = arrange(given_rows, budget)
        seen = {}
        with torch.no_grad(), packed(model):
            for indices, forest in descend(model, work):
                values = score.losses(model, forest)
                seen |= {index: values[forest.sequence == place] for place, index in enumerate(indices)}
        told.append([seen[index] for index in range(3)])
    for first, second in zip(*told, strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("forgotten", ["walk", "sliding_window", "softcap"])
def test_what_the_attention_forgets_is_found(forgotten, monkeypatch):
    """The planted faults: without each of its three facts, a forest differs from its rows alone."""
    model = build(PACKABLE["gemma2, softcap and sliding"])
    forest = grow(sequences(LENGTHS), share=False)

    def forgetful(*args, **kwargs):
        _HEARD.set(None)
        return forest_attention(*args, **{name: value for name, value in kwargs.items() if name != forgotten})

    monkeypatch.setattr("metier.forest.attend.forest_attention", forgetful)
    with torch.no_grad():
        expected = score.alone(model, forest)
        with packed(model, labels_only=False):
            error = (score.losses(model, forest) - expected).abs().max().item()
    assert error > 1e-3


def test_a_forgotten_trunk_is_found():
    """The planted fault: without the trunk's backward pass the gradient is another."""
    model = build(PACKABLE["llama"])
    rows = prompt_rows((9, 9, 9))
    _, expected = forest_step(model, rows, 10_000)
    model.zero_grad()
    work = arrange(rows, 30)
    assert work.trunks
    with packed(model):
        for _, forest in descend(model, work):
            (score.losses(model, forest) * forest.weight).sum().backward()
    assert ((gradients(model) - expected).norm() / expected.norm()).item() > 1e-3


@pytest.mark.parametrize("read", [score.losses, score.head_losses])
@pytest.mark.parametrize("dropped", ["hidden", "layers"])
def test_a_trunk_that_drops_what_it_owes_is_found(dropped, read, monkeypatch):
    """The planted faults: gradients of labels that trunks predict, and of trunks above trunks, go no further."""
    model = build(PACKABLE["llama"])
    rows = tree_rows(3, depth=4, fan=3)
    loss, expected = forest_step(model, rows, 10_000, read=read)
    assert max(len(forest.trunks) for _, forest in arrange(rows, 30).forests) > 1
    _, ours = forest_step(model, rows, 30, read=read)
    assert ((ours - expected).norm() / expected.norm()).item() < 1e-6
    if dropped == "hidden":
        made = Trunk.made
        monkeypatch.setattr(Trunk, "made", lambda *args: tuple(part.detach() for part in made(*args)))
    else:
        monkeypatch.setattr("metier.forest.forest._add", lambda leaf, gradient: None)
    same, wrong = forest_step(model, rows, 30, read=read)
    assert same == pytest.approx(loss, rel=1e-7), "the loss does not show it"
    assert ((wrong - expected).norm() / expected.norm()).item() > 1e-3


@pytest.mark.parametrize("budget", [200, 30])
def test_checkpointed_trunks_above_trunks_compute_the_same(budget):
    model = build(PACKABLE["llama"]).train()
    rows = tree_rows(3, depth=4, fan=3)
    _, expected = forest_step(model, rows, 10_000, read=score.head_losses)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    _, ours = forest_step(model, rows, budget, read=score.head_losses)
    assert ((ours - expected).norm() / expected.norm()).item() <= 1e-6


@pytest.mark.parametrize("budget", [60, 1])
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_states_in_trunks_are_those_of_rows_alone(name, budget):
    """What the head of a vocabulary reads, and what heads of classes read, in the order of the labels."""
    model = build(PACKABLE[name])
    rows = tree_rows(2)
    with torch.no_grad():
        for read, alone in ((score.states, score.states_alone), (score.logits, score.logits_alone)):
            whole = grow(rows)
            expected = alone(model, whole)
            with packed(model, labels_only=name != "gpt2"):
                for indices, forest in descend(model, arrange(rows, budget)):
                    found = read(model, forest)
                    for place, index in enumerate(indices):
                        seen, wanted = found[forest.sequence == place], expected[whole.sequence == index]
                        assert torch.allclose(seen, wanted, rtol=0, atol=1e-5)


def test_the_models_own_attention_is_restored():
    model = build(PACKABLE["llama"])
    before = model.config._attn_implementation
    seen = []

    def fail_inside() -> None:
        with packed(model):
            seen.append(model.config._attn_implementation)
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        fail_inside()
    assert seen == [NAME]
    assert model.config._attn_implementation == before
    assert not model.model.layers[-1]._forward_pre_hooks
    assert inner_model(model) is model


def test_dropout_zeroes_attention_while_it_is_asked_for():
    query = torch.randn(1, 2, 6, 4)
    torch.manual_seed(0)
    plain, _ = forest_attention(torch.nn.Identity(), query, query, query, None)
    dropped, _ = forest_attention(torch.nn.Identity(), query, query, query, None, dropout=0.5)
    assert plain.shape == (1, 6, 2, 4)
    assert not torch.equal(plain, dropped)


def test_sinks_take_their_share():
    """Against the definition: an extra key per head with a learnt score and no value."""
    torch.manual_seed(0)
    query = torch.randn(1, 2, 6, 4, dtype=torch.float64)
    sinks = torch.tensor([0.5, -1.0], dtype=torch.float64)
    ours, _ = forest_attention(torch.nn.Identity(), query, query, query, None, s_aux=sinks)
    scores = query @ query.transpose(-1, -2) / 2
    scores = scores.masked_fill(torch.ones(6, 6).triu(1).bool(), -math.inf)
    extended = torch.cat([scores, sinks[None, :, None, None].expand(1, 2, 6, 1)], dim=-1).softmax(-1)
    assert torch.allclose(ours, (extended[..., :-1] @ query).transpose(1, 2), atol=1e-12)
