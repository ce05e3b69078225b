"""Files of a run that were damaged are named, whatever command reads them; nobody sees a traceback."""

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Call
from tests.cli.workshop import gone_the_whole_way

NAMED = ("evaluate", "gate", "export")
COMMANDS = ("report", "evaluate", "prove", "gate", "promote", "export", "train", "run", "versions", "plan")


@pytest.fixture
def project(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("METIER_DATABASE", raising=False)
    return Path(shutil.copytree(gone_the_whole_way(tiny_base)[0], tmp_path / "colours"))


@pytest.mark.parametrize("name", ["settings.json", "summary.json", "choices.json"])
@pytest.mark.parametrize("damage", ["", '{"plan": ', "\x00\x00", "\u00ff"])
def test_a_damaged_file_is_named(metier: Call, project: Path, name: str, damage: str) -> None:
    (run,) = (project / ".metier" / "runs").iterdir()
    (run / name).write_bytes(damage.encode("latin-1"))
    named = []
    for command in [*([each, "--run", run.name] for each in NAMED), *([each] for each in COMMANDS)]:
        result = metier(*command, folder=project)
        said = result.out + result.err
        assert "bug" not in said.lower(), (command, said)
        assert "Traceback" not in said
        if name in "".join(said.split()):
            named.append(command)
            assert result.code == 2, command
            assert "damaged" in said
    assert named
