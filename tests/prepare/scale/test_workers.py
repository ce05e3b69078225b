"""The same snapshot from one process and from several; what happens when one of them, or all, are ended."""

import gc
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from metier.core.errors import DataError, RunError
from metier.prepare.protect.vault import ENVIRONMENT
from metier.prepare.reading import pieces
from metier.prepare.scale.pool import Pool
from metier.prepare.scale.run import processes
from metier.prepare.scale.work import Job
from metier.prepare.settings import PrepareSettings
from tests.prepare.protect.samples import KEY
from tests.prepare.workshop import Workshop, decisions

PEOPLE = ("Maria Lopez", "Johannes Becker", "Anna Schmidt", "Peter Miller", "Laura Carvalho")


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(pieces, "_BLOCK", 2000)
    monkeypatch.setattr(pieces, "_RECORDS", 7)


def chats(workshop: Workshop, name: str = "chats.jsonl", count: int = 200) -> str:
    """Write chats of every kind of trouble: dirt, copies, broken lines, people, groups called after them."""
    records = []
    for place in range(count):
        person = PEOPLE[place % 5]
        turns = [
            {"role": "system", "content": "You answer briefly."},
            {"role": "user", "content": f"  {person}: caf\u00c3\u00a9 order {place % 150} is late, +49 30 1234567"},
            {"role": "assistant", "content": f"Dear {person.split()[0]}, order {place % 150} comes tomorrow."},
        ]  # fmt: skip
        records.append({"messages": turns, "who": f"{person}", "slice": "mail" if place % 3 else "chat"})
    workshop.lines(name, records)
    with (workshop.folder / name).open("a", encoding="utf-8") as out:
        out.write('{"messages": [}\n{"messages": []}\n')
    return name


