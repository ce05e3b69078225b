"""A run beside a base that stays in bfloat16, as it is stored: the same run, served as an adapter of that base."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from metier.core.progress import Silent
from metier.model.find import Base, find
from metier.serve.catalogue import Catalogue
from metier.text.settings import TextSettings
from metier.train import loading
from metier.train.run import train
from tests.cli.workshop import Listener
from tests.model.test_half import in_bfloat16
from tests.train.conftest import plan
from tests.train.test_options import losses


@pytest.fixture(params=["bfloat16", "float32"])
def base(request, tiny_base: Path, tmp_path: Path) -> Base:
    folder = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    base = find(str(folder), folder)
    return in_bfloat16(base) if request.param == "bfloat16" else base


def test_it_learns_the_same_and_is_served_beside_the_base(base, tiny_snapshot, tmp_path):
    """Where the base is stored in float32 it is another base, in bits that it never had: served whole."""
    runs = {}
    for kind in ("none", "bfloat16"):
        runs[kind] = tmp_path / ".metier" / "runs" / f"kept-{kind}-{'0' * 8}"
        settings = plan({"method": "lora", "quantise": kind})
        train(tiny_snapshot, base, run=runs[kind], settings=settings, progress=Silent())
    stored = _is_half(base)
    difference = abs(losses(runs["none"])[-1] / losses(runs["bfloat16"])[-1] - 1)
    assert (difference < 1e-6) is stored
    assert json.loads((runs["bfloat16"] / "model" / "manifest.json").read_text())["facts"]["quantise"] == "bfloat16"
    models = Catalogue(tmp_path, tmp_path / ".metier", base, text=TextSettings(), mixable=lambda folder: True)
    kinds = {kind: models.find(run.name).kind for kind, run in runs.items()}
    assert kinds == {"none": "adapter", "bfloat16": "adapter" if stored else "whole"}


@pytest.mark.parametrize(("method", "stays"), [("lora", True), ("full", False)])
def test_where_products_are_in_bfloat16_it_stays_so_unasked(base, tiny_snapshot, tmp_path, method, stays):
    heard, run = Listener(), tmp_path / ".metier" / "runs" / "unasked"
    settings = plan({"method": method, "precision": "bfloat16"})
    train(tiny_snapshot, base, run=run, settings=settings, progress=heard)
    assert any("stay in bfloat16" in line for line in heard.said) is (stays and _is_half(base))
    assert "quantise" not in json.loads((run / "model" / "manifest.json").read_text())["facts"]
    whole = tmp_path / ".metier" / "runs" / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "_may_stay", lambda *_: False)
        train(tiny_snapshot, base, run=whole, settings=settings, progress=Silent())
    assert losses(run) == pytest.approx(losses(whole), rel=1e-3)


def _is_half(base: Base) -> bool:
    return all(
        tensor.itemsize == 2 for path in base.folder.glob("*.safetensors") for tensor in load_file(path).values()
    )
