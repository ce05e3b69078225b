import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from metier.cli.compare import known_names
from metier.core import artefact
from metier.core.__about__ import __version__
from tests.cli.workshop import gone_the_whole_way, make_project

COMMANDS = [
    "init",
    "run",
    "doctor",
    "prepare",
    "sweep",
    "train",
    "evaluate",
    "prove",
    "report",
    "verify",
    "bases",
    "compare",
    "schema",
]


@pytest.fixture
def done(tiny_base) -> Path:
    return gone_the_whole_way(tiny_base)[0]


@pytest.fixture
def run_id(tiny_base) -> str:
    return gone_the_whole_way(tiny_base)[1].run.id


def test_help_names_every_command_and_says_how_to_start(metier):
    for arguments in ([], ["--help"], ["-h"]):
        result = metier(*arguments)
        assert result.code == 0
        assert all(re.search(rf"\b{name}\b", result.out) for name in COMMANDS)
        assert "metier init my-task" in result.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_json(metier, command):
    result = metier(command, "--help")
    assert result.code == 0
    assert "--json" in result.out
    takes_settings = command not in {"init", "doctor", "schema"}
    assert ("--train.learning-rate" in result.out) == takes_settings


def test_version(metier):
    assert metier("--version").out == f"metier {__version__}\n"
    assert metier("--version", "--json").json == {"version": __version__}


def test_json_may_stand_before_the_command(metier):
    assert metier("--json", "doctor").json["report"]["title"] == "metier doctor"


def test_init_makes_a_project_and_says_what_to_do_next(metier, tmp_path):
    result = metier("init", "my-task")
    assert result.code == 0
    assert (tmp_path / "my-task" / "metier.yaml").is_file()
    assert (tmp_path / "my-task" / "README.md").is_file()
    assert any((tmp_path / "my-task" / "data").iterdir())
    assert "cd my-task" in result.out
    assert "metier run" in result.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my-task"]


def test_init_in_json(metier, tmp_path):
    assert metier("init", "my-task", "--json").json == {
        "project": str(tmp_path / "my-task"),
        "next": ["cd my-task", "metier run"],
    }


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_init_overwrites_nothing(metier, tmp_path, kind):
    target = tmp_path / "my-task"
    if kind == "folder":
        target.mkdir()
        target /= "mine.txt"
    target.write_text("mine")
    result = metier("init", "my-task")
    assert result.code == 2
    assert "already there" in result.err
    assert target.read_text() == "mine"


def test_init_takes_an_empty_folder_and_makes_parents(metier, tmp_path):
    (tmp_path / "empty").mkdir()
    assert metier("init", "empty").code == 0
    assert metier("init", "deep/er/task").code == 0
    assert (tmp_path / "deep" / "er" / "task" / "metier.yaml").is_file()


def test_init_where_nothing_can_be_made(metier, tmp_path):
    (tmp_path / "file").write_text("")
    result = metier("init", "file/task")
    assert result.code == 2
    assert "cannot be made" in result.err


def test_run_ends_with_the_verdict_and_the_path_of_the_report(metier, done, run_id):
    result = metier("run", folder=done)
    assert result.code == 0
    html = Path(re.search(r"^Report  (.+)$", result.out, re.MULTILINE)[1])
    assert html == done / ".metier" / "runs" / run_id / "report" / "report.html"
    assert html.is_file()
    assert "Is it better than the base?" in result.out
    assert result.err.count(": skipped, ") == 5


def test_run_in_json_prints_one_document_and_nothing_else(metier, done, run_id):
    result = metier("run", "--json", folder=done)
    assert result.err == ""
    assert result.json["run"] == run_id
    assert [stage["name"] for stage in result.json["stages"]] == ["prepare", "train", "evaluate", "prove", "report"]
    assert all(stage["skipped"] for stage in result.json["stages"])
    assert len(result.json["report"]["chapters"]) == 4
    assert Path(result.json["html"]).is_file()


@pytest.mark.parametrize("command", ["prepare", "train", "evaluate", "prove", "report"])
def test_each_stage_shows_its_report_and_where_it_is(metier, done, run_id, command):
    result = metier(command, folder=done)
    assert result.code == 0
    assert result.err.startswith("prepare: skipped, ")
    last = result.out.splitlines()[-1]
    assert Path(last.split("  ", 1)[1]).exists()
    document = metier(command, "--json", folder=done).json
    assert document["report"]["verdict"]["text"]
    assert command == "prepare" or document["run"] == run_id


def test_another_folder_can_be_named(metier, done):
    assert metier("prepare", "--project", str(done)).code == 0
    assert metier("prepare", "-p", str(done)).code == 0


def test_prepare_shows_what_is_learnt(metier, done):
    result = metier("prepare", "--show", "2", folder=done)
    assert result.code == 0
    assert re.search(r"⟦(red|green|blue|grey)<\|stop\|>⟧", result.out)
    assert "preflight" in result.out
    shown = metier("prepare", "--show", "2", "--json", folder=done).json["shown"]
    assert len(shown["rows"]) == 2
    assert any(piece["learnt"] for piece in shown["rows"][0]["pieces"])
    assert shown["ok"] is True


