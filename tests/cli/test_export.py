"""`metier export` and the hop over HTTP on a whole project, as a user calls them."""

import json
import shutil

import pytest

from metier.core import artefact
from tests.cli.workshop import gone_the_whole_way


@pytest.fixture
def project(tiny_base, tmp_path):
    folder, outcome = gone_the_whole_way(tiny_base)
    return shutil.copytree(folder, tmp_path / "colours"), outcome.run.id


def test_a_run_is_exported_and_told(metier, project):
    folder, run = project
    result = metier("export", run, "--to", "merged", "out", folder=folder)
    assert result.code == 0, result.err
    assert "answers as what was trained: transformers" in " ".join(result.out.split())
    artefact.verify(folder / "out", "export")
    told = metier("export", run[:-2], "--to", "vllm", "--json", folder=folder).json
    assert told["path"].endswith(f"{run}/exports/vllm")
    assert told["report"]["verdict"]["good"] is True
    refused = metier("export", run, "--to", "peft", folder=folder)
    assert refused.code == 2
    assert "export it --to merged" in " ".join(refused.err.split())
    assert metier("export", "nothing", "--to", "peft", folder=folder).code == 2


def test_proof_goes_on_to_the_target(metier, project):
    folder, run = project
    result = metier("prove", "--serve.target", "metier", "--json", folder=folder)
    assert result.code == 0, result.out
    parity = json.loads((folder / ".metier" / "runs" / run / "parity" / "parity.json").read_text())
    assert [hop["name"] for hop in parity["hops"]] == ["trained", "saved", "reloaded", "merged", "served"]
    assert parity["hops"][-1]["right"] is not None
    assert "already" not in result.err
    again = metier("prove", "--serve.target", "metier", "--json", folder=folder).json
    assert again["stages"][-1]["skipped"]
