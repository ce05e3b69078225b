"""`metier plan` for a base whose weights are not here: its configuration and tokenizer are enough."""

import json
import shutil
from pathlib import Path

import pytest

from metier import flow
from metier.core.errors import ModelError
from metier.model import find as finding
from metier.model.find import find
from tests.cli.workshop import make_project, opened


@pytest.fixture
def bare(tiny_base: Path, tmp_path: Path) -> Path:
    """The tiny base without its weights."""
    return Path(shutil.copytree(tiny_base, tmp_path / "bare", ignore=shutil.ignore_patterns("*.safetensors")))


def test_a_plan_needs_no_weights_and_says_the_same(tiny_base, bare, tmp_path):
    told = []
    for name, base in (("with", tiny_base), ("without", bare)):
        place = opened(make_project(tmp_path / name, base))
        run = flow.locate(place, flow.prepare(place).path, weights=False)
        report = flow.plan(place, run)
        told.append([row[:2] for table in report.tables for row in table.rows])
    assert told[0] == told[1]
    assert "lora" in json.dumps(told[0], default=str).lower(), "alternatives are planned too"
    with pytest.raises(ModelError, match=r"no \*\.safetensors"):
        flow.locate(place, flow.prepare(place).path)


def test_weights_of_a_hub_are_not_downloaded_for_a_plan(bare, tmp_path, monkeypatch):
    asked = []

    def download(name: str, *, allow_patterns: list[str]) -> str:
        asked.append(allow_patterns)
        return str(bare)

    monkeypatch.setattr(finding, "snapshot_download", download)
    base = find("org/name", tmp_path, weights=False)
    assert (base.kind, base.folder) == ("hub", bare)
    with pytest.raises(ModelError, match=r"no \*\.safetensors"):
        find("org/name", tmp_path)
    assert ["*.safetensors" in patterns for patterns in asked] == [False, True]
