"""Objectives that need whole distributions, over trunks with labels: the padded step's gradient, no head run twice."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.nn.modules.module import register_module_forward_hook

from metier.forest.arrange import arrange
from metier.forest.attend import inner_model, packed
from metier.forest.grow import grow
from metier.forest.way import Way
from metier.train.loop import Arithmetic, step
from metier.train.objectives.distil import Distil
from metier.train.objectives.regularised import BaseModel, Regularised
from metier.train.objectives.supervised import Supervised
from metier.train.settings import RegulariseSettings
from metier.train.verify.exact import Exactly, widen
from tests.forest.architectures import PACKABLE, VOCABULARY, build
from tests.forest.trees import gradients, tree_rows

CPU = Arithmetic(device=torch.device("cpu"))
KINDS = ["words", "smoothed", "pulled", "distilled"]
PULL = RegulariseSettings(kl_to_base=0.5)
SMOOTH = RegulariseSettings(label_smoothing=0.2)


def made(name):
    """A model of an architecture that computes in float64 throughout, and the same at every call."""
    kind, values = PACKABLE[name]
    dropped = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0} if name == "gpt2" else {}
    model = build((kind, values | dropped))
    widen(model)
    return model


def rows_of(kind):
    """Rows with labels on what they share; the teacher of each reads a beginning of its own."""
    rows = tree_rows(5, depth=3, fan=3)[:-1]
    if kind != "distilled":
        return rows
    random = np.random.default_rng(1)
    return [replace(row, partner=behind(row, random.integers(3, VOCABULARY, 3 + n % 3))) for n, row in enumerate(rows)]


def behind(row, prompt):
    ids = np.concatenate([row.ids[:1], prompt, row.ids[1:]]).astype(np.int32)
    weights = np.concatenate([np.zeros(1 + len(prompt)), row.weights[1:]]).astype(np.float32)
    return replace(row, ids=ids, weights=weights)


def objective(kind, model, name):
    way = Way(labels_only=name != "gpt2", plain_head=False)
    plain = Supervised(way)
    if kind == "smoothed":
        return Regularised(plain, SMOOTH, way, base=None)
    if kind == "pulled":
        return Regularised(plain, PULL, way, base=BaseModel(model, way))
    return Distil(BaseModel(model, way), way, budget=50) if kind == "distilled" else plain


def alone(model, row):
    """The logits at the labels of a row, by the library's own forward pass."""
    places = np.flatnonzero(row.weights)
    ids = torch.from_numpy(row.ids.astype(np.int64))[None]
    return model(input_ids=ids, use_cache=False).logits[0, places - 1], ids[0, places], row.weights[places]


def plain_loss(kind, model, base, rows):
    """The same objective without a forest: every row alone, every head of its own."""
    total = 0.0
    for row in rows:
        logits, tokens, weights = alone(model, row)
        smoothing = 0.2 if kind == "smoothed" else 0.0
        nats = cross_entropy(logits, tokens, reduction="none", label_smoothing=smoothing)
        if kind in {"pulled", "distilled"}:
            with torch.no_grad():
                expected = torch.log_softmax(alone(base, row.partner or row)[0], dim=-1)
            apart = (expected.exp() * (expected - torch.log_softmax(logits, dim=-1))).sum(dim=-1)
            nats = apart if kind == "distilled" else nats + 0.5 * apart
        total = total + (nats * torch.from_numpy(weights)).sum()
    return total / sum(float(row.weights.sum()) for row in rows)


@pytest.mark.parametrize("name", PACKABLE)
@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_that_of_the_rows_alone_and_every_head_runs_once(kind, name):
    model, base, rows = made(name), made(name), rows_of(kind)
    chosen = objective(kind, model, name)
    torch.manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * weight.abs().mean() * torch.randn_like(weight))
    model.train()
    with Exactly():
        plain = plain_loss(kind, model, base, rows)
        plain.backward()
    expected, places = gradients(model), len(grow(rows).source)
    seen: list[int] = []
    head = inner_model(model).get_output_embeddings()
    head.register_forward_hook(lambda module, args, output: seen.append(args[0].shape[1]))
    for budget in (10_000, 60, 20, 1):
        seen.clear()
        work = arrange(rows, budget)
        assert any(len(forest.held) for _, forest in work.forests) == (budget < 10_000)
        with Exactly(), packed(model, labels_only=name != "gpt2"):
            log = step(model, chosen, work, torch.optim.SGD(model.parameters(), lr=0.0), clip=0, arithmetic=CPU)
        assert sum(seen) == places
        assert log.loss == pytest.approx(plain.item(), rel=1e-9)
        assert ((gradients(model) - expected).norm() / expected.norm()).item() <= 1e-9


def test_a_teacher_reads_its_long_prompt_once_for_all_steps():
    model = made("llama")
    prompt, first = np.random.default_rng(2).integers(3, VOCABULARY, 40), tree_rows(5, depth=1, fan=3)[0].ids[0]
    rows = [replace(row, partner=behind(row, prompt)) for row in tree_rows(5, depth=1, fan=3) if row.ids[0] == first]
    chosen, read = objective("distilled", model, "llama"), []
    hook = register_module_forward_hook(
        lambda module, args, output: read.append(args[0].numel()) if isinstance(module, torch.nn.Embedding) else None
    )
    counts = []
    try:
        for _ in range(3):
            read.clear()
            with Exactly(), packed(model):
                step(
                    model, chosen, arrange(rows, 10_000), torch.optim.SGD(model.parameters(), lr=0.1), clip=0,
                    arithmetic=CPU,
                )  # fmt: skip
            counts.append(sum(read))
    finally:
        hook.remove()
    assert counts[1] == counts[2]
    assert counts[0] - counts[1] >= len(prompt)
