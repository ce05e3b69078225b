"""Loading: nothing silently missing, left over, of another shape or without effect."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from metier.core import artefact
from metier.core.errors import ModelError
from metier.model.adapter import ADAPTER_WEIGHTS
from metier.model.find import find_config
from metier.model.load import load_base, load_folder, load_tuned
from tests.conftest import write_config
from tests.model.bases import CPU, GPT2, adapted, change_json, copied, found, logits, relative, saved, write_base

WEIGHTS = "model.safetensors"
ADAPTER = "adapter_model.safetensors"


def rewrite(path: Path, change) -> None:
    tensors = change(load_file(str(path)))
    save_file(tensors, str(path), metadata={"format": "pt"})


def without(name: str):
    return lambda tensors: {key: value for key, value in tensors.items() if key != name}


def test_a_base_is_loaded_in_float32_ready_to_answer(tiny_base):
    model = load_base(found(tiny_base), device=CPU)
    assert not model.training
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert {weight.device for weight in model.parameters()} == {CPU}


def test_half_precision_files_are_loaded_in_float32(tiny_base, tmp_path):
    folder = copied(tiny_base, tmp_path)
    rewrite(folder / WEIGHTS, lambda tensors: {name: tensor.bfloat16() for name, tensor in tensors.items()})
    write_config(folder, torch_dtype="bfloat16")
    model = load_base(found(folder), device=CPU)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert 0 < relative(logits(model), logits(load_base(found(tiny_base), device=CPU))) < 0.05


def test_a_random_start_is_a_function_of_the_seed(tiny_base):
    base = find_config(str(tiny_base), tiny_base)
    torch.manual_seed(99)
    first = load_base(base, device=CPU, seed=4)
    torch.manual_seed(1)
    assert torch.equal(logits(first), logits(load_base(base, device=CPU, seed=4)))
    assert not torch.equal(logits(first), logits(load_base(base, device=CPU, seed=5)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("model.norm.weight"), "missing keys: model.norm.weight"),
        (without("model.layers.1.mlp.up_proj.weight"), "missing keys: model.layers.1.mlp.up_proj.weight"),
        (without("model.embed_tokens.weight"), "missing keys: "),
        (
            lambda tensors: tensors | {"model.layers.2.mlp.up_proj.weight": torch.ones(4)},
            "unexpected keys: model.layers.2",
        ),
        (lambda tensors: tensors | {"surprise": torch.ones(4)}, "unexpected keys: surprise"),
        (lambda tensors: tensors | {"model.norm.weight": torch.ones(33)}, "weights that fit config.json"),
        (lambda tensors: {f"wrong.{name}": tensor for name, tensor in tensors.items()}, "missing keys: "),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused(tiny_base, tmp_path, change, words):
    folder = copied(tiny_base, tmp_path)
    rewrite(folder / WEIGHTS, change)
    with pytest.raises(ModelError) as caught:
        load_base(found(folder), device=CPU)
    assert words in str(caught.value)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("changes", [{"num_hidden_layers": 1}, {"num_hidden_layers": 3}, {"intermediate_size": 96}])
def test_a_configuration_of_another_model_is_refused(tiny_base, tmp_path, changes):
    folder = copied(tiny_base, tmp_path)
    write_config(folder, **changes)
    with pytest.raises(ModelError, match=r"weights that fit config\.json"):
        load_base(found(folder), device=CPU)


def test_an_untied_head_that_is_missing_is_not_made_up(tiny_base, tmp_path):
    folder = copied(tiny_base, tmp_path)
    write_config(folder, tie_word_embeddings=False)
    with pytest.raises(ModelError, match=r"missing keys: lm_head\.weight"):
        load_base(found(folder), device=CPU)


def test_an_index_that_names_a_missing_shard_is_refused(tiny_base, tmp_path):
    folder = copied(tiny_base, tmp_path)
    tensors = load_file(str(folder / WEIGHTS))
    (folder / WEIGHTS).unlink()
    half = dict(list(tensors.items())[: len(tensors) // 2])
    save_file(half, str(folder / "model-00001-of-00002.safetensors"), metadata={"format": "pt"})
    shards = {name: f"model-0000{1 if name in half else 2}-of-00002.safetensors" for name in tensors}
    index = {"metadata": {"total_size": 1}, "weight_map": shards}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="00002"):
        load_base(found(folder), device=CPU)


def test_files_are_left_as_they_are(tiny_base):
    before = found(tiny_base).digest
    load_base(found(tiny_base), device=CPU)
    assert found(tiny_base).digest == before


@pytest.fixture(scope="module")
def trained(tiny_base, tmp_path_factory) -> tuple[Path, torch.Tensor]:
    """A saved adapter, and the logits of the model it was saved from."""
    base = found(tiny_base)
    model = adapted(base)
    return saved(model, base, tmp_path_factory.mktemp("adapter") / "model"), logits(model)


def test_an_adapter_comes_back_as_it_was(tiny_base, trained):
    folder, expected = trained
    model = load_tuned(found(tiny_base), folder, device=CPU)
    assert not model.training
    assert torch.equal(logits(model), expected)
    assert relative(logits(load_base(found(tiny_base), device=CPU)), expected) > 0.05


def lora_b_zero(tensors):
    return {name: torch.zeros_like(tensor) if "lora_B" in name else tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors: {}, "0 tensors, none of which changes the base"),
        (lora_b_zero, "none of which changes the base"),
        (lambda tensors: {f"wrong.{name}": tensor for name, tensor in tensors.items()}, "found no place"),
        (lambda tensors: {name.removeprefix("base_model."): t for name, t in tensors.items()}, "found no place"),
        (lambda tensors: dict(list(tensors.items())[2:]), "places found no tensor"),
        (lambda tensors: tensors | {"surprise": torch.ones(2)}, "1 tensors found no place"),
        (lambda tensors: {name: tensor[:1] for name, tensor in tensors.items()}, "does not fit"),
    ],
)
def test_an_adapter_that_would_have_no_or_half_an_effect_is_refused(tiny_base, trained, tmp_path, change, words):
    folder = Path(shutil.copytree(trained[0], tmp_path / "model"))
    rewrite(folder / ADAPTER, change)
    with pytest.raises(ModelError) as caught:
        load_tuned(found(tiny_base), folder, device=CPU)
    assert words in str(caught.value)


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_a_truncated_adapter_is_refused(tiny_base, trained, tmp_path, length):
    folder = Path(shutil.copytree(trained[0], tmp_path / "model"))
    (folder / ADAPTER).write_bytes((folder / ADAPTER).read_bytes()[:length])
    with pytest.raises(ModelError, match=ADAPTER):
        load_tuned(found(tiny_base), folder, device=CPU)


@pytest.mark.parametrize(
    "changes",
    [
        {"peft_type": "EVIL"},
        {"r": "a"},
        {"r": 3},
        {"target_modules": ["nope"]},
        {"lora_bias": True},
        {"peft_type": None},
    ],
    ids=str,
)
def test_a_broken_adapter_configuration_is_refused(tiny_base, trained, tmp_path, changes):
    folder = Path(shutil.copytree(trained[0], tmp_path / "model"))
    change_json(folder / "adapter_config.json", **changes)
    with pytest.raises(ModelError, match=str(folder)):
        load_tuned(found(tiny_base), folder, device=CPU)


@pytest.mark.parametrize("content", ["", "[1]", "{"])
def test_an_adapter_configuration_of_garbage_is_refused(tiny_base, trained, tmp_path, content):
    folder = Path(shutil.copytree(trained[0], tmp_path / "model"))
    (folder / "adapter_config.json").write_text(content)
    with pytest.raises(ModelError, match=r"adapter_config\.json"):
        load_tuned(found(tiny_base), folder, device=CPU)


@pytest.mark.parametrize("other", ["wider", "shallower", "gpt2"])
def test_an_adapter_of_another_architecture_is_refused(trained, tmp_path, other):
    base = {
        "wider": lambda: write_base(tmp_path / "base", hidden_size=64),
        "shallower": lambda: write_base(tmp_path / "base", num_hidden_layers=1),
        "gpt2": lambda: write_base(tmp_path / "base", GPT2),
    }[other]()
    with pytest.raises(ModelError, match="an adapter of"):
        load_tuned(base, trained[0], device=CPU)


def test_an_adapter_of_a_base_of_the_same_shape_is_refused_by_its_record(tiny_base, tmp_path):
    mine, other = found(tiny_base), write_base(tmp_path / "other", seed=2)
    facts = {"base": mine.name, "base_digest": mine.digest}
    with artefact.publish(tmp_path / "model", kind="model", facts=facts) as folder:
        saved(adapted(mine), mine, folder / "x")
        for path in (folder / "x").iterdir():
            path.rename(folder / path.name)
        (folder / "x").rmdir()
    load_tuned(mine, tmp_path / "model", device=CPU)
    with pytest.raises(ModelError, match="name the base that it was trained on"):
        load_tuned(other, tmp_path / "model", device=CPU)


def test_a_whole_model_is_loaded_whole(tiny_base, tmp_path):
    base = found(tiny_base)
    model = adapted(base, "full", strength=0.05)
    folder = saved(model, base, tmp_path / "model")
    assert torch.equal(logits(load_tuned(base, folder, device=CPU)), logits(model))
    (folder / WEIGHTS).unlink()
    with pytest.raises(ModelError, match=str(folder)):
        load_folder(folder)


def test_tokens_that_are_learnt_alone_show_only_where_they_are_read(tmp_path):
    """With a head of its own, the base answers as before wherever none of them was read."""
    base = write_base(tmp_path / "base", tie_word_embeddings=False)
    model = adapted(base, "peft", peft={"type": "trainable_tokens", "config": {"token_indices": [20, 50]}})
    folder = saved(model, base, tmp_path / "model")
    assert torch.equal(logits(load_tuned(base, folder, device=CPU)), logits(model))
    zero = load_file(str(folder / ADAPTER_WEIGHTS))
    plain = load_base(base, device=CPU).get_input_embeddings().weight.detach()[[20, 50]]
    save_file({name: plain.clone() for name in zero}, str(folder / ADAPTER_WEIGHTS))
    with pytest.raises(ModelError, match="answers exactly as the base does"):
        load_tuned(base, folder, device=CPU)
