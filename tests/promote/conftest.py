"""Runs as training leaves them: a tiny base really changed, its answers recorded, its weights saved."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from metier.core import artefact
from metier.core.progress import Silent
from metier.model.adapt import adapt
from metier.model.find import Base, find, find_config
from metier.model.load import load_base
from metier.model.quantise import freeze
from metier.model.quantise.freeze import Quantisation
from metier.model.save import save_trained, save_whole
from metier.model.settings import ModelSettings
from metier.text.render import open_renderer
from metier.text.rendered import render_rows
from metier.text.rows import load_split
from metier.text.settings import TextSettings
from metier.train import reference
from tests.conftest import write_config, write_tokenizer

ROWS = 12


@dataclass(frozen=True, slots=True)
class Trained:
    """A run, its base, and the model as it was in memory when its answers were recorded."""

    run: Path
    base: Base
    model: torch.nn.Module


def write_snapshot(folder: Path) -> Path:
    names = {"split": "data.jsonl"}
    rows = [
        {"text": f"where is parcel number {n}?", "label": "parcel" if n % 2 else "where", "id": f"row{n}"}
        for n in range(ROWS)
    ]
    with artefact.publish(
        folder,
        kind="snapshot",
        facts={"sources": {names["split"]: {"format": "label", "columns": {"text": "text", "label": "label"}}}},
    ) as target:
        for split in ("train", "validation", "test"):
            lines = [json.dumps(row | {"source": f"data.jsonl:{n + 1}"}) for n, row in enumerate(rows)]
            (target / f"{split}.jsonl").write_text("".join(line + "\n" for line in lines if split == "train"))
    return folder


def train(
    folder: Path,
    base_folder: Path,
    method: str,
    *,
    strength: float = 0.3,
    precision: str = "float32",
    quantise: Quantisation = "none",
    more: dict[str, Any] | None = None,
) -> Trained:
    """Change a base by random numbers, and leave what training leaves."""
    base = find(str(base_folder), base_folder)
    snapshot = write_snapshot(folder / "snapshots" / "one")
    run = folder / "runs" / method
    run.mkdir(parents=True)
    text = TextSettings()
    renderer = open_renderer(base.folder, text)
    rows = load_split(snapshot, "train")
    rendered = render_rows(rows, renderer, Silent())
    settings = ModelSettings.model_validate({"method": method, "rank": 4} | (more or {}))
    model = adapt(load_base(base, device=torch.device("cpu")), base, method, settings, seed=0)
    random = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                spread = strength * weight.std().clamp(min=0.1)
                weight.add_(spread * torch.randn(weight.shape, generator=random))
    freeze.quantise(model, quantise, torch.device("cpu"))
    plan = {
        "text": text.model_dump(mode="json"),
        "model": settings.model_dump() | {"save_precision": precision},
        "seed": 0,
    }
    named = {"name": base.name, "kind": base.kind, "folder": str(base.folder), "digest": base.digest}
    artefact.write_file(run / "settings.json", json.dumps({"snapshot": str(snapshot), "base": named, "plan": plan}))
    reference.record(run, model, [rendered.sequence(n) for n in range(len(rendered))], rows, renderer)
    publish_model(Trained(run, base, model), precision=precision, quantise=quantise)
    return Trained(run, base, model)


def publish_model(
    trained: Trained,
    *,
    precision: str = "float32",
    quantise: Quantisation = "none",
    change: Callable[[Path], None] | None = None,
) -> None:
    """Save the model as training does; `change` may plant a fault before the manifest is written."""
    facts = {"base": trained.base.name, "base_digest": trained.base.digest, "quantise": quantise}
    renderer = open_renderer(trained.base.folder, TextSettings())
    with artefact.publish(trained.run / "model", kind="model", facts=facts) as folder:
        save_trained(trained.model, trained.base, folder, precision=precision)
        (folder / "chat_template.jinja").write_text(renderer.template.source, encoding="utf-8")
        if change is not None:
            change(folder)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> dict[str, Trained]:
    return {method: train(tmp_path_factory.mktemp(method), tiny_base, method) for method in ("lora", "full", "layers")}


@pytest.fixture
def lora(runs: dict[str, Trained], tmp_path: Path) -> Trained:
    """A copy of the LoRA run, to do harm to."""
    return _copy(runs["lora"], tmp_path)


@pytest.fixture
def full(runs: dict[str, Trained], tmp_path: Path) -> Trained:
    """A copy of the full run, to do harm to."""
    return _copy(runs["full"], tmp_path)


def _copy(trained: Trained, folder: Path) -> Trained:
    run = Path(shutil.copytree(trained.run, folder / "run", ignore=shutil.ignore_patterns("merged", "parity")))
    return Trained(run, trained.base, trained.model)


@pytest.fixture(scope="session")
def untied_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base with a head of its own, apart from the embedding."""
    folder = tmp_path_factory.mktemp("untied-base")
    write_tokenizer(folder)
    write_config(folder, tie_word_embeddings=False)
    save_whole(load_base(find_config(str(folder), folder), device=torch.device("cpu"), seed=2), folder)
    write_tokenizer(folder)
    return folder