def test_prepare_writes_a_page_and_compares_two_snapshots(metier, done):
    first = metier("prepare", "--json", folder=done).json
    assert Path(first["page"]).read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [chapter["name"] for chapter in first["report"]["chapters"]] == ["data", "tokens", "rows"]
    second = metier("prepare", "--prepare.test-share", "0.3", "--json", folder=done).json
    names = [Path(entry["snapshot"]).name for entry in (first, second)]
    told = metier("prepare", "--diff", *names, folder=done)
    assert told.code == 0
    assert "moved" in told.out
    assert "prepare.test_share" in told.out
    assert metier("prepare", "--diff", names[0], "nothing", folder=done).code == 2


def test_a_setting_given_on_the_command_line_counts(metier, done, run_id):
    other = metier("report", "--seed", "3", "--json", folder=done)
    assert other.code == 2
    assert other.json["error"]["found"].startswith("colours-")
    assert f"{run_id})" in other.json["error"]["found"]
    first, second = (
        metier("prepare", f"--prepare.test-share={share}", "--json", folder=done).json["snapshot"]
        for share in (0.25, 0.5)
    )
    assert first != second


def test_prepare_that_fails_its_preflight_exits_2_and_still_shows(metier, done):
    result = metier("prepare", "--show", "1", "--text.max-tokens", "30", folder=done)
    assert result.code == 2
    assert "✗ rows lost" in result.out
    assert "found" in result.err
    document = metier("prepare", "--show", "1", "--text.max-tokens", "30", "--json", folder=done)
    assert document.code == 2
    assert document.json["shown"]["ok"] is False


def test_evaluate_before_training_says_what_to_do(metier, tiny_base, tmp_path):
    folder = make_project(tmp_path / "fresh", tiny_base)
    result = metier("evaluate", folder=folder)
    assert result.code == 2
    assert "not trained yet" in result.err
    assert "metier train" in result.err


def test_a_broken_model_exits_1_after_the_report(metier, done, run_id, tmp_path):
    folder = Path(shutil.copytree(done, tmp_path / "colours"))
    path = folder / ".metier" / "runs" / run_id / "model" / "tokenizer.json"
    path.write_bytes(path.read_bytes() + b" ")
    result = metier("run", folder=folder)
    assert result.code == 1
    assert "hop 'saved'" in result.err
    assert "✗ No" in result.out
    document = metier("run", "--json", folder=folder)
    assert document.code == 1
    assert document.json["report"]["verdict"]["good"] is False
    assert document.json["error"]["exit_code"] == 1


def test_compare(metier, done, run_id):
    assert "dentical" in metier("compare", run_id, run_id, folder=done).out
    told = metier("compare", "base", run_id[:9], folder=done)
    assert told.code == 0
    assert run_id in told.out
    assert metier("compare", "base", "base", "--json", folder=done).json["second"] == "base"
    (done / "several.txt").write_text("Name the colour.")
    three = metier("compare", run_id, "base", "prompt:several.txt", "--json", folder=done)
    assert three.json["more"] == ["prompt:several.txt"]
    assert [row[0] for row in three.json["report"]["chapters"][0]["report"]["tables"][0]["rows"]] == [
        "base",
        "prompt:several.txt",
    ]
    twice = metier("compare", run_id, "base", "base", folder=done)
    assert twice.code == 2
    assert "twice" in twice.err
    wrong = metier("compare", "base", "nothing", folder=done)
    assert wrong.code == 2
    assert run_id in wrong.err


def test_an_evaluation_asks_everybody_that_it_is_told_to(metier, done, run_id, tmp_path):
    folder = Path(shutil.copytree(done, tmp_path / done.name))
    (folder / "best.txt").write_text("Name the colour.")
    asked = ["--evaluate.against", json.dumps(["prompt:best.txt", run_id])]
    first = metier("evaluate", *asked, folder=folder)
    assert first.code == 0
    assert "Against others" in first.out
    assert "prompt:best.txt" in first.out
    assert "identical" in first.out, "the run itself"
    again = metier("evaluate", *asked, folder=folder)
    assert "against prompt:best.txt" not in again.err, "it was asked before"
    gone = metier("evaluate", "--evaluate.against", '["prompt:gone.txt"]', folder=folder)
    assert (gone.code, "gone.txt" in gone.err) == (2, True)


def test_the_shell_completes_commands_and_runs(monkeypatch, done, run_id):
    program = Path(sys.executable).parent / "metier"
    environment = os.environ | {"_METIER_COMPLETE": "source_bash"}
    script = subprocess.run([program], env=environment, capture_output=True, text=True, check=False).stdout
    assert "complete -o default -F _metier_completion metier" in script
    monkeypatch.chdir(done)
    assert known_names("") == ["base", run_id]
    assert known_names("colours") == [run_id]


def test_schema_is_json(metier):
    for arguments in ([], ["--json"]):
        assert metier("schema", *arguments).json["required"] == ["base", "data"]


def test_reports_are_whole_artefacts(done, run_id):
    manifest = artefact.verify(done / ".metier" / "runs" / run_id / "report", "report")
    assert set(manifest.files) == {"report.html", "report.md", "report.json"}
