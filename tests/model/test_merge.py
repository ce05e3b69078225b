"""Merged = adapter applied, and a plain model that needs no adapter."""

import pytest
import torch

from metier.core import artefact
from metier.core.errors import ModelError
from metier.model.load import load_base, load_folder
from metier.model.merge import merge
from tests.model.bases import CPU, GPT2, adapted, found, logits, relative, saved, write_base


@pytest.mark.parametrize(
    "settings",
    [{}, {"targets": ("q_proj",)}, {"alpha": 64.0}, {"dropout": 0.5}, {"rank": 1}],
    ids=str,
)
def test_merged_is_the_adapter_applied(tiny_base, tmp_path, settings):
    base = found(tiny_base)
    model = adapted(base, **settings)
    out = merge(base, saved(model, base, tmp_path / "model"), tmp_path / "merged")
    merged = load_folder(out)
    assert relative(logits(merged), logits(model)) <= 1e-5
    assert relative(logits(load_base(base, device=CPU)), logits(model)) > 1e-2, "else this would prove nothing"
    assert not any("lora" in name for name, _ in merged.named_parameters())


@pytest.mark.parametrize("kind", ["gpt2", "untied with its head"])
def test_other_shapes_are_merged_as_well(tmp_path, kind):
    if kind == "gpt2":
        base, settings = write_base(tmp_path / "base", GPT2), {}
    else:
        base, settings = write_base(tmp_path / "base", tie_word_embeddings=False), {"targets": ("lm_head", "q_proj")}
    model = adapted(base, **settings)
    out = merge(base, saved(model, base, tmp_path / "model"), tmp_path / "merged")
    assert relative(logits(load_folder(out)), logits(model)) <= 1e-5


def test_whole_weights_have_nothing_to_fold(tiny_base, tmp_path):
    base = found(tiny_base)
    model = adapted(base, "layers")
    out = merge(base, saved(model, base, tmp_path / "model"), tmp_path / "merged")
    assert torch.equal(logits(load_folder(out)), logits(model))


def test_the_merged_model_is_a_whole_artefact_with_its_origin(tiny_base, tmp_path):
    base = found(tiny_base)
    out = merge(base, saved(adapted(base), base, tmp_path / "model"), tmp_path / "merged")
    manifest = artefact.verify(out, "model")
    assert manifest.facts == {"base": base.name, "base_digest": base.digest, "merged": True}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(manifest.files)
    assert found(out).kind == "folder"


def test_an_adapter_that_is_not_a_number_is_refused(tiny_base, tmp_path):
    base = found(tiny_base)
    model = adapted(base)
    with torch.no_grad():
        next(weight for name, weight in model.named_parameters() if "lora_B" in name)[0, 0] = float("nan")
    with pytest.raises(ModelError, match="cannot be merged"):
        merge(base, saved(model, base, tmp_path / "model"), tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_another_base_is_refused_and_nothing_is_left(tiny_base, tmp_path):
    folder = saved(adapted(found(tiny_base)), found(tiny_base), tmp_path / "model")
    with pytest.raises(ModelError):
        merge(write_base(tmp_path / "other", hidden_size=64), folder, tmp_path / "merged")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "other"]
