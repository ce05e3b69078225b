"""A hostile config.json never reaches the library: no code, no kernels, no places, no impossible numbers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM

from metier.core.errors import ModelError
from metier.model.configuration import read_config
from metier.model.find import find_config
from metier.model.load import load_base
from tests.conftest import write_config
from tests.model.bases import CPU, copied, found, logits

HOSTILE: dict[str, Any] = {
    "auto_map": {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"},
    "trust_remote_code": True,
    "name_or_path": "somebody/else",
    "_name_or_path": "somebody/else",
    "attn_implementation": "somebody/kernel",
    "_attn_implementation": "somebody/kernel",
    "_attn_implementation_internal": "somebody/kernel",
    "experts_implementation": "somebody/kernel",
    "_experts_implementation": "somebody/kernel",
    "_experts_implementation_internal": "somebody/kernel",
    "custom_pipelines": {"evil": {"impl": "evil.Evil"}},
    "quantization_config": {"quant_method": "somebody"},
    "_commit_hash": "0" * 40,
    "anything_else": {"__import__": "os"},
}
EVIL = "from pathlib import Path\nPath(__file__).with_name('ran').touch()\nclass Evil: pass\n"


def everything(value: Any) -> str:
    return repr(vars(value)) + repr(value.to_dict())


@pytest.mark.parametrize("name", HOSTILE)
def test_what_names_code_or_places_is_dropped(tiny_base, tmp_path, name):
    folder = copied(tiny_base, tmp_path)
    write_config(folder, **{name: HOSTILE[name]})
    text = everything(read_config(folder))
    for word in ("somebody", "evil", "Evil", "000000", "__import__"):
        assert word not in text


def test_the_planted_words_would_be_seen(tiny_base, tmp_path):
    """The planted fault of the test above: the library's own class takes what it is given."""
    from transformers import LlamaConfig

    raw = json.loads((tiny_base / "config.json").read_text())
    assert "somebody" in everything(LlamaConfig(**raw, _name_or_path="somebody/else"))
    assert "evil" in everything(LlamaConfig(**raw, auto_map={"AutoConfig": "evil.Evil"}))


def test_a_model_with_every_trick_at_once_loads_as_what_it_is(tiny_base, tmp_path):
    folder = copied(tiny_base, tmp_path)
    write_config(folder, **HOSTILE)
    for name in ("evil.py", "modeling_llama.py", "configuration_llama.py"):
        (folder / name).write_text(EVIL)
    model = load_base(found(folder), device=CPU)
    assert not (folder / "ran").exists()
    assert type(model).__module__ == "transformers.models.llama.modeling_llama"
    assert torch.equal(logits(model), logits(load_base(found(tiny_base), device=CPU)))


def test_a_configuration_inside_a_configuration_is_cleaned_as_well(tmp_path):
    inner = {"vocab_size": 64, "hidden_size": 32, "_attn_implementation_internal": "somebody/kernel"}
    inner |= {"auto_map": HOSTILE["auto_map"], "rope_parameters": {"_name_or_path": "somebody", "rope_type": "default"}}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gemma3", "text_config": inner}))
    config = read_config(tmp_path)
    assert config.get_text_config().hidden_size == 32
    assert "somebody" not in everything(config) + everything(config.get_text_config())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vocab_size": 10**30}, "vocab_size is 1e+30"),
        ({"hidden_size": 2**40}, "hidden_size is 1.1e+12"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1e+09; wanted: at most 4,096"),
        ({"max_position_embeddings": -(10**12)}, "max_position_embeddings"),
        ({"rope_scaling": {"factor": float("nan"), "rope_type": "linear"}}, "rope_scaling.factor is not a number"),
        ({"initializer_range": float("nan")}, "initializer_range is not a number"),
    ],
)
def test_impossible_numbers_are_refused_before_the_library_counts(tiny_base, tmp_path, changes, words):
    folder = copied(tiny_base, tmp_path)
    write_config(folder, **changes)
    with pytest.raises(ModelError, match=r"config\.json") as caught:
        read_config(folder)
    assert words in str(caught.value)
    for base in (found(folder), find_config(str(folder), folder)):
        with pytest.raises(ModelError):
            load_base(base, device=CPU)


