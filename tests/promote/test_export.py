"""Every form of an export is loaded by its target and answers as what was trained; planted faults publish nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForCausalLM
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from metier.core import artefact
from metier.core.errors import InputError, ParityError, SettingsError
from metier.core.progress import Silent
from metier.model.find import Base
from metier.promote.export import folders, llama
from metier.promote.export.kinds import Kind
from metier.promote.export.run import export
from metier.promote.settings import PromoteSettings
from tests.promote.conftest import Trained, train

WEIGHTS = "model.safetensors"


def exported(trained: Trained, kind: str, out: Path, **settings: Any) -> dict[str, Any]:
    chosen = PromoteSettings.model_validate({"gguf": "f32"} | settings)
    path, hops = export(trained.run, trained.base, kind=Kind(kind), out=out, settings=chosen, progress=Silent())
    artefact.verify(path, "export")
    facts = json.loads((path / "export.json").read_text())
    assert [hop["name"] for hop in facts["hops"]] == [hop.name for hop in hops]
    assert all(hop.ok for hop in hops)
    return facts


def refused(trained: Trained, kind: str, out: Path, words: str) -> None:
    with pytest.raises(ParityError) as caught:
        exported(trained, kind, out)
    assert words in caught.value.found, caught.value.found
    assert "hop '" in caught.value.found
    assert caught.value.exit_code == 1
    assert not out.exists()


def test_an_adapter_loads_with_peft_alone(lora: Trained, tmp_path: Path) -> None:
    facts = exported(lora, "peft", tmp_path / "out")
    assert facts["hops"][0]["mean_kl"] < 1e-10
    path = tmp_path / "out" / "adapter_config.json"
    named = json.loads(path.read_text()) | {"base_model_name_or_path": str(lora.base.folder)}
    path.write_text(json.dumps(named))
    model = AutoPeftModelForCausalLM.from_pretrained(str(tmp_path / "out"))
    assert any("lora_" in name for name, _ in model.named_parameters())


def test_what_is_told_of_the_training_holds_no_path_of_this_machine(lora: Trained, tmp_path: Path) -> None:
    facts = exported(lora, "peft", tmp_path / "out")
    assert facts["base"] == lora.base.folder.name
    told = (tmp_path / "out" / "trained-with.json").read_text()
    known, trained = json.loads(told), json.loads((lora.run / "settings.json").read_text())
    assert known["base"]["digest"] == trained["base"]["digest"]
    assert known["snapshot"] == Path(trained["snapshot"]).name
    assert known["plan"]["model"] == trained["plan"]["model"]
    assert trained["base"]["folder"] in (lora.run / "settings.json").read_text(), "there is something to leave out"
    for path in sorted((tmp_path / "out").rglob("*.json")):
        for place in (lora.base.folder.parent, lora.run.parent):
            assert str(place) not in path.read_text(), path


def test_a_merged_model_loads_with_transformers_alone_and_comes_in_pieces(lora: Trained, tmp_path: Path) -> None:
    exported(lora, "merged", tmp_path / "one")
    exported(lora, "merged", tmp_path / "many", shard_gb=5e-5)
    assert len(list((tmp_path / "one").glob("*.safetensors"))) == 1
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 1
    ids = torch.tensor([[1, 40, 90]])
    answers = [AutoModelForCausalLM.from_pretrained(str(tmp_path / name))(ids).logits for name in ("one", "many")]
    assert torch.equal(*answers)


@pytest.mark.parametrize(("kind", "files"), [("gguf", {"model.gguf"}), ("gguf-lora", {"adapter.gguf"})])
def test_llama_cpp_answers_as_what_was_trained(lora: Trained, tmp_path: Path, kind: str, files: set[str]) -> None:
    hop = exported(lora, kind, tmp_path / "out")["hops"][0]
    assert hop["mean_kl"] < 1e-3
    assert "prompts and the stop tokens equal" in hop["detail"]
    assert {path.name for path in (tmp_path / "out").glob("*.gguf")} == files


def test_ollama_gets_a_modelfile_that_gives_the_trained_prompts(lora: Trained, tmp_path: Path) -> None:
    exported(lora, "ollama", tmp_path / "out")
    text = (tmp_path / "out" / "Modelfile").read_text()
    assert "FROM ./model.gguf" in text
    assert (
        'TEMPLATE """<|begin|>{{ range .Messages }}{{ if eq .Role "system" }}<|system|>{{ .Content }}<|stop|>' in text
    )
    assert text.count("<|assistant|>") == 2
    assert 'PARAMETER stop "<|stop|>"' in text
    assert "PARAMETER num_ctx 256" in text


def test_vllm_gets_the_line_that_starts_it(lora: Trained, tmp_path: Path) -> None:
    exported(lora, "vllm", tmp_path / "out")
    line = (tmp_path / "out" / "vllm.sh").read_text()
    assert "--enable-lora" in line
    assert "--max-lora-rank 8" in line
    assert f"--lora-modules {lora.run.name}=." in line
    assert "--adapter-source local" in (tmp_path / "out" / "lorax.sh").read_text()
    exported(lora, "vllm", tmp_path / "whole", deploy="merged")
    assert "vllm serve ." in (tmp_path / "whole" / "vllm.sh").read_text()


def test_whole_weights_are_served_whole(full: Trained, tmp_path: Path) -> None:
    exported(full, "vllm", tmp_path / "out")
    assert "--enable-lora" not in (tmp_path / "out" / "vllm.sh").read_text()


