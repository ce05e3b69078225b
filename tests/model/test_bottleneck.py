"""Bottleneck modules: where they stand, what they compute, how they are saved, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from metier.core.errors import ModelError, SettingsError
from metier.model.adapter import BOTTLENECK_CONFIG, BOTTLENECK_WEIGHTS
from metier.model.load import load_base, load_tuned
from metier.model.settings import BottleneckSettings
from metier.model.ways.bottleneck import add_bottlenecks, blocks, bottlenecks
from tests.model.bases import CPU, GPT2, adapted, change_json, found, logits, relative, saved, write_base
from tests.model.ways import everything, fresh

SMALL = {"width": 8}


def small(base, strength=0.2, dropout=0.0, **chosen):
    return adapted(base, "bottleneck", strength=strength, dropout=dropout, bottleneck=SMALL | chosen)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize(("places", "count"), [("both", 4), ("attention", 2), ("mlp", 2)])
def test_places_are_the_blocks_of_every_layer(tiny_base, tmp_path, architecture, places, count):
    base = found(tiny_base) if architecture == "llama" else write_base(tmp_path / "base", GPT2)
    model = fresh(base, {"method": "bottleneck", "bottleneck": SMALL | {"places": places}})
    names = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert len(names) == 4 * count
    assert {part for name in names for part in ("attn", "mlp") if part in name} == (
        {"attn", "mlp"} if places == "both" else {"attn" if places == "attention" else "mlp"}
    )


def test_the_base_keeps_its_names_and_numbers_and_starts_as_it_was(tiny_base):
    base = found(tiny_base)
    plain, model = load_base(base, device=CPU), fresh(base, {"method": "bottleneck"})
    after = everything(model)
    assert all(torch.equal(tensor, after[name]) for name, tensor in everything(plain).items())
    assert torch.equal(logits(model), logits(plain))


def test_width_is_the_size_of_the_middle(tiny_base):
    for width in (3, 5):
        model = fresh(found(tiny_base), {"method": "bottleneck", "bottleneck": {"width": width}})
        assert {tuple(module.down.weight.shape) for module in bottlenecks(model)} == {(width, 32)}


def test_activation_and_places_change_the_answers(tiny_base):
    base = found(tiny_base)
    answers = [
        logits(small(base, **chosen))
        for chosen in ({}, {"activation": "relu"}, {"activation": "silu"}, {"places": "mlp"})
    ]
    assert all(relative(other, answers[0]) > 1e-3 for other in answers[1:])


def test_dropout_acts_while_training_only(tiny_base):
    base = found(tiny_base)
    without, dropping = small(base), small(base, dropout=0.5)
    assert torch.equal(logits(without), logits(dropping))
    torch.manual_seed(0)
    assert torch.equal(logits(without.train()), logits(without))
    assert not torch.equal(logits(dropping.train()), logits(dropping))


def test_checkpointing_recomputes_the_modules_too(tiny_base):
    gradients = []
    for checkpointing in (False, True):
        model = small(found(tiny_base)).train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
            model.enable_input_require_grads()
        ids = torch.arange(7, 19)[None]
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        gradients.append(torch.cat([module.down.weight.grad.flatten() for module in bottlenecks(model)]))
    assert relative(*gradients) < 1e-5


def test_switched_off_modules_leave_the_base(tiny_base):
    base = found(tiny_base)
    model = small(base)
    assert relative(logits(model), logits(load_base(base, device=CPU))) > 1e-2
    for module in bottlenecks(model):
        module.enabled = False
    assert torch.equal(logits(model), logits(load_base(base, device=CPU)))


def test_a_mixture_has_blocks_too_and_each_is_taken_once():
    class GraniteMoeAttention(torch.nn.Linear): ...

    class SparseMoeBlock(torch.nn.Linear): ...

    class Toy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            layer = torch.nn.ModuleDict(
                {"self_attn": GraniteMoeAttention(4, 4), "block_sparse_moe": SparseMoeBlock(4, 4)}
            )
            self.layers = torch.nn.ModuleList([layer])
            self.config = self

        def get_text_config(self):
            return type("Config", (), {"num_hidden_layers": 1, "hidden_size": 4})

    assert [name for name, _ in blocks(Toy(), "attention")] == ["layers.0.self_attn"]
    assert [name for name, _ in blocks(Toy(), "mlp")] == ["layers.0.block_sparse_moe"]


def test_an_architecture_without_such_blocks_is_refused(tiny_base):
    model = load_base(found(tiny_base), device=CPU)
    for layer in model.model.layers:
        layer.mlp = torch.nn.Identity()
    with pytest.raises(SettingsError, match=r"model\.bottleneck\.places: no mlp blocks in LlamaForCausalLM"):
        add_bottlenecks(model, BottleneckSettings(places="mlp"))


@pytest.fixture(scope="module")
def kept(tiny_base, tmp_path_factory) -> tuple[Path, torch.Tensor]:
    base = found(tiny_base)
    model = small(base, activation="relu", places="mlp")
    return saved(model, base, tmp_path_factory.mktemp("bottleneck") / "model"), logits(model)


def test_it_comes_back_as_it_was(tiny_base, kept):
    folder, expected = kept
    model = load_tuned(found(tiny_base), folder, device=CPU)
    assert not model.training
    assert torch.equal(logits(model), expected)
    facts = json.loads((folder / BOTTLENECK_CONFIG).read_text())
    assert facts == {"format": 1, "base": tiny_base.name, "width": 8, "places": "mlp", "activation": "relu"}
    assert len(load_file(str(folder / BOTTLENECK_WEIGHTS))) == 8


def zero_up(tensors):
    return {name: torch.zeros_like(tensor) if ".up." in name else tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors: {}, "8 places found no tensor"),
        (zero_up, "none of which changes the base"),
        (lambda tensors: tensors | {"surprise": torch.ones(2)}, "1 tensors found no place"),
        (lambda tensors: dict(list(tensors.items())[1:]), "1 places found no tensor"),
        (lambda tensors: {name: tensor[:1] for name, tensor in tensors.items()}, "the modules do not fit"),
    ],
)
def test_modules_with_no_or_half_an_effect_are_refused(tiny_base, kept, tmp_path, change, words):
    folder = Path(shutil.copytree(kept[0], tmp_path / "model"))
    tensors = load_file(str(folder / BOTTLENECK_WEIGHTS))
    save_file(change(tensors), str(folder / BOTTLENECK_WEIGHTS))
    with pytest.raises(ModelError) as caught:
        load_tuned(found(tiny_base), folder, device=CPU)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "changes", [{"format": 2}, {"width": "a"}, {"width": 3}, {"places": "nowhere"}, {"evil": 1}], ids=str
)
def test_a_broken_description_is_refused(tiny_base, kept, tmp_path, changes):
    folder = Path(shutil.copytree(kept[0], tmp_path / "model"))
    change_json(folder / BOTTLENECK_CONFIG, **changes)
    with pytest.raises((ModelError, SettingsError)):
        load_tuned(found(tiny_base), folder, device=CPU)