def test_layers_under_another_name_are_counted_as_well(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_layer": 10**8}))
    with pytest.raises(ModelError, match="n_layer is 1e"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": "wide"},
        {"hidden_size": [1]},
        {"hidden_size": -4},
        {"num_attention_heads": 0},
        {"num_attention_heads": 5},
        {"rope_scaling": {"rope_type": "evil"}},
        {"hidden_act": "evil"},
        {"pad_token_id": 10**6},
        {"rope_parameters": [1]},
    ],
    ids=str,
)
def test_values_that_do_not_fit_are_a_clear_error(tiny_base, tmp_path, changes):
    folder = copied(tiny_base, tmp_path)
    write_config(folder, **changes)
    for base in (found(folder), find_config(str(folder), folder)):
        with pytest.raises(ModelError, match=str(folder)):
            load_base(base, device=CPU)


@pytest.mark.parametrize(
    ("model_type", "words"),
    [
        ("lama", "did you mean 'llama'?"),
        ("zzzzzz", "an architecture that transformers knows"),
        (None, "an architecture that transformers knows"),
        (["llama"], "an architecture that transformers knows"),
        ("clip", "a causal language model"),
    ],
)
def test_an_unknown_architecture_is_named(tmp_path, model_type, words):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    with pytest.raises(ModelError) as caught:
        read_config(tmp_path)
    assert words in str(caught.value)


def test_what_the_architecture_declares_passes(tiny_base):
    raw = json.loads((Path(tiny_base) / "config.json").read_text())
    config = read_config(tiny_base)
    for name in ("vocab_size", "hidden_size", "num_key_value_heads", "tie_word_embeddings", "eos_token_id"):
        assert config.to_dict()[name] == raw[name]


SIZES = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 48}
WRITTEN: dict[str, dict[str, Any]] = {
    "a share of rotary channels beside its class": {"model_type": "phi", "partial_rotary_factor": 0.75},
    "older names": {"model_type": "gpt_neox", "rotary_pct": 1.0, "rotary_emb_base": 5000},
    "every how many layers": {"model_type": "cohere2", "sliding_window_pattern": 2},
    "a second base of rotation": {
        "model_type": "gemma3_text", "rope_theta": 5e5, "rope_local_base_freq": 5000.0, "sliding_window_pattern": 2
    },
    "every how many layers, of another name": {"model_type": "qwen3_next", "full_attention_interval": 2},
    "a width that no field declares": {"model_type": "qwen3_moe", "head_dim": 24, "num_local_experts": 4},
    "a number that JSON has not": {"model_type": "falcon_h1", "time_step_limit": [0.5, {"__float__": "Infinity"}]},
}  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN)
def test_what_the_library_reads_beside_the_declared_fields_is_read_here_too(tmp_path, name):
    (tmp_path / "config.json").write_text(json.dumps(SIZES | WRITTEN[name]))
    theirs = AutoConfig.from_pretrained(tmp_path).to_dict()
    ours = read_config(tmp_path).to_dict()
    assert {key: value for key, value in ours.items() if value != theirs[key] and not key.startswith("_")} == {}
    assert ours.keys() == theirs.keys()
    for left_out in WRITTEN[name].keys() - {"model_type"}:
        rest = {key: value for key, value in WRITTEN[name].items() if key != left_out}
        (tmp_path / "config.json").write_text(json.dumps(SIZES | rest))
        without = AutoConfig.from_pretrained(tmp_path).to_dict()
        assert {key: without.get(key) for key in ours} != ours, f"{left_out} would not be missed"


def test_every_architecture_is_read_as_the_library_reads_what_it_saved(tmp_path):
    """Left out: what the library cannot build from its own defaults."""
    looked_at = 0
    for name in sorted(CONFIG_MAPPING):
        kind = CONFIG_MAPPING[name]
        if kind not in AutoModelForCausalLM._model_mapping or name == "gemma4_assistant":
            continue
        folder = tmp_path / name
        kind().save_pretrained(folder)
        theirs, ours = AutoConfig.from_pretrained(folder).to_dict(), read_config(folder).to_dict()
        own = {"_name_or_path", "transformers_version", "dtype", "architectures"}
        different = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)} - own
        assert not different, f"{name}: {different}"
        looked_at += 1
    assert looked_at > 100


def test_a_number_written_as_an_object_names_nothing_else(tiny_base, tmp_path):
    folder = copied(tiny_base, tmp_path)
    for planted in ({"__float__": "evil.Evil"}, {"__float__": ["evil.Evil"]}):
        write_config(folder, rope_parameters={"rope_type": "default", "rope_theta": 1e4, "factor": planted})
        assert "evil" not in everything(read_config(folder))
    write_config(folder, rms_norm_eps={"__float__": "NaN"})
    with pytest.raises(ModelError, match="rms_norm_eps is not a number"):
        read_config(folder)
