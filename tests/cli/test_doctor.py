from importlib import metadata

import psutil
import pytest

from metier.cli import machine
from metier.core import extras


def test_it_says_what_the_machine_can_do(metier):
    result = metier("doctor")
    assert result.code == 0
    for part in ("cores", "memory", "GPU", "disk", "Python", "torch", "train", "Ready"):
        assert part in result.out


def test_json(metier):
    tables = {
        table["title"]: table for table in metier("doctor", "--json").json["report"]["chapters"][0]["report"]["tables"]
    }
    assert set(tables) == {"This machine", "Versions", "Extras"}


def test_a_missing_extra_exits_1_with_the_line_that_installs_it(metier, monkeypatch):
    monkeypatch.setitem(extras.EXTRAS, "train", ("torch", "a_module_nobody_has"))
    result = metier("doctor")
    assert result.code == 1
    assert "a_module_nobody_has" in result.out
    assert "pip install 'metier[train]'" in result.out


def test_deep_lets_torch_multiply(tmp_path):
    rows = dict(machine.examine(tmp_path, deep=True).tables[0].rows)
    assert "threads" in rows["torch computes on"] or "GPU" in rows["torch computes on"]
    assert "billion a second" in rows["float32 products"]


def test_a_folder_that_is_not_there_is_judged_by_its_parent(tmp_path):
    rows = dict(machine.examine(tmp_path / "not" / "yet").tables[0].rows)
    assert str(tmp_path) in rows["disk"]


def test_a_container_with_less_memory_is_believed(tmp_path):
    limit = tmp_path / "memory.max"
    limit.write_text("1073741824\n")
    assert machine.memory_limit((limit,)) == 1 << 30
    limit.write_text("max\n")
    assert machine.memory_limit((limit,)) == psutil.virtual_memory().total
    assert machine.memory_limit((tmp_path / "absent",)) == psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("script", "found"),
    [("echo 'NVIDIA H100, 81559 MiB'", "NVIDIA H100, 81559 MiB"), ("exit 9", ""), ("printf ''", "")],
)
def test_a_gpu_is_seen_through_its_own_program(tmp_path, script, found):
    program = tmp_path / "smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    assert machine.gpu(str(program)) == found
    assert machine.gpu("a-program-nobody-has") == ""


def test_versions_come_from_metadata():
    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    assert dict(machine.versions())["numpy"] == metadata.version("numpy")
    assert dict(machine.versions(absent))["torch"] == "not installed"


def test_little_memory_or_disk_is_remarked(tmp_path):
    nothing_missing = {"train": ()}
    assert machine._verdict(nothing_missing, 1 << 30, 1 << 40).good is None
    assert machine._verdict(nothing_missing, 1 << 40, 1 << 30).good is None
    assert machine._verdict(nothing_missing, 1 << 40, 1 << 40).good is True


def test_what_else_is_missing_is_said_beside_ready(metier, monkeypatch):
    monkeypatch.setitem(extras.EXTRAS, "sql", ("a_module_nobody_has",))
    result = metier("doctor")
    assert result.code == 0
    assert "everything is installed" not in result.out
    assert "sql" in result.out.rpartition("Ready to train. Not installed, for who needs them:")[2]
