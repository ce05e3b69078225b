"""Fixtures that several rooms share: a tiny base that really loads, and the folder of shared data."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# a machine that is busy is no fault; all else stays as hypothesis has it, here and where CI is set
hypothesis.settings.register_profile("metier", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("metier")

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("METIER_DEVICE_LOCK", "off")  # tests train beside one another, and beside whoever works here

SHARED = Path(__file__).resolve().parents[2] / "shared"

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|stop|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def write_tokenizer(folder: Path, *, template: str | None = TEMPLATE) -> None:
    """Write a byte-level tokenizer of 268 tokens: one a byte, and twelve special ones."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    special = ["<|pad|>", "<|begin|>", "<|stop|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>"]
    special += [f"<|spare{n}|>" for n in range(5)]
    vocabulary = {token: index for index, token in enumerate(special)}
    for byte in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[byte] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|begin|>",
        "eos_token": "<|stop|>",
        "pad_token": "<|pad|>",
    }
    if template is not None:
        config["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(
        json.dumps({"bos_token_id": 1, "eos_token_id": [2], "pad_token_id": 0})
    )


def write_config(folder: Path, **changes: object) -> None:
    """Write the configuration of a Llama with two layers of width 32."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 268,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "initializer_range": 0.1,
    }
    (folder / "config.json").write_text(json.dumps(config | changes))


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a real, tiny, random base: configuration, tokenizer, chat template, weights."""
    import torch

    from metier.model.find import find_config
    from metier.model.load import load_base
    from metier.model.save import save_whole

    folder = tmp_path_factory.mktemp("tiny-base")
    write_tokenizer(folder)
    write_config(folder)
    model = load_base(find_config(str(folder), folder), device=torch.device("cpu"), seed=1)
    save_whole(model, folder)
    write_config(folder)
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data and weights; tests that need it are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("../shared is not here")
    return SHARED


def write_chats(path: Path, count: int) -> None:
    """Write chat rows in which the answer follows from the question."""
    colours = ["red", "green", "blue", "grey"]
    with path.open("w", encoding="utf-8") as stream:
        for number in range(count):
            colour = colours[number % 4]
            messages = [
                {"role": "system", "content": "Name the colour."},
                {"role": "user", "content": f"item {number} is {colour}" + "!" * (number % 7)},
                {"role": "assistant", "content": colour},
            ]
            stream.write(json.dumps({"messages": messages}) + "\n")


@pytest.fixture(scope="session")
def tiny_snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of 80 short conversations."""
    from metier.core.progress import Silent
    from metier.prepare.settings import DataSettings, PrepareSettings
    from metier.prepare.snapshot import prepare

    folder = tmp_path_factory.mktemp("tiny-data")
    write_chats(folder / "chats.jsonl", 80)
    data = DataSettings(train="chats.jsonl")
    settings = PrepareSettings()
    return prepare(data, settings, folder=folder, store=folder / ".metier", seed=0, progress=Silent()).path


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL server that was started for the tests; skipped where there is none."""
    from tests.postgres import NoPostgresError, running

    try:
        with running() as address:
            yield address
    except NoPostgresError as error:
        pytest.skip(str(error))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 256 KiB, where this machine lets us mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    options = ["-t", "tmpfs", "-o", "size=256k,nr_inodes=64", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(["mount", *options], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("no right to mount a small disk here")
    yield place
    subprocess.run(["umount", str(place)], check=True)
