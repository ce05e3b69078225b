"""Bases to do harm to, and adapters that really change something."""

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import torch

from metier.model.adapt import adapt
from metier.model.find import Base, find, find_config
from metier.model.load import load_base
from metier.model.save import save_trained, save_whole
from metier.model.settings import ModelSettings
from tests.conftest import write_config, write_tokenizer

CPU = torch.device("cpu")

GPT2 = {"model_type": "gpt2", "vocab_size": 268, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}


def copied(base: Path, folder: Path) -> Path:
    return Path(shutil.copytree(base, folder / "base"))


def write_base(folder: Path, config: dict[str, Any] | None = None, seed: int = 1, **changes: Any) -> Base:
    """Write a whole random base: a Llama with changes, or of a configuration of its own."""
    folder.mkdir(parents=True)
    write_tokenizer(folder)
    if config is None:
        write_config(folder, **changes)
    else:
        (folder / "config.json").write_text(json.dumps(config | {"bos_token_id": 1, "eos_token_id": 2}))
    save_whole(load_base(find_config(str(folder), folder), device=CPU, seed=seed), folder)
    write_tokenizer(folder)
    return find(str(folder), folder)


def found(folder: Path) -> Base:
    return find(str(folder), folder)


def adapted(base: Base, method: str = "lora", *, strength: float = 0.2, **settings: Any) -> torch.nn.Module:
    """Load and adapt a base, and move what trains by random numbers."""
    chosen = ModelSettings.model_validate({"method": method, "rank": 4} | settings)
    model = adapt(load_base(base, device=CPU), base, method, chosen, seed=0)
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(strength * torch.randn(weight.shape, generator=random))
    return model.eval()


def saved(model: torch.nn.Module, base: Base, folder: Path, **options: Any) -> Path:
    folder.mkdir(parents=True)
    save_trained(model, base, folder, **options)
    return folder


@torch.no_grad()
def logits(model: torch.nn.Module) -> torch.Tensor:
    """Return the logits [2, 12, V] of two fixed random sequences."""
    ids = torch.randint(7, 60, (2, 12), generator=torch.Generator().manual_seed(5))
    return model(input_ids=ids, use_cache=False).logits


def relative(first: torch.Tensor, second: torch.Tensor) -> float:
    return ((first - second).norm() / second.norm()).item()


def header_of(path: Path) -> tuple[dict[str, Any], bytes]:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def with_header(header: bytes, body: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + body


def change_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
