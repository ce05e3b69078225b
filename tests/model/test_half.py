"""A base that is stored in bfloat16: its linear layers stay so, and nothing that it answers is another number."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import linear

from metier.core import artefact
from metier.core.errors import ModelError
from metier.model import load
from metier.model.adapt import adapt, stays_as_stored
from metier.model.find import Base, find
from metier.model.linear import quick
from metier.model.load import load_base, load_tuned
from metier.model.quantise.freeze import dequantise, narrow, quantise
from metier.model.quantise.half import HalfLinear
from metier.model.save import save_trained
from metier.model.settings import LoraSettings, ModelSettings
from metier.model.stored import is_in_bfloat16, stored_parameters
from tests.model.bases import CPU, GPT2, logits, relative, saved, write_base

SIZES = {"vocab_size": 268, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}
ARCHITECTURES = {
    "llama": {"attention_bias": True} | SIZES | HEADS,
    "qwen3": {"head_dim": 8} | SIZES | HEADS,
    "gemma3_text": {"head_dim": 8} | SIZES | HEADS,
    "mixtral": {"num_local_experts": 4} | SIZES | HEADS,
    "phi3": {"pad_token_id": 0} | SIZES | HEADS,
    "mamba": {"vocab_size": 268, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8},
    "opt": {
        "vocab_size": 268, "hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "word_embed_proj_dim": 32, "max_position_embeddings": 64,
    },
    "gpt2": GPT2,
}  # fmt: skip


def in_bfloat16(base: Base) -> Base:
    """Store a base again, every tensor in bfloat16."""
    for path in base.folder.glob("*.safetensors"):
        tensors = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(path).items()}
        save_file(tensors, str(path), metadata={"format": "pt"})
    return find(str(base.folder), base.folder)


@pytest.fixture
def half(tmp_path):
    return in_bfloat16(write_base(tmp_path / "half"))


def halves(model: torch.nn.Module) -> int:
    return sum(isinstance(layer, HalfLinear) for layer in model.modules())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_answers_exactly_as_in_float32(tmp_path, architecture):
    base = in_bfloat16(write_base(tmp_path / "base", {"model_type": architecture} | ARCHITECTURES[architecture]))
    model, plain = load_base(base, device=CPU, as_stored=True), load_base(base, device=CPU)
    assert halves(model) or architecture == "gpt2", "its layers are of a kind that keeps its weights the other way"
    with quick(model), quick(plain):  # both by the same products
        assert torch.equal(logits(model), logits(plain))
    assert {weight.dtype for weight in plain.parameters()} == {torch.float32}


def test_what_a_model_works_out_for_itself_is_not_rounded(tmp_path):
    """The planted fault is Gemma's scale of the embeddings, √32, which bfloat16 does not hold."""
    base = in_bfloat16(write_base(tmp_path / "base", {"model_type": "gemma3_text"} | ARCHITECTURES["gemma3_text"]))
    rounded = load._read(base.folder, torch.bfloat16)
    narrow(rounded)
    assert relative(logits(rounded.eval()), logits(load_base(base, device=CPU))) > 1e-5


def test_only_what_is_stored_so_is_loaded_so(tmp_path, half):
    other = write_base(tmp_path / "float32")
    assert not is_in_bfloat16(other.folder)
    assert not halves(load_base(other, device=CPU, as_stored=True))
    assert not halves(load_base(half, device=CPU))
    assert halves(load_base(half, device=CPU, as_stored=True)) == 2 * 7
    assert stored_parameters(half.folder) == stored_parameters(other.folder)


