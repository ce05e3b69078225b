"""A head saved here is the library's own: plain transformers and PEFT load it and say the same."""

import json

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification

from metier.core.errors import ModelError, SettingsError
from metier.model.adapt import adapt
from metier.model.head import give_head, head_of, require_method
from metier.model.load import load_base, load_folder, load_tuned
from metier.model.merge import merge
from metier.model.save import save_trained
from metier.model.settings import ModelSettings
from metier.text import targets
from metier.text.targets import Targets
from tests.forest.architectures import RECURRENT
from tests.model.bases import CPU, GPT2, found, write_base

HEAD = Targets(kind="classify", labels=("no", "perhaps", "yes"))


def trained(base, method: str, folder):
    """A model with a head, moved by random numbers and saved as training does."""
    settings = ModelSettings.model_validate({"method": method, "rank": 4})
    model = adapt(give_head(load_base(base, device=CPU), HEAD), base, method, settings, seed=0)
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.2 * torch.randn(weight.shape, generator=random))
    folder.mkdir()
    save_trained(model.eval(), base, folder)
    targets.write(HEAD, folder)
    return model


@torch.no_grad()
def said(model) -> torch.Tensor:
    """What a head says of two rows of unequal length, the shorter one padded."""
    ids = torch.randint(7, 60, (2, 12), generator=torch.Generator().manual_seed(5))
    ids[1, 8:] = 0
    return model(input_ids=ids, attention_mask=(ids != 0).long()).logits


@pytest.mark.parametrize("method", ["full", "layers", "lora"])
def test_saved_reloaded_and_merged_are_what_was_trained(method, tiny_base, tmp_path):
    base = found(tiny_base)
    model = trained(base, method, tmp_path / "model")
    assert any(weight.requires_grad for weight in head_of(model).parameters())
    expected = said(model)
    assert torch.equal(said(load_tuned(base, tmp_path / "model", device=CPU)), expected)
    plain = load_folder(merge(base, tmp_path / "model", tmp_path / "merged")).eval()
    assert (said(plain) - expected).abs().max() < 1e-5
    assert targets.read(tmp_path / "merged") == HEAD


def test_plain_transformers_loads_whole_weights(tiny_base, tmp_path):
    expected = said(trained(found(tiny_base), "full", tmp_path / "model"))
    model = AutoModelForSequenceClassification.from_pretrained(str(tmp_path / "model")).eval()
    assert torch.equal(said(model), expected)
    assert model.config.id2label == {0: "no", 1: "perhaps", 2: "yes"}
    assert model.config.problem_type == "single_label_classification"


def test_plain_peft_loads_the_adapter_with_its_head(tiny_base, tmp_path):
    expected = said(trained(found(tiny_base), "lora", tmp_path / "model"))
    config = json.loads((tmp_path / "model" / "adapter_config.json").read_text())
    assert config["task_type"] == "SEQ_CLS"
    assert "score" in config["modules_to_save"]
    plain = AutoModelForSequenceClassification.from_pretrained(str(tiny_base), num_labels=3)
    model = PeftModel.from_pretrained(plain, str(tmp_path / "model")).eval()
    assert torch.equal(said(model), expected)


def test_an_adapter_without_its_head_is_found(tiny_base, tmp_path):
    """The planted fault: a head that was not saved would be served as zeros."""
    from safetensors.torch import load_file, save_file

    trained(found(tiny_base), "lora", tmp_path / "model")
    path = tmp_path / "model" / "adapter_model.safetensors"
    tensors = {name: tensor for name, tensor in load_file(str(path)).items() if "score" not in name}
    save_file(tensors, str(path), metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"no tensor of the head \(score\.weight\)"):
        load_tuned(found(tiny_base), tmp_path / "model", device=CPU)


def test_whole_weights_without_their_head_are_found(tiny_base, tmp_path):
    from safetensors.torch import load_file, save_file

    trained(found(tiny_base), "full", tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    tensors = {name: tensor for name, tensor in load_file(str(path)).items() if "score" not in name}
    save_file(tensors, str(path), metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"missing keys: score\.weight"):
        load_folder(tmp_path / "model")


def test_a_head_starts_from_every_label_alike(tiny_base):
    model = load_base(found(tiny_base), device=CPU)
    headed = give_head(model, HEAD)
    assert not said(headed).any()
    assert headed.base_model is model.base_model, "the decoder is not copied"
    assert (head_of(model), head_of(headed)) == (None, headed.get_submodule("score"))


def test_another_architecture_has_a_head_too(tmp_path):
    base = write_base(tmp_path / "gpt2", GPT2)
    expected = said(trained(base, "lora", tmp_path / "model"))
    assert torch.equal(said(load_tuned(base, tmp_path / "model", device=CPU)), expected)


def test_an_architecture_without_a_head_is_refused():
    from tests.forest.architectures import build

    with pytest.raises(ModelError, match="mamba2: transformers has no model with a head for it"):
        give_head(build(RECURRENT["mamba2"], torch.float32), HEAD)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"method": name}, f"model.method '{name}' under a head") for name in ("ia3", "bottleneck", "prompt", "prefix")]
    + [({"method": "peft", "peft": {"type": "loha"}}, "model.method 'peft' under a head")]
    + [({"method": "lora", "quantise": "int8"}, "model.quantise 'int8' under a head")],
)
def test_a_method_that_trains_no_head_is_refused(settings, words):
    """Some save no head; others put tokens before the place that the library reads the head at."""
    chosen = ModelSettings.model_validate(settings)
    with pytest.raises(SettingsError, match=words):
        require_method(chosen.method, chosen)


@pytest.mark.parametrize("method", ["full", "layers", "lora"])
def test_a_method_that_trains_a_head_is_let_through(method):
    require_method(method, ModelSettings.model_validate({"method": method}))