def test_what_vllm_would_not_load_is_refused(tmp_path: Path, tiny_base: Path) -> None:
    dora = train(tmp_path, tiny_base, "lora", more={"lora": {"dora": True, "save_modules": ["embeddings"]}})
    with pytest.raises(SettingsError, match=r"model\.lora\.dora.*save_modules"):
        exported(dora, "vllm", tmp_path / "out")
    exported(dora, "vllm", tmp_path / "out", deploy="merged")
    exported(dora, "gguf", tmp_path / "file")


@pytest.mark.parametrize(("kind", "words"), [("peft", "whole weights"), ("gguf-lora", "no adapter"), ("onnx", "onnx")])
def test_a_form_that_a_run_does_not_have_is_refused(full: Trained, tmp_path: Path, kind: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        exported(full, kind, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_stands_at_the_place_is_left_alone_unless_it_is_an_export(lora: Trained, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    exported(lora, "peft", out)
    exported(lora, "merged", out)
    assert not (out / "adapter_config.json").exists()
    other = tmp_path / "mine"
    other.mkdir()
    (other / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="something else stands there"):
        exported(lora, "peft", other)
    assert (other / "letter.txt").read_text() == "dear"


# --- planted faults -------------------------------------------------------------------------------------------------


def edit(folder: Path, name: str, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(str(folder / name))
    change(tensors)
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, str(folder / name))


def configure(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def untie(folder: Path) -> None:
    """What was one matrix is two, and the second is not the first: rows of the head belong to other tokens."""
    configure(folder, tie_word_embeddings=False)
    head, other = "lm_head.weight", "model.embed_tokens.weight"
    edit(folder, WEIGHTS, lambda tensors: tensors.update({head: tensors[other].roll(1, 0)}))


def resize(folder: Path) -> None:
    configure(folder, vocab_size=300)
    name = "model.embed_tokens.weight"
    edit(folder, WEIGHTS, lambda tensors: tensors.update({name: torch.cat([tensors[name], tensors[name][:32]])}))


def reword(folder: Path) -> None:
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text().replace("<|assistant|>", "<|tool|>"))


def never_stop(folder: Path) -> None:
    (folder / "generation_config.json").write_text(json.dumps({"bos_token_id": 1, "eos_token_id": [9]}))
    path = folder / "tokenizer_config.json"
    path.write_text(path.read_text().replace('"eos_token": "<|stop|>"', '"eos_token": "<|spare2|>"'))


@pytest.mark.parametrize(
    ("change", "words"),
    [(untie, "KL"), (resize, "vocabulary"), (reword, "how the whole begins"), (never_stop, "stop tokens are [9]")],
)
def test_a_merged_export_with_a_fault_is_not_published(
    lora: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], words: str
) -> None:
    honest = folders.plain

    def faulty(evidence: Any, folder: Path) -> None:
        honest(evidence, folder)
        change(folder)

    monkeypatch.setattr(folders, "plain", faulty)
    refused(lora, "merged", tmp_path / "out", words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (untie, "KL"),
        (reword, "its prompt is other tokens there"),
        (never_stop, "stop token 2 does not end an answer there"),
    ],
)
def test_a_gguf_file_with_a_fault_is_not_published(
    lora: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], words: str
) -> None:
    honest = llama.write_model

    def faulty(folder: Path, path: Path, **more: Any) -> None:
        change(folder)
        honest(folder, path, **more)

    monkeypatch.setattr(llama, "write_model", faulty)
    refused(lora, "gguf", tmp_path / "out", words)


def test_a_file_that_llama_cpp_does_not_load_is_told_in_its_words(
    lora: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama, "write_model", lambda folder, path, **more: path.write_bytes(b"GGUF\x03"))
    refused(lora, "gguf", tmp_path / "out", "failed to")


def test_an_adapter_file_that_does_not_apply_is_recognised_as_the_base(
    lora: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = llama.in_llama

    def forgetful(evidence: Any, model: Path, name: str, adapter: Path | None = None) -> Any:
        return honest(evidence, model, name)

    monkeypatch.setattr(llama, "in_llama", forgetful)
    refused(lora, "gguf-lora", tmp_path / "out", "KL")


def lose_modules(tensors: dict[str, torch.Tensor]) -> None:
    for name in [name for name in tensors if "lora_" not in name]:
        del tensors[name]


def move(tensors: dict[str, torch.Tensor]) -> None:
    for name in list(tensors):
        tensors[f"elsewhere.{name}"] = tensors.pop(name)


@pytest.mark.parametrize("change", [lose_modules, move, dict.clear])
def test_an_adapter_that_silently_does_not_apply_is_not_published(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], None]
) -> None:
    """PEFT loads all three without a word of its own that stops anybody."""
    trained = train(tmp_path, tiny_base, "lora", more={"lora": {"save_modules": ["embeddings"]}})
    honest = folders.copy

    def faulty(source: Path, folder: Path) -> None:
        honest(source, folder)
        edit(folder, "adapter_model.safetensors", change)

    exported(trained, "peft", tmp_path / "honest")
    monkeypatch.setattr(folders, "copy", faulty)
    refused(trained, "peft", tmp_path / "out", "hop 'peft'")


def test_an_adapter_of_another_base_is_not_published(lora: Trained, tmp_path: Path, untied_base: Path) -> None:
    other = Base(name="other", folder=untied_base, kind="folder", digest=lora.base.digest)
    refused(Trained(lora.run, other, lora.model), "peft", tmp_path / "out", "KL")
