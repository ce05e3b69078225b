"""Scores at labels: sums per row, and models that cannot be packed are found and read one by one."""

import math
from dataclasses import replace

import pytest
import torch

from metier.core.errors import ModelError
from metier.core.progress import Silent
from metier.forest import score
from metier.forest.attend import _HEARD, forest_attention, packed
from metier.forest.grow import grow
from metier.forest.head import Asked, HeadLosses
from metier.forest.read import label_logits, row_losses
from metier.forest.way import TOLERANCE, probe
from tests.forest.architectures import PACKABLE, RECURRENT, SMALL, VOCABULARY, build, sequences
from tests.forest.trees import gradients, tree_rows

LENGTHS = (9, 5, 7, 12, 5)


def test_a_base_that_the_library_cannot_compute_is_refused_in_words():
    """More experts for a token than there are: the class builds it, and its forward fails."""
    model = build(("mixtral", SMALL | {"num_local_experts": 2, "num_experts_per_tok": 3}), torch.float32)
    words = r"MixtralForCausalLM: plain transformers cannot compute this base \(RuntimeError: .*; do: mend config.json"
    with pytest.raises(ModelError, match=words) as found:
        probe(model)
    assert found.value.exit_code == 2
    assert len(str(found.value)) < 600


@pytest.mark.parametrize("name", PACKABLE)
def test_what_can_be_a_forest_is_one(name):
    model = build(PACKABLE[name], torch.float32).train()
    way = probe(model)
    assert way.packed
    assert way.error < 1e-4
    assert way.labels_only == (name != "gpt2")
    assert way.plain_head == (not name.startswith("gemma2")), "Gemma 2 caps its logits after the head"
    assert model.training, "the probe leaves the model as it was"
    assert "shared beginnings" in way.reasoned().value


@pytest.mark.parametrize(
    ("name", "bent"),
    [
        ("gemma2", {"final_logit_softcapping": 30.0, "query_pre_attn_scalar": 8}),
        ("granite", {"logits_scaling": 1.01}),
        ("cohere", {"logit_scale": 1.01}),
    ],
)
def test_a_head_whose_logits_are_bent_is_found_where_they_are_small(name, bent, monkeypatch):
    """The planted fault: a model that says next to nothing yet shows no cap and hardly a scale."""
    model = build((name, SMALL | {"initializer_range": 0.001, "tie_word_embeddings": False} | bent), torch.float32)
    assert not probe(model).plain_head
    monkeypatch.setattr("metier.forest.way._is_straight", lambda *args: True)
    assert probe(model).plain_head


@pytest.mark.parametrize("name", RECURRENT)
def test_a_model_with_a_memory_is_found(name):
    way = probe(build(RECURRENT[name], torch.float32))
    assert not way.packed
    assert way.error > TOLERANCE
    assert way.reasoned().value == "one by one"


def test_a_leaking_attention_is_found(monkeypatch):
    """The planted fault: without the walk one row sees the next; the probe must notice."""

    def leaking(*args, **kwargs):
        _HEARD.set(None)
        return forest_attention(*args, **{name: value for name, value in kwargs.items() if name != "walk"})

    monkeypatch.setattr("metier.forest.attend.forest_attention", leaking)
    assert not probe(build(PACKABLE["llama"], torch.float32)).packed


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen3"])
def test_head_and_loss_in_one_are_the_plain_loss(name, kept, monkeypatch):
    """Values and gradients in float64, with logits kept and with logits computed again, over several tiles."""
    if not kept:
        monkeypatch.setattr("metier.forest.head._KEPT", 0)
    monkeypatch.setattr("metier.forest.head._TILE", {"cpu": 64, "cuda": 64})
    model = build(PACKABLE[name])
    forest = grow(tree_rows(5))
    found = []
    for read in (score.head_losses, score.losses):
        model.zero_grad()
        with packed(model, labels_only=name != "gpt2"):
            values = read(model, forest)
            (values * forest.weight).sum().backward()
        found.append((values.detach(), gradients(model)))
    (ours, gradient), (plain, expected) = found
    assert torch.allclose(ours, plain, atol=1e-6)
    assert ((gradient - expected).norm() / expected.norm()).item() < 1e-6


