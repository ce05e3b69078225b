"""What is saved can be read by the tools of everybody else, and is the same bytes every time."""

import hashlib
import json
import os
import subprocess
import sys

import pytest
import torch
from peft import PeftModel
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from metier.model.find import TOKENIZER_FILES
from metier.model.load import load_base
from metier.model.merge import merge
from tests.model.bases import CPU, GPT2, adapted, found, logits, relative, saved, write_base


def plain_base(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def test_peft_reads_our_adapter(tiny_base, tmp_path):
    base = found(tiny_base)
    model = adapted(base, alpha=12.0, targets=("q_proj", "up_proj"))
    folder = saved(model, base, tmp_path / "model")
    theirs = PeftModel.from_pretrained(plain_base(tiny_base), str(folder)).eval()
    assert relative(logits(theirs), logits(model)) < 1e-6, "our linear rounds in another order"
    assert relative(logits(plain_base(tiny_base)), logits(model)) > 0.02


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_transformers_reads_our_whole_model(tiny_base, tmp_path, precision):
    base = found(tiny_base)
    model = adapted(base, "full", strength=0.05)
    folder = saved(model, base, tmp_path / "model", precision=precision)
    expected = logits(model)
    theirs = logits(plain_base(folder))
    if precision == "float32":
        assert torch.equal(theirs, expected)
    else:
        assert 0 < relative(theirs, expected) < 0.05
        assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_transformers_reads_our_merged_model(tiny_base, tmp_path):
    base = found(tiny_base)
    model = adapted(base)
    folder = merge(base, saved(model, base, tmp_path / "model"), tmp_path / "merged")
    assert relative(logits(plain_base(folder)), logits(model)) < 1e-5


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_tokenizer_travels_with_the_weights(tiny_base, tmp_path, method):
    base = found(tiny_base)
    folder = saved(adapted(base, method), base, tmp_path / "model")
    for name in TOKENIZER_FILES:
        if (tiny_base / name).is_file():
            assert (folder / name).read_bytes() == (tiny_base / name).read_bytes()
    theirs, original = AutoTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(tiny_base)
    messages = [{"role": "user", "content": "hello"}]
    text = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == original.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert theirs(text)["input_ids"] == original(text)["input_ids"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_tied_weights_are_written_once(tiny_base, tmp_path, precision):
    base = found(tiny_base)
    folder = saved(adapted(base, "full"), base, tmp_path / "tied", precision=precision)
    with safe_open(str(folder / "model.safetensors"), framework="pt") as stream:
        names = set(stream.keys())
    assert "model.embed_tokens.weight" in names
    assert "lm_head.weight" not in names
    model = plain_base(folder)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_untied_heads_are_written_apart(tmp_path):
    """The planted fault of the test above: where the head is its own, it must be there."""
    base = write_base(tmp_path / "base", tie_word_embeddings=False)
    model = adapted(base, "full")
    folder = saved(model, base, tmp_path / "model")
    with safe_open(str(folder / "model.safetensors"), framework="pt") as stream:
        assert "lm_head.weight" in set(stream.keys())
    assert torch.equal(logits(plain_base(folder)), logits(model))


def test_other_architectures_are_saved_as_well(tmp_path):
    base = write_base(tmp_path / "base", GPT2)
    model = adapted(base)
    theirs = PeftModel.from_pretrained(plain_base(base.folder), str(saved(model, base, tmp_path / "model"))).eval()
    assert torch.equal(logits(theirs), logits(model))


PRINT_HASHES = """
import hashlib, sys
from pathlib import Path
from tests.model.bases import adapted, found, saved
base = found(Path(sys.argv[1]))
more = {"targets": ("v_proj", "up_proj", "q_proj"), "lora": {"save_modules": ("embeddings", "norm")}}
folder = saved(adapted(base, **more), base, Path(sys.argv[2]))
for path in sorted(folder.iterdir()): print(path.name, hashlib.sha256(path.read_bytes()).hexdigest())
"""


def test_an_adapter_is_the_same_bytes_whatever_the_hash_seed(tiny_base, tmp_path):
    base = found(tiny_base)
    more = {"targets": ("v_proj", "up_proj", "q_proj"), "lora": {"save_modules": ("embeddings", "norm")}}
    ours = saved(adapted(base, **more), base, tmp_path / "ours")
    command = [sys.executable, "-W", "ignore", "-c", PRINT_HASHES, str(tiny_base), str(tmp_path / "theirs")]
    env = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(["src", ".", *sys.path])}
    told = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.split()
    assert "adapter_config.json" in told
    for name, sha in zip(told[::2], told[1::2], strict=True):
        assert hashlib.sha256((ours / name).read_bytes()).hexdigest() == sha, name


def test_the_adapter_configuration_names_the_base_and_holds_plain_values(tiny_base, tmp_path):
    base = found(tiny_base)
    folder = saved(adapted(base, rank=3, alpha=5.0), base, tmp_path / "model")
    config = json.loads((folder / "adapter_config.json").read_text())
    assert base.name == str(tiny_base), "an absolute path, which would mean nothing on another machine"
    assert config["base_model_name_or_path"] == tiny_base.name
    assert (config["r"], config["lora_alpha"], config["peft_type"], config["task_type"]) == (
        3,
        5.0,
        "LORA",
        "CAUSAL_LM",
    )
    assert config["inference_mode"] is True
    assert config["target_modules"] == sorted(config["target_modules"])


def test_saving_twice_gives_the_same_bytes_and_leaves_the_model_alone(tiny_base, tmp_path):
    base = found(tiny_base)
    model = adapted(base, "full")
    before = logits(model)
    hashes = []
    for name in ("one", "two"):
        folder = saved(model, base, tmp_path / name, precision="bfloat16")
        hashes.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()})
    assert hashes[0] == hashes[1]
    assert torch.equal(logits(model), before)
    assert model.config.dtype == load_base(base, device=CPU).config.dtype


def test_no_pickle_is_written(tiny_base, tmp_path):
    base = found(tiny_base)
    for method in ("lora", "full"):
        folder = saved(adapted(base, method), base, tmp_path / method)
        assert {path.suffix for path in folder.iterdir()} <= {".json", ".safetensors", ".jinja"}
