"""One training at a time on a device: real processes that wait, are refused, are killed."""

import json
import os
import time
from pathlib import Path

import pytest
import torch

from metier.core import lock
from metier.core.errors import LockedError, SettingsError
from metier.core.progress import Silent
from metier.train import device
from tests.train import killing
from tests.train.conftest import plan

CPU = torch.device("cpu")
SECONDS = 60


@pytest.fixture
def locks(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(lock.FOLDER, str(tmp_path / "locks"))
    return tmp_path / "locks"


class Heard(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def occupy(locks: Path, how: str, run: Path, seconds: float) -> None:
    """Be a training that takes so many seconds, and write down from when until when."""
    os.environ |= {lock.FOLDER: str(locks), device.HOW: how}
    run.mkdir(parents=True, exist_ok=True)
    with device.alone(CPU, run, Silent()):
        begun = time.monotonic()
        (run / "begun").touch()
        time.sleep(seconds)
        (run / "times").write_text(json.dumps([begun, time.monotonic()]))


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while not path.exists():
        assert time.monotonic() < deadline, f"no {path}"
        time.sleep(0.02)


def both(locks: Path, how: str, folder: Path) -> bool:
    """Let two trainings begin at once; tell whether one began before the other had ended."""
    runs = [folder / how / name for name in ("a", "b")]
    children = [killing.start(occupy, locks, how, run, 1.0) for run in runs]
    assert [killing.wait(child) for child in children] == [0, 0]
    (begun, ended), (later, _) = sorted(json.loads((run / "times").read_text()) for run in runs)
    assert begun < ended
    return later < ended


def test_two_trainings_take_turns_and_would_not_otherwise(locks, tmp_path):
    assert not both(locks, "wait", tmp_path)
    assert both(locks, "off", tmp_path), "the lock is what made them take turns"


def test_a_training_waits_says_for_whom_and_goes_on_when_that_one_is_killed(locks, tmp_path):
    first = killing.start(occupy, locks, "wait", tmp_path / "first", 100.0)
    wait_for(tmp_path / "first" / "begun")
    second = killing.start(occupy, locks, "wait", tmp_path / "second", 0.0)
    waiting = tmp_path / "second" / device.WAITING
    wait_for(waiting)
    assert waiting.read_text() == f"process {first.pid} training {tmp_path / 'first'} on this CPU"
    assert not (tmp_path / "second" / "begun").exists()
    killing.kill(first)
    assert killing.wait(second) == 0
    assert not waiting.exists()


def test_a_training_by_hand_on_a_cpu_is_told_of_the_other_and_trains(locks, tmp_path, run_to_end, monkeypatch):
    child = killing.start(occupy, locks, "", tmp_path / "other", 100.0)
    wait_for(tmp_path / "other" / "begun")
    heard = Heard()
    try:
        monkeypatch.setenv(device.HOW, "")
        run_to_end(plan(max_steps=2, checks=1), progress=heard)
        told = f"process {child.pid} training {tmp_path / 'other'} on this CPU, too: both take longer; "
        assert f"{told}train.threads says how many cores each may use" in heard.said
        monkeypatch.setenv(device.HOW, "refuse")
        with pytest.raises(LockedError, match=f"process {child.pid} training .* on this CPU; wanted: one training"):
            run_to_end(plan(max_steps=2, checks=1), name="refused")
        assert not (tmp_path / ".metier" / "runs" / "refused" / "metrics.jsonl").exists()
    finally:
        killing.kill(child)
    run_to_end(plan(max_steps=2, checks=1), name="refused")


def test_a_gpu_is_waited_for_without_being_asked(locks, tmp_path, monkeypatch):
    """Two trainings by hand on one GPU: its lock has the name of the card, whatever its number in a process is."""
    monkeypatch.setenv(device.HOW, "")
    monkeypatch.setattr(device, "_identity", lambda found: ("gpu-1", "A GPU"))
    asked: list[str] = []

    class Gone(Heard):
        def say(self, text: str) -> None:
            asked.append(text)
            raise KeyboardInterrupt

    with (
        lock.of_machine("gpu-1", told="process 1 training x", taken=lambda holder: True),
        pytest.raises(KeyboardInterrupt),
        device.alone(torch.device("cuda"), tmp_path, Gone()),
    ):
        pass
    assert asked == ["waits for process 1 training x on A GPU"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_lock_of_a_gpu_has_the_name_of_the_card():
    name, called = device._identity(torch.device("cuda"))
    assert name.startswith("gpu-")
    assert len(name) > 20
    assert called == torch.cuda.get_device_name()


def test_what_cannot_be_locked_or_is_not_known_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv(device.HOW, "wait")
    (tmp_path / "file").touch()
    monkeypatch.setenv(lock.FOLDER, str(tmp_path / "file"))
    heard = Heard()
    with device.alone(CPU, tmp_path, heard):
        pass
    assert heard.said[0].startswith("whether another process trains on this CPU is not known: ")
    monkeypatch.setenv(device.HOW, "never")
    with pytest.raises(SettingsError, match="wait, refuse or off"), device.alone(CPU, tmp_path, heard):
        pass
