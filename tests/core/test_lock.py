"""One writer at a time, and a lock that dies with its process."""

import os
import subprocess
import sys
import time
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
