"""Every setting of the model, however deep, changes what is trained: a setting without an entry here fails."""

from typing import Any

import pytest
import torch

from metier.core.settings import Settings
from metier.model.adapt import adapt
from metier.model.load import load_base
from metier.model.quantise.freeze import quantise
from metier.model.settings import ModelSettings
from tests.model.bases import CPU, found
from tests.train.test_liveness import leaves

Values = dict[str, Any]

LORA: Values = {"method": "lora", "rank": 4}
NITER: Values = LORA | {"lora": {"init": "pissa-niter", "init_iterations": 0}}
BOTTLENECK: Values = {"method": "bottleneck", "bottleneck": {"width": 8}}
PREFIX: Values = {"method": "prefix", "virtual": {"tokens": 4}}
PROMPT: Values = {"method": "prompt", "virtual": {"tokens": 4}}
LOHA: Values = {"method": "peft", "peft": {"type": "loha", "config": {"r": 4}}}

CHANGES: dict[str, tuple[Values, Values]] = {
    "method": (LORA, {"method": "ia3"}),
    "rank": (LORA, {"rank": 2}),
    "alpha": (LORA, {"alpha": 32.0}),
    "dropout": (LORA, {"dropout": 0.5}),
    "targets": (LORA, {"targets": ("q_proj",)}),
    "layers": ({"method": "layers"}, {"layers": (0,)}),
    "lora.init": (LORA, {"lora": {"init": "gaussian"}}),
    "lora.init_iterations": (NITER, {"lora": {"init": "pissa-niter", "init_iterations": 24}}),
    "lora.rslora": (LORA, {"lora": {"rslora": True}}),
    "lora.dora": (LORA, {"lora": {"dora": True}}),
    "lora.rank_pattern": (LORA, {"lora": {"rank_pattern": {"q_proj": 2}}}),
    "lora.alpha_pattern": (LORA, {"lora": {"alpha_pattern": {"q_proj": 2.0}}}),
    "lora.save_modules": (LORA, {"lora": {"save_modules": ("norm",)}}),
    "bottleneck.width": (BOTTLENECK, {"bottleneck": {"width": 4}}),
    "bottleneck.places": (BOTTLENECK, {"bottleneck": {"width": 8, "places": "mlp"}}),
    "bottleneck.activation": (BOTTLENECK, {"bottleneck": {"width": 8, "activation": "relu"}}),
    "virtual.tokens": (PREFIX, {"virtual": {"tokens": 2}}),
    "virtual.text": (PROMPT, {"virtual": {"tokens": 4, "text": "Answer in one word."}}),
    "virtual.projection": (PREFIX, {"virtual": {"tokens": 4, "projection": 16}}),
    "peft.type": (LOHA, {"peft": {"type": "lokr", "config": {"r": 4}}}),
    "peft.config": (LOHA, {"peft": {"type": "loha", "config": {"r": 2}}}),
    "quantise": (LORA, {"quantise": "int8"}),
}
"""Setting -> what it is compared with, and a change of it."""

ELSEWHERE = {"frozen_cache_gb", "gradient_checkpointing", "save_precision", "precision"}
"""They leave what is learnt as it is, or belong to the loop: shown by tests/train/test_frozen.py, test_adapt.py (two)
and tests/train/test_options.py."""


def test_every_setting_has_an_entry():
    assert set(CHANGES) | ELSEWHERE == set(leaves(ModelSettings))
    assert not set(CHANGES) & ELSEWHERE


def test_a_setting_without_an_entry_is_found():
    class Deeper(Settings):
        new: int = 1
        """New."""

    class Grown(ModelSettings):
        deeper: Deeper = Deeper()
        """Deeper."""

    assert set(leaves(Grown)) - set(CHANGES) - ELSEWHERE == {"deeper.new"}


def learnt(base: Any, values: Values) -> dict[str, bytes]:
    """Take two steps and return all that trains."""
    chosen = ModelSettings.model_validate(values)
    model = quantise(adapt(load_base(base, device=CPU), base, chosen.method, chosen, seed=0), chosen.quantise, CPU)
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    optimiser = torch.optim.SGD(list(trained.values()), lr=0.5)
    ids = torch.randint(7, 60, (2, 12), generator=torch.Generator().manual_seed(5))
    model.train()
    torch.manual_seed(1)
    for _ in range(2):
        optimiser.zero_grad()
        said = model(input_ids=ids, use_cache=False).logits[:, :-1]
        torch.nn.functional.cross_entropy(said.flatten(0, 1), ids[:, 1:].flatten()).backward()
        optimiser.step()
    return {name: weight.detach().numpy().tobytes() for name, weight in trained.items()}


@pytest.mark.parametrize("name", CHANGES)
def test_every_setting_changes_what_is_learnt(name, tiny_base):
    base, (beside, change) = found(tiny_base), CHANGES[name]
    assert learnt(base, beside) == learnt(base, beside), "the same settings learn the same"
    assert learnt(base, beside) != learnt(base, beside | change)
