"""`promote`, `rollback`, `versions`, `diff`, `card`, `verify-version` on a real run, as a user meets them."""

import shutil
from pathlib import Path

import pytest

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
