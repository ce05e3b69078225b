"""What trains is exactly what the settings say."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from metier.core.errors import SettingsError
from metier.model import adapt as adapting
from metier.model.adapt import adapt, choose_method, count_parameters
from metier.model.find import find_config
from metier.model.layers import decoder_layers
from metier.model.load import load_base, load_tuned
from metier.model.settings import ModelSettings
from tests.model.bases import CPU, GPT2, adapted, found, logits, relative, saved, write_base


@pytest.mark.parametrize(
    "values",
    [
        {"lora": {"inti": "pissa"}},
        {"lora": {"rank_pattern": {"q_proj": 0}}},
        {"lora": {"alpha_pattern": {"q_proj": 0}}},
        {"bottleneck": {"width": 0}},
        {"virtual": {"tokens": 0}},
        {"virtual": {"projection": 0}},
        {"peft": {"config": {}}},
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(values):
    with pytest.raises(ValidationError):
        ModelSettings.model_validate(values)


def trains(model: torch.nn.Module) -> set[str]:
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


def prepared(base, method, **settings):
    chosen = ModelSettings.model_validate({"method": method} | settings)
    return adapt(load_base(base, device=CPU), base, method, chosen, seed=0)


def moved(model: torch.nn.Module) -> set[str]:
    """Take one real step and return the names of the parameters that it changed."""
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimiser = torch.optim.SGD([weight for weight in model.parameters() if weight.requires_grad], lr=0.1)
    ids = torch.randint(7, 60, (2, 12), generator=torch.Generator().manual_seed(5))
    model.train()
    for _ in range(2):
        optimiser.zero_grad()
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        optimiser.step()
    return {name for name, weight in model.named_parameters() if not torch.equal(before[name], weight)}


def test_full_trains_everything(tiny_base):
    model = prepared(found(tiny_base), "full")
    assert moved(model) == trains(model) == {name for name, _ in model.named_parameters()}


def test_lora_trains_adapters_of_every_linear_layer_but_the_head(tiny_base):
    model = prepared(found(tiny_base), "lora")
    names = trains(model)
    assert moved(model) == names
    assert all("lora_" in name for name in names)
    assert len(names) == 2 * 2 * 7
    assert not any("lm_head" in name for name in names)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [("top-third", [1]), ("top-half", [1]), ((0,), [0]), ((0, 1), [0, 1])],
)
def test_layers_trains_the_chosen_layers_and_the_final_norm(tiny_base, chosen, expected):
    model = prepared(found(tiny_base), "layers", layers=chosen)
    names = {
        name
        for name, _ in model.named_parameters()
        if any(f"layers.{number}." in name for number in expected) or name == "model.norm.weight"
    }
    assert moved(model) == trains(model) == names


def test_parts_of_the_top_differ_when_there_are_layers_enough(tmp_path):
    base = write_base(tmp_path / "base", num_hidden_layers=6)
    half, third = (trains(prepared(base, "layers", layers=part)) for part in ("top-half", "top-third"))
    assert {name.split(".")[2] for name in half if ".layers." in name} == {"3", "4", "5"}
    assert {name.split(".")[2] for name in third if ".layers." in name} == {"4", "5"}


def test_other_architectures_have_layers_and_a_final_norm_too(tmp_path):
    base = write_base(tmp_path / "base", GPT2)
    model = prepared(base, "layers", layers=(1,))
    names = trains(model)
    assert {"transformer.ln_f.weight", "transformer.ln_f.bias"} <= names
    assert all(name.startswith(("transformer.ln_f.", "transformer.h.1.")) for name in names)
    assert moved(model) == names


@pytest.mark.parametrize("chosen", [(2,), (-1,), (), (0, 7)])
def test_layers_that_are_not_there_are_refused(tiny_base, chosen):
    with pytest.raises(SettingsError, match="layer numbers from 0 to 1"):
        prepared(found(tiny_base), "layers", layers=chosen)


def test_a_model_without_a_list_of_layers_is_refused(tiny_base):
    model = load_base(found(tiny_base), device=CPU)
    model.config.num_hidden_layers = 17
    with pytest.raises(SettingsError, match="no list of 17 layers"):
        decoder_layers(model)


def test_rank_is_the_width_of_the_adapter(tiny_base):
    counts = {
        rank: count_parameters(prepared(found(tiny_base), "lora", rank=rank), trained_only=True) for rank in (2, 6)
    }
    assert counts[6] == 3 * counts[2]


def test_alpha_scales_the_update_and_null_is_twice_the_rank(tiny_base):
    base = found(tiny_base)
    plain = logits(load_base(base, device=CPU))
    by_default, same, more = (logits(adapted(base, rank=4, alpha=alpha, strength=0.05)) for alpha in (None, 8.0, 32.0))
    assert torch.equal(by_default, same)
    assert relative(more, plain) > 1.5 * relative(by_default, plain)


def test_dropout_acts_while_training_only(tiny_base):
    base = found(tiny_base)
    without, with_dropout = adapted(base, dropout=0.0), adapted(base, dropout=0.5)
    assert torch.equal(logits(without), logits(with_dropout))
    torch.manual_seed(0)
    assert torch.equal(logits(without.train()), logits(without))
    assert not torch.equal(logits(with_dropout.train()), logits(with_dropout))


@pytest.mark.parametrize(
    ("targets", "count"),
    [(("q_proj",), 2), (("q_proj", "v_proj"), 4), (("mlp.up_proj",), 2), (("layers.1.mlp.up_proj", "q_proj"), 3)],
)
def test_targets_are_what_gets_an_adapter(tiny_base, targets, count):
    names = trains(prepared(found(tiny_base), "lora", targets=targets))
    assert len(names) == 2 * count
    assert all(any(target in name for target in targets) for name in names)


def test_targets_of_gpt2_are_found_although_they_are_no_linear_layers(tmp_path):
    base = write_base(tmp_path / "base", GPT2)
    model = prepared(base, "lora", targets=("c_attn",))
    assert len(trains(model)) == 4
    assert moved(model) == trains(model)


ROUTED = {"model_type": "llama4_text", "num_local_experts": 2, "moe_layers": [1], "intermediate_size_mlp": 48}


@pytest.mark.parametrize("values", [{"method": "lora"}, {"method": "peft", "peft": {"type": "loha"}}], ids=str)
def test_what_is_linear_to_the_library_but_returns_more_gets_no_adapter(tmp_path, values):
    """Llama 4's router is such a layer: an adapter beside it would have to add a matrix to a pair."""
    sizes = {"vocab_size": 268, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "head_dim": 8}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
    base = write_base(tmp_path / "base", ROUTED | sizes | heads)
    model = adapted(base, **values)
    assert not any("router" in name for name in trains(model))
    assert any("shared_expert" in name for name in trains(model))
    assert torch.isfinite(logits(model)).all()
    reloaded = load_tuned(base, saved(model, base, tmp_path / "model"), device=CPU)
    assert relative(logits(reloaded), logits(model)) < 1e-6
    with pytest.raises(SettingsError, match=r"model\.targets: router not in .*wanted: some of down_proj"):
        prepared(base, "lora", targets=("router",))