@pytest.mark.parametrize("trained", [("weight", "bias"), ("weight",), ("bias",)])
def test_weight_and_bias_of_a_head_train_each_by_itself(trained):
    random = torch.Generator().manual_seed(0)
    head = {"weight": torch.randn(90, 8, generator=random), "bias": torch.randn(90, generator=random)}
    hidden, row = torch.randn(5, 8, generator=random), torch.tensor([0, 1, 1, 4])
    token, found = torch.tensor([3, 89, 0, 7]), []
    for in_one in (True, False):
        hidden_, weight, bias = (
            part.double().requires_grad_(name in (*trained, "hidden"))
            for name, part in (("hidden", hidden.clone()), *((name, part.clone()) for name, part in head.items()))
        )
        if in_one:
            values = HeadLosses.apply(hidden_, weight, bias, Asked(row, token, torch.float64))[0]
        else:
            values = torch.nn.functional.cross_entropy((hidden_ @ weight.T + bias)[row], token, reduction="none")
        (values * torch.arange(1.0, 5.0)).sum().backward()
        found.append([part.grad for part in (hidden_, weight, bias)])
    for name, ours, plain in zip(("hidden", "weight", "bias"), *found, strict=True):
        assert (ours is None) is (plain is None) is (name not in (*trained, "hidden"))
        assert ours is None or torch.allclose(ours, plain, atol=1e-12)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2, softcap and sliding"])
def test_a_label_is_right_where_no_token_is_likelier(name, monkeypatch):
    """Half of the labels are made the likeliest token, the others the second; counted over several tiles of the head.

    The planted fault: a label's logit from another product than the tile's would miss some by the last bit.
    """
    monkeypatch.setattr("metier.forest.head._TILE", {"cpu": 64, "cuda": 64})
    model = build(PACKABLE[name], torch.float32)
    forest = grow(tree_rows(5))
    way = probe(model)
    with packed(model, labels_only=name != "gpt2"), torch.no_grad():
        said = way.logits(model, forest)
        hits = torch.arange(len(forest.token)) % 2 == 0
        likeliest = said.topk(2, dim=1).indices
        chosen = replace(forest, token=torch.where(hits, likeliest[:, 0], likeliest[:, 1]))
        found = way.judged(model, chosen)
        assert torch.equal(found.right, hits)
        assert torch.allclose(found.nats, way.losses(model, chosen), atol=1e-5)


def test_hidden_states_are_what_the_head_reads():
    model = build(PACKABLE["llama"])
    forest = grow(tree_rows(2))
    with packed(model), torch.no_grad():
        states = score.hidden(model, forest)
        assert torch.allclose(model.lm_head(states)[forest.row], score.logits(model, forest))


@pytest.mark.parametrize("name", ["llama", *RECURRENT])
def test_row_losses_are_those_of_rows_alone(name):
    model = build((PACKABLE | RECURRENT)[name], torch.float32)
    rows = sequences(LENGTHS)
    together = row_losses(model, rows, micro_batch_tokens=25, progress=Silent())
    for row, (nats, weight) in zip(rows, together, strict=True):
        with torch.no_grad():
            expected = score.alone(model, grow([row], share=False)).sum().item()
        assert nats == pytest.approx(expected, rel=1e-4)
        assert weight == len(row) - 1


@pytest.mark.parametrize("name", ["llama", *RECURRENT])
def test_label_logits_are_those_of_rows_alone(name):
    model = build((PACKABLE | RECURRENT)[name], torch.float32)
    rows = sequences(LENGTHS)
    told = dict(label_logits(model, rows, micro_batch_tokens=25))
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
    batch = grow(sequences(LENGTHS), share=False)
    with torch.no_grad(), packed(model, labels_only=False):
        wrong = score.losses(model, batch)
    with torch.no_grad():
        right = score.alone(model, batch)
    assert (wrong - right).abs().max().item() > 1e-2


def test_the_budget_changes_nothing_but_the_number_of_calls():
    model = build(PACKABLE["llama"], torch.float32)
    rows = sequences(LENGTHS)
    few, many = (row_losses(model, rows, micro_batch_tokens=budget) for budget in (1, 1000))
    for one, other in zip(few, many, strict=True):
        assert math.isclose(one[0], other[0], rel_tol=1e-5)
        assert one[1] == other[1]


def test_half_precision_is_scored_in_float32():
    assert score.at_least_float32(torch.ones(1, dtype=torch.bfloat16)).dtype == torch.float32
    assert score.at_least_float32(torch.ones(1, dtype=torch.float64)).dtype == torch.float64
