"""`metier verify`: a table, one JSON document, and exit code 1 with the name of the check that does not hold."""

import pytest

from metier.forest.forest import Trunk
from tests.cli.workshop import make_project

FEW = ("--verify.rows", "4", "--verify.tokens", "48", "--verify.steps=2")


@pytest.fixture
def project(tiny_base, tmp_path):
    return make_project(tmp_path / "colours", tiny_base)


def test_what_holds_is_shown(metier, project):
    result = metier("verify", *FEW, folder=project)
    assert result.code == 0, result.err
    assert "forest = plain padded step" in result.out
    assert "computes what the plain step computes" in result.out
    assert "trunk" in result.out
    assert not (project / ".metier" / "runs").exists()


def test_a_breach_is_named_and_ends_with_1(metier, project, monkeypatch):
    monkeypatch.setattr(Trunk, "backward", Trunk.forget)
    result = metier("verify", *FEW, folder=project)
    assert result.code == 1
    assert "NO" in result.out
    assert "forest = plain padded step" in result.err + result.out
    document = metier("verify", *FEW, "--json", folder=project)
    assert document.code == 1
    assert document.err == ""
    assert document.json["error"]["exit_code"] == 1
    assert "accumulation" in document.json["report"]["verdict"]["text"]
    assert len(document.json["checks"]) == 7