MAMBA = {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "vocab_size": 268}
READ_PAST: dict[str, tuple[dict[str, Any], set[str]]] = {
    "mamba": (MAMBA, {"in_proj", "x_proj"}),
    "mamba2": (MAMBA | {"num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 8}, {"in_proj"}),
}


@pytest.mark.parametrize("kind", READ_PAST)
def test_every_adapter_beside_a_state_space_has_a_gradient(tmp_path, kind):
    """Mamba reads the weights of some linear layers past them: what stands beside those would learn nothing."""
    sizes, expected = READ_PAST[kind]
    model = adapted(write_base(tmp_path / "base", {"model_type": kind} | sizes), "lora")
    model(input_ids=torch.arange(20).view(2, 10), use_cache=False).logits.square().mean().backward()
    without = [name for name, weight in model.named_parameters() if weight.requires_grad and not weight.grad.any()]
    assert not without
    assert {name.split(".")[-4] for name in trains(model)} == expected


@pytest.mark.parametrize(
    "targets", [("query",), ("q_proj", "querry"), ("q_proj", "layers.9.k_proj"), ("embed_tokens",)]
)
def test_a_target_that_names_nothing_is_refused(tiny_base, targets):
    with pytest.raises(SettingsError, match=r"model\.targets: .*wanted: some of down_proj, gate_proj"):
        prepared(found(tiny_base), "lora", targets=targets)


def test_a_head_that_is_the_embedding_too_is_refused(tiny_base, tmp_path):
    with pytest.raises(SettingsError, match="lm_head shares its weights with the embedding"):
        prepared(found(tiny_base), "lora", targets=("q_proj", "lm_head"))
    base = write_base(tmp_path / "base", tie_word_embeddings=False)
    assert any("lm_head" in name for name in trains(prepared(base, "lora", targets=("lm_head",))))


def test_the_start_of_adapters_is_a_function_of_the_seed(tiny_base):
    base = found(tiny_base)

    def start(seed: int) -> torch.Tensor:
        model = adapt(load_base(base, device=CPU), base, "lora", ModelSettings(), seed=seed)
        return torch.cat([weight.flatten() for name, weight in model.named_parameters() if "lora_A" in name])

    first = start(0)
    torch.manual_seed(77)
    assert torch.equal(first, start(0))
    assert not torch.equal(first, start(1))


def test_an_adapter_starts_without_effect(tiny_base):
    base = found(tiny_base)
    assert torch.equal(logits(prepared(base, "lora")), logits(load_base(base, device=CPU)))


def test_gradient_checkpointing_recomputes_and_changes_no_gradient(tiny_base):
    calls: list[int] = []
    gradients = []
    for checkpointing in (False, True):
        model = prepared(found(tiny_base), "full").train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        count: list[int] = []
        decoder_layers(model)[0].mlp.register_forward_pre_hook(lambda *_, count=count: count.append(1))
        ids = torch.arange(7, 19)[None]
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        gradients.append(model.get_input_embeddings().weight.grad.clone())
        calls.append(len(count))
    assert calls == [1, 2]
    assert relative(*gradients) < 1e-5


def test_save_precision_is_the_format_of_whole_weights_on_disk(tiny_base, tmp_path):
    base = found(tiny_base)
    model = adapted(base, "full", strength=0.05)
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        folder = saved(model, base, tmp_path / name, precision=name)
        assert {tensor.dtype for tensor in load_file(str(folder / "model.safetensors")).values()} == {dtype}
    folder = saved(adapted(base), base, tmp_path / "adapter", precision="bfloat16")
    assert {t.dtype for t in load_file(str(folder / "adapter_model.safetensors")).values()} == {torch.float32}


def test_auto_goes_by_size_and_says_so(tiny_base, monkeypatch):
    base = found(tiny_base)
    model = load_base(base, device=CPU)
    method, choice = choose_method(model, base, ModelSettings())
    assert method == choice.value == "full"
    assert "million parameters, below 50 million" in choice.reason
    monkeypatch.setattr(adapting, "_FULL_BELOW", 1000)
    method, choice = choose_method(model, base, ModelSettings())
    assert method == "lora"
    assert "at least" in choice.reason
    assert choose_method(model, base, ModelSettings(method="layers"))[0] == "layers"


def test_random_weights_train_whole_or_not_at_all(tiny_base):
    base = find_config(str(tiny_base), tiny_base)
    model = load_base(base, device=CPU)
    assert choose_method(model, base, ModelSettings())[0] == "full"
    for method in ("lora", "layers"):
        with pytest.raises(SettingsError, match="random weights"):
            choose_method(model, base, ModelSettings.model_validate({"method": method}))


def test_tied_weights_are_counted_once(tiny_base, tmp_path):
    tied = count_parameters(load_base(found(tiny_base), device=CPU))
    untied = count_parameters(load_base(write_base(tmp_path / "base", tie_word_embeddings=False), device=CPU))
    assert untied - tied == 268 * 32


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"method": "lora", "lora": {"init": "olora"}}, r"model\.lora\.init olora"),
        ({"method": "lora", "lora": {"dora": True}}, r"model\.lora\.dora"),
        ({"method": "peft", "peft": {"type": "oft"}}, r"model\.method peft"),
    ],
)
def test_a_base_of_few_bits_is_refused_where_its_weights_are_read(tiny_base, values, words):
    with pytest.raises(SettingsError, match=rf"model\.quantise 'int8' with {words}; wanted: .* only adds"):
        prepared(found(tiny_base), values.pop("method"), quantise="int8", **values)
