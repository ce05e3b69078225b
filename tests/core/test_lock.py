"""One writer at a time, and a lock that dies with its process."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from metier.core import lock
from metier.core.errors import LockedError
from tests.core.children import die, outcome


def take(folder: Path) -> None:
    with lock.held(folder):
        pass


def test_another_process_is_refused_and_told_who_holds_it(tmp_path):
    with lock.held(tmp_path / "run"):
        said = outcome(lambda: take(tmp_path / "run"))
    assert said == (
        f"LockedError: {tmp_path / 'run'}: process {os.getpid()} works on it; "
        "wanted: one process at a time; do: wait for it, or stop it"
    )
    assert outcome(lambda: take(tmp_path / "run")) == "done"


def test_the_same_process_is_refused_as_well(tmp_path):
    with lock.held(tmp_path), pytest.raises(LockedError), lock.held(tmp_path):
        pass
    take(tmp_path)


def test_two_folders_are_two_locks(tmp_path):
    with lock.held(tmp_path / "a"), lock.held(tmp_path / "b"):
        pass


def test_an_error_inside_releases_it(tmp_path):
    with pytest.raises(ValueError, match="mine"), lock.held(tmp_path):
        raise ValueError("mine")
    take(tmp_path)


def hold_and_die(folder: Path) -> None:
    with lock.held(folder):
        die()


def test_a_killed_holder_holds_nothing(tmp_path):
    assert outcome(lambda: hold_and_die(tmp_path)) == "killed"
    take(tmp_path)


def hold_start_and_die(folder: Path) -> None:
    with lock.held(folder):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3)"])
        die()


def test_a_process_that_the_holder_started_does_not_keep_the_lock(tmp_path):
    started = time.monotonic()
    assert outcome(lambda: hold_start_and_die(tmp_path)) == "killed"
    take(tmp_path)
    assert time.monotonic() - started < 3, "the child must still have been alive"


@pytest.fixture
def machine(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(lock.FOLDER, str(tmp_path / "locks"))
    return tmp_path / "locks" / "metier-gpu-1.lock"


def never(holder: str) -> bool:
    raise LookupError(holder)


@contextmanager
def gpu(taken=never, told: str = "process 7 training x") -> Iterator[bool]:
    with lock.of_machine("gpu-1", told=told, taken=taken) as held:
        yield held


def take_gpu() -> None:
    with gpu():
        pass


def test_what_a_machine_has_once_is_held_once_and_the_holder_tells_of_itself(machine):
    with gpu(told="process 7\n\x1b[31m trains"):
        assert outcome(take_gpu) == "LookupError: process 7??[31m trains"
        with lock.of_machine("gpu-2", told="another", taken=never) as other:
            assert other
        with gpu(lambda holder: False) as held:
            assert held is False
    assert outcome(take_gpu) == "done"
    assert machine.stat().st_mode & 0o777 == 0o666, "other users' trainings wait for it, too"


def test_who_waits_gets_it_when_the_holder_is_killed(machine):
    read, write = os.pipe()

    def hold() -> None:
        with gpu(told="process 8 training y"):
            os.write(write, b"1")
            time.sleep(0.5)
            die()

    child = os.fork()
    if child == 0:
        hold()
    os.read(read, 1)
    asked: list[str] = []
    with gpu(lambda holder: asked.append(holder) or True) as held:
        assert held
    assert asked == ["process 8 training y"], "asked once, however long it takes"
    assert os.waitpid(child, 0)[0] == child


def test_a_lock_that_was_cleaned_away_meanwhile_is_not_taken_for_one(machine):
    """Who held a file that nobody else can find any more would hold nothing."""

    def cleaned(holder: str) -> bool:
        machine.unlink()
        return True

    with gpu(), gpu(cleaned) as held:
        assert held
        assert outcome(take_gpu).startswith("LookupError: process 7"), "the new file is what everybody finds"


def test_a_link_that_somebody_laid_is_not_followed(machine, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    machine.parent.mkdir()
    machine.symlink_to(tmp_path / "mine.txt")
    with pytest.raises(OSError, match="gpu-1"), gpu():
        pass
    machine.unlink()
    machine.hardlink_to(tmp_path / "mine.txt")
    with pytest.raises(OSError, match="not a file of its own"), gpu():
        pass
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_all_users_look_in_the_same_folder(monkeypatch, tmp_path):
    monkeypatch.delenv(lock.FOLDER, raising=False)
    everybodys = tmp_path / "lock"
    everybodys.mkdir()
    everybodys.chmod(0o1777)
    monkeypatch.setattr(lock, "_EVERYBODYS", everybodys)
    assert lock._machine_folder() == everybodys
    everybodys.chmod(0o755)  # root could write there, others not: then nobody uses it
    assert lock._machine_folder() == Path(tempfile.gettempdir())
