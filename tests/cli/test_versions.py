"""`promote`, `rollback`, `versions`, `diff`, `card`, `verify-version` on a real run, as a user meets them."""

import json
import shutil
from pathlib import Path

import pytest

from metier.core import artefact
from tests.cli.conftest import Call
from tests.cli.workshop import gone_the_whole_way


@pytest.fixture
def project(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("METIER_DATABASE", raising=False)
    return Path(shutil.copytree(gone_the_whole_way(tiny_base)[0], tmp_path / "colours"))


def test_the_life_of_a_version(metier: Call, project: Path) -> None:
    def call(*arguments: str) -> tuple[int, str]:
        result = metier(*arguments, folder=project)
        return result.code, " ".join((result.out + result.err).lower().split())

    assert "none yet" in call("versions")[1]
    code, text = call("promote")
    assert code == 1
    assert "not promoted: better: accuracy" in text
    code, text = call("promote", "--despite", "a trial of the tools", "--alias", "candidate")
    assert (code, "candidate is colours@1" in text) == (0, True)
    assert "not calibrated:" in text
    assert "at least 20" in text
    assert metier("promote", "colours@candidate", "--json", folder=project).code == 1
    (project / "metier.yaml").write_text((project / "metier.yaml").read_text() + "gate: {require: nothing}\n")
    told = metier("promote", "colours@candidate", "--json", folder=project).json
    assert (told["version"], told["alias"]) == ("colours@1", "production")
    assert "already" in call("promote")[1]
    assert call("compare", "colours@1", "colours@production")[0] == 0
    assert call("gate", "--run", "colours@production")[0] == 0
    assert "skipped" in call("evaluate", "--run", "colours@1")[1]
    assert call("verify-version", "colours@1")[0] == 0
    assert "model-index" in call("card", "colours@production")[1]
    assert call("diff", "colours@1", "colours@candidate")[0] == 0
    code, text = call("rollback")
    assert code == 2
    assert "nothing before colours@1" in text
    history = metier("versions", "--json", folder=project).json["report"]["chapters"][0]["report"]["tables"][1]["rows"]
    assert [row[1] for row in history] == ["production", "candidate"]
    assert history[1][-1] == "a trial of the tools"
    (project / ".metier" / "versions" / "colours" / "1" / "summary.json").write_text("{}")
    for command in (["verify-version", "colours@1"], ["compare", "colours@1", "base"], ["promote", "colours@1"]):
        code, text = call(*command)
        assert code == 1
        assert "summary.json" in text


def test_a_version_needs_its_run_no_more(metier: Call, project: Path) -> None:
    store = project / ".metier"
    assert metier("promote", "--despite", "a trial of the tools", folder=project).code == 0
    (known,) = (store / "runs").iterdir()
    model = artefact.read(known / "model").digest
    metrics = (known / "metrics.jsonl").read_bytes()
    before = artefact.read(store / "versions" / "colours" / "1").digest
    shutil.rmtree(store / "runs")
    for command in (["verify-version", "colours@1"], ["card", "colours@1"], ["compare", "colours@1", "base"]):
        assert metier(*command, folder=project).code == 0
    assert not (store / "runs").exists(), "what only reads a version needs no run"
    result = metier("export", "colours@production", "--to", "merged", "out", folder=project)
    assert result.code == 0, result.err
    assert f"run {known.name} is gone; restored as {known.name} from the version" in " ".join(result.err.split())
    artefact.verify(project / "out", "export")
    assert artefact.read(known / "model").digest == model
    assert (known / "metrics.jsonl").read_bytes() == metrics
    again = metier("export", "colours@1", "--to", "merged", "--json", folder=project)
    assert again.json["path"].endswith(f"{known.name}/exports/merged")
    assert "restored" not in again.err
    assert metier("prove", "--run", "colours@1", folder=project).code == 0
    parity = json.loads((known / "parity" / "parity.json").read_text())
    assert "as colours@production answers them: its run was gone" in parity["hops"][0]["detail"]
    assert artefact.verify(store / "versions" / "colours" / "1").digest == before
    (known / "model" / "config.json").unlink()
    with artefact.publish(known / "model", kind="model", facts={"base": "another training"}) as folder:
        (folder / "config.json").write_text("{}")
    assert metier("export", "colours@1", "--to", "merged", "other", folder=project).code == 0
    assert artefact.read(store / "runs" / f"{known.name}-v1" / "model").digest == model, "the other run stays"
    shutil.rmtree(store / "runs")
    shutil.rmtree(store / "snapshots")
    refused = metier("export", "colours@1", "--to", "merged", "third", folder=project)
    assert refused.code == 2
    assert "so is the snapshot" in " ".join(refused.err.split())
    assert metier("prepare", folder=project).code == 0
    assert metier("export", "colours@1", "--to", "merged", "third", folder=project).code == 0
