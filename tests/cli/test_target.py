"""`serve.target` on the command line: what would not load there is refused before anything is trained."""

import pytest

from tests.cli.workshop import make_project

LORA = ["--model.method", "lora", "--serve.target"]


@pytest.mark.parametrize("command", ["plan", "train"])
def test_what_the_target_would_not_load_is_refused_before_training(metier, tiny_base, tmp_path, command):
    folder = make_project(tmp_path / "colours", tiny_base)
    refused = metier(command, *LORA, "vllm", "--model.lora.dora", "true", folder=folder)
    assert refused.code == 2
    assert "serve.target vllm does not load an adapter with model.lora.dora" in " ".join(refused.err.split())
    assert "promote.deploy merged" in " ".join(refused.err.split())
    assert not (folder / ".metier" / "runs").exists()


def test_the_same_may_be_trained_for_a_merged_model_or_another_target(metier, tiny_base, tmp_path):
    folder = make_project(tmp_path / "colours", tiny_base)
    dora = ["--model.lora.dora", "true"]
    assert metier("plan", *LORA, "vllm", *dora, "--promote.deploy", "merged", folder=folder).code == 0
    assert metier("plan", *LORA, "metier", *dora, folder=folder).code == 0


def test_a_base_that_cannot_become_a_gguf_file_is_refused(metier, tiny_base, tmp_path):
    folder = make_project(tmp_path / "colours", tiny_base)
    tokenizer = tiny_base / "tokenizer.json"
    other = tmp_path / "base"
    other.mkdir()
    for path in tiny_base.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    changed = tokenizer.read_text().replace('"add_prefix_space":false', '"add_prefix_space":true')
    changed = changed.replace('"add_prefix_space": false', '"add_prefix_space": true')
    (other / "tokenizer.json").write_text(changed)
    assert metier("plan", *LORA, "llama.cpp", folder=folder).code == 0
    refused = metier("plan", *LORA, "llama.cpp", "--base", str(other), folder=folder)
    assert refused.code == 2
    assert "llama.cpp has no name for" in " ".join(refused.err.split())