def test_without_weights_the_configuration_says_how_they_are_stored(tmp_path):
    (tmp_path / "config.json").write_text('{"dtype": "bfloat16"}')
    assert is_in_bfloat16(tmp_path)
    (tmp_path / "config.json").write_text('{"torch_dtype": "float32"}')
    assert not is_in_bfloat16(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00not a header at all")
    with pytest.raises(ModelError, match="header is not readable"):
        is_in_bfloat16(tmp_path)


def test_the_layers_take_half_and_the_rest_is_whole(half):
    model = load_base(half, device=CPU, as_stored=True)
    layers = [layer for layer in model.modules() if isinstance(layer, HalfLinear)]
    assert all(weight.dtype == torch.bfloat16 for layer in layers for weight in layer.parameters())
    inside = {id(weight) for layer in layers for weight in layer.parameters()}
    assert all(weight.dtype == torch.float32 for weight in model.parameters() if id(weight) not in inside)
    assert model.dtype == torch.float32


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_the_layer_and_its_gradient_are_those_of_the_weights(kind):
    weight, bias = torch.randn(48, 32).bfloat16(), torch.randn(48).bfloat16()
    x = torch.randn(2, 5, 32, dtype=kind, requires_grad=True)
    same = x.detach().clone().requires_grad_()
    expected, output = linear(same, weight.to(kind), bias.to(kind)), HalfLinear(weight, bias)(x)
    outside = torch.randn_like(expected)
    (expected * outside).sum().backward()
    (output * outside).sum().backward()
    tolerance = {torch.float32: 1e-6, torch.float64: 1e-15}[kind]
    assert relative(output, expected) < tolerance
    assert relative(x.grad, same.grad) < tolerance


def test_lora_beside_it_learns_what_it_learns_beside_float32(half):
    """In float64, from the same random start: the adapters are not rounded to the format of what they stand beside."""
    settings = ModelSettings(method="lora", rank=4, quantise="bfloat16")
    ids = torch.randint(7, 60, (2, 12), generator=torch.Generator().manual_seed(5))
    gradients = []
    for as_stored in (True, False):
        model = adapt(load_base(half, device=CPU, as_stored=as_stored), half, "lora", settings, seed=0)
        for weight in model.parameters():
            if weight.dtype == torch.float32:
                weight.data = weight.data.double()
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "lora_B" in name:
                    weight.add_(0.1)
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        gradients.append(torch.cat([w.grad.flatten() for w in model.parameters() if w.requires_grad]))
        assert bool(halves(model)) is as_stored
    assert relative(*gradients) < 1e-12


def test_put_into_float32_again_it_is_the_base(half):
    model, plain = dequantise(load_base(half, device=CPU, as_stored=True)), load_base(half, device=CPU)
    assert not halves(model)
    assert all(torch.equal(weight, plain.get_parameter(name)) for name, weight in model.named_parameters())


def test_fewer_bits_are_the_same_from_there(half):
    stored, plain = (load_base(half, device=CPU, as_stored=way).requires_grad_(False) for way in (True, False))
    assert torch.equal(logits(quantise(stored, "int8", CPU)), logits(quantise(plain, "int8", CPU)))
    assert not halves(stored)


def test_an_adapter_comes_back_with_its_base_as_it_is_stored(half, tmp_path):
    model = adapt(load_base(half, device=CPU), half, "lora", ModelSettings(method="lora", rank=4), seed=0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_()
    folder = saved(model, half, tmp_path / "adapter")
    assert not halves(load_tuned(half, folder, device=CPU))
    with quick(model):
        expected = logits(model.eval())
    back = quantise(load_tuned(half, folder, device=CPU), "bfloat16", CPU)
    assert halves(back) == 2 * 7
    with quick(back):
        assert relative(logits(back), expected) < 1e-6


@pytest.mark.parametrize("kind", ["bfloat16", "int8"])
def test_a_linear_layer_that_was_trained_whole_comes_back(half, tmp_path, kind):
    """The planted fault: a layer in bfloat16 has no weight that could be put back."""
    settings = ModelSettings(method="lora", rank=4, quantise=kind, lora=LoraSettings(save_modules=("o_proj",)))
    settings = settings.model_copy(update={"targets": ("q_proj",)})
    model = quantise(adapt(load_base(half, device=CPU), half, "lora", settings, seed=0), kind, CPU).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.2 * torch.randn_like(weight))
    facts = {"base": half.name, "base_digest": half.digest, "quantise": kind}
    with artefact.publish(tmp_path / "model", kind="model", facts=facts) as folder:
        save_trained(model, half, folder)
    assert torch.equal(logits(load_tuned(half, tmp_path / "model", device=CPU)), logits(model))


def test_layers_whose_weights_are_needed_do_not_stay():
    plain, wished = ModelSettings(), ModelSettings(quantise="bfloat16")
    assert stays_as_stored("lora", plain, bfloat16=True)
    assert stays_as_stored("lora", wished, bfloat16=False)
    assert not stays_as_stored("lora", plain, bfloat16=False)
    for method in ("full", "layers", "peft"):
        assert not stays_as_stored(method, plain, bfloat16=True)
    for lora in (LoraSettings(dora=True), LoraSettings(init="pissa"), LoraSettings(save_modules=("norm",))):
        assert not stays_as_stored("lora", ModelSettings(lora=lora), bfloat16=True)