SETTINGS = [
    {},
    {"protect": "redact", "columns": {"group": "who"}, "dedupe": {"exact": False}},
    {"protect": "pseudonymise", "columns": {"group": "who"}, "keep": ["chats.jsonl:7"]},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_any_number_of_processes_gives_the_same_snapshot_byte_for_byte(tmp_path, small_pieces, monkeypatch, settings):
    monkeypatch.setenv(ENVIRONMENT, KEY)
    results = []
    for count in (1, 2, 3):
        folder = tmp_path / str(count)
        folder.mkdir()
        workshop = Workshop(folder)
        held = workshop.lines("held.csv", [])
        workshop.write(held, "text,answer\n" + "".join(f"question {n},answer {n}\n" for n in range(30)))
        data = {"train": chats(workshop), "test": held}
        columns = {} if "columns" not in settings else {"columns": settings["columns"]}
        result = workshop.prepare(data, further={"workers": count}, **{**settings, **columns})
        told = [choice for choice in workshop.heard.choices if choice.name == "processes"]
        assert [choice.value for choice in told] == [count]
        results.append((result.digest, result.path.name, decisions(result), result.choices, result.dropped))
    assert results[0] == results[1] == results[2]
    assert results[0][4]["broken JSON"] == 1


def test_an_error_in_a_piece_is_the_one_that_one_process_would_tell(workshop, small_pieces):
    chats(workshop)
    with (workshop.folder / "chats.jsonl").open("ab") as out:
        out.write(b'{"messages": "caf\xe9"}\n' * 3)
    for count in (1, 3):
        with pytest.raises(DataError, match=r"chats.jsonl:203: byte 0xe9 is not UTF-8"):
            workshop.prepare("chats.jsonl", further={"workers": count})
        assert workshop.snapshots() == []


def test_a_process_that_is_killed_is_told_and_the_next_run_goes_through(workshop, small_pieces, monkeypatch):
    chats(workshop)
    begun = Pool.__enter__

    def crippled(self):
        pool = begun(self)
        pool._workers[1].process.kill()
        return pool

    others = psutil.Process().children(recursive=True)
    with monkeypatch.context() as patch:
        patch.setattr(Pool, "__enter__", crippled)
        with pytest.raises(RunError, match="was ended by SIGKILL") as caught:
            workshop.prepare("chats.jsonl", further={"workers": 2})
    assert caught.value.exit_code == 3
    assert "run the same command again" in str(caught.value)
    assert workshop.snapshots() == []
    assert set(psutil.Process().children(recursive=True)) <= set(others)
    assert workshop.prepare("chats.jsonl", further={"workers": 2}).rows_in == 202


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_no_process_is_left_when_the_command_is_ended(workshop, blow):
    chats(workshop, count=20_000)
    (workshop.folder / "metier.yaml").write_text("data: chats.jsonl\nbase: metier-tiny\n", encoding="utf-8")
    command = [sys.executable, "-m", "metier", "prepare", "--project", str(workshop.folder)]
    with subprocess.Popen(
        [*command, "--prepare.further.workers", "2"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, process_group=0
    ) as started:
        children = _children(started.pid)
        os.killpg(started.pid, blow)
        told = started.stdout.read().decode() if blow == signal.SIGINT else ""
        code = started.wait(60)
    assert code != 0
    assert "Traceback" not in told
    for child in children:
        child.wait(60)


def _children(parent: int) -> list[psutil.Process]:
    """Return the processes that prepare rows, once they do."""
    for _ in range(1200):
        found = psutil.Process(parent).children()
        if len(found) == 2 and all(child.cpu_times().user > 0.5 for child in found):
            return found
        time.sleep(0.05)
    raise AssertionError("no process was started")


def test_a_process_that_prepares_rows_imports_no_torch():
    line = "import metier.prepare.scale.process, sys; print([m for m in sys.modules if m in ('torch', 'transformers')])"
    done = subprocess.run([sys.executable, "-c", line], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("settings", "size", "count", "reason"),
    [
        ({"further": {"workers": 3}}, 10, 3, "prepare.further.workers"),
        ({}, 10, 1, "less than 8 MiB to read"),
        ({}, 20 << 20, 2, "2 cores and 20 MiB to read"),
        ({"protect": {"action": "count", "model": "ner"}}, 20 << 20, 1, "the model of prepare.protect.model"),
    ],
)
def test_how_many_processes_work_is_chosen_with_a_reason(tmp_path, monkeypatch, settings, size, count, reason):
    monkeypatch.setattr("metier.prepare.scale.run._cores", lambda: 2)
    part = pieces.Part(name="a", path=tmp_path / "a", layout="json", bytes=size)
    file = pieces.DataFile(name="a", role="train", parts=(part,), bytes=size, sha256="")
    chosen = processes(PrepareSettings.model_validate(settings), [file])
    assert (chosen.value, chosen.reason[: len(reason)]) == (count, reason)


def test_a_job_can_be_sent_to_another_process(tmp_path):
    job = Job(settings=PrepareSettings(), folder=tmp_path, spared=frozenset({"a:1"}), guarded=True, languages=False)
    with Pool(job, 1) as pool:
        assert list(pool.map([])) == []


def test_another_version_of_a_library_that_decides_about_rows_is_another_snapshot(workshop, monkeypatch):
    first = workshop.prepare(chats(workshop))
    assert workshop.prepare("chats.jsonl").reused
    assert workshop.prepare("chats.jsonl", further={"workers": 2}).reused
    monkeypatch.setattr("metier.prepare.cleaning.stage.version", lambda name: "99")
    again = workshop.prepare("chats.jsonl")
    assert not again.reused
    assert again.path != first.path


@dataclass(frozen=True)
class _Counts:
    """Answers every piece with what the collector of circles has been told."""

    def opened(self):
        return lambda piece: (gc.get_threshold()[0], gc.get_freeze_count())


def test_what_a_process_has_loaded_is_not_looked_through_again_and_again(monkeypatch):
    root = str(Path(__file__).resolve().parents[3])  # a worker imports the work that is sent to it, from here too
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])))
    with Pool(_Counts(), 1) as pool:
        (first, before), (_, after) = pool.map([1, 2])
    assert first > gc.get_threshold()[0]
    assert before == 0
    assert after > 0
