"""Stopping and going on: signals, full disks, damaged checkpoints, logs that would not be repeated."""

import json
import os
import resource
import signal
import time
from pathlib import Path

import pytest

from metier.core import artefact
from metier.core.errors import DataError, DivergenceError, InterruptedRun, LockedError
from metier.core.lock import held
from metier.core.progress import Silent
from metier.model.find import Base, find
from metier.train import checkpoint
from metier.train.log import StepLogFile, read
from metier.train.run import train
from tests.core.children import limit_file_size, outcome
from tests.train import killing
from tests.train.conftest import plan


class StopAt(Silent):
    """A listener that asks this very process to stop when the bar has moved a few steps."""

    def __init__(self, steps: int, number: int) -> None:
        self.steps = steps
        self.number = number

    def task(self, name, total, done=0):
        return super().task(name, total, done) if name != "train" else StoppingTask(self)


class StoppingTask:
    def __init__(self, owner: StopAt) -> None:
        self.owner = owner
        self.moved = 0

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return None

    def advance(self, count=1, facts=None):
        self.moved += count
        if self.moved == self.owner.steps:
            os.kill(os.getpid(), self.owner.number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_request_publishes_and_the_same_call_goes_on(number, run_to_end):
    whole = run_to_end(plan(checks=1), "whole")
    with pytest.raises(InterruptedRun) as caught:
        run_to_end(plan(checks=1), "stopped", StopAt(4, number))
    assert caught.value.exit_code == 75
    assert "same command" in str(caught.value)
    resumed = run_to_end(plan(checks=1), "stopped")
    assert artefact.verify(resumed / "model").digest == artefact.verify(whole / "model").digest


def test_a_run_on_a_quantised_base_goes_on_bit_identical(run_to_end):
    int8 = plan({"method": "lora", "quantise": "int8"}, checks=1)
    whole = run_to_end(int8, "whole")
    with pytest.raises(InterruptedRun):
        run_to_end(int8, "stopped", StopAt(4, signal.SIGTERM))
    resumed = run_to_end(int8, "stopped")
    assert artefact.verify(resumed / "model").digest == artefact.verify(whole / "model").digest


def test_a_second_request_stops_at_once(tiny_base, tiny_snapshot, tmp_path):
    from metier.train.stop import listening

    with listening() as request:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        assert request.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_finished_run_is_not_trained_again(run_to_end):
    run = run_to_end(plan(), "done")
    before = (run / "model" / "model.safetensors").stat().st_mtime_ns
    assert run_to_end(plan(), "done") == run
    assert (run / "model" / "model.safetensors").stat().st_mtime_ns == before


def test_newest_checkpoint_is_the_newest_whole_one(run_to_end):
    run = run_to_end(plan(checkpoint_every=2, checks=1), "checkpoints")
    newest = checkpoint.newest(run)
    assert newest is not None
    assert newest.name == "step-00000012"
    path = newest / "optimiser.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    older = checkpoint.newest(run)
    assert older is not None
    assert older.name == "step-00000010"


def test_a_replayed_step_that_differs_is_an_error(run_to_end, tmp_path):
    with pytest.raises(InterruptedRun):
        run_to_end(plan(checks=1), "tampered", StopAt(4, signal.SIGTERM))
    run = tmp_path / ".metier" / "runs" / "tampered"
    newest = checkpoint.newest(run)
    assert newest is not None
    artefact.remove(newest)
    log = run / "metrics.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    lines[2]["loss_hex"] = (lines[2]["loss"] * 1.0000001).hex()
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(DivergenceError, match="step 3"):
        run_to_end(plan(checks=1), "tampered")


def test_a_last_line_cut_off_by_a_kill_is_taken_away(run_to_end, tmp_path):
    whole = run_to_end(plan(checks=1), "whole")
    with pytest.raises(InterruptedRun):
        run_to_end(plan(checks=1), "cut", StopAt(4, signal.SIGTERM))
    run = tmp_path / ".metier" / "runs" / "cut"
    with (run / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 5, "lo')
    run_to_end(plan(checks=1), "cut")
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == [json.loads(line)["step"] for line in (whole / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("damage", [b"\x00\x00\n", b'{"step": 3, "lo\n', b"[1]\n", b'{"step": 3}\n', b"\xff\n"])
def test_a_damaged_line_of_the_log_is_named(damage, run_to_end, tmp_path):
    with pytest.raises(InterruptedRun):
        run_to_end(plan(checks=1), "damaged", StopAt(4, signal.SIGTERM))
    log = tmp_path / ".metier" / "runs" / "damaged" / "metrics.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines[:2], damage, *lines[3:]]))
    with pytest.raises(DataError, match=r"metrics.jsonl:3: damaged"):
        run_to_end(plan(checks=1), "damaged")
    log.write_bytes(b"".join([*lines[:2], *lines[3:]]))  # as the message says
    assert artefact.exists(run_to_end(plan(checks=1), "damaged") / "model", "model")


def test_a_log_that_may_not_grow_is_told(tmp_path):
    """And what was written before is whole."""
    path = tmp_path / "metrics.jsonl"

    def write() -> None:
        limit_file_size(1000)
        log = StepLogFile(path, exact=True)
        try:
            for step in range(100):
                log.write({"step": step, "loss": 0.1})
        finally:
            log.close()

    assert "metrics.jsonl: this process may write no file larger than 1,000 bytes" in outcome(write)
    known = StepLogFile(path, exact=True)
    assert [entry["step"] for entry in read(path)] == list(range(len(read(path))))
    assert len(read(path)) > 10
    known.close()


def test_two_processes_never_train_the_same_run(run_to_end, tmp_path):
    with held(tmp_path / ".metier" / "runs" / "locked"), pytest.raises(LockedError, match=str(os.getpid())):
        run_to_end(plan(), "locked")


def _on_a_full_disk(said: Path, snapshot: Path, base: Base, run: Path) -> None:
    """Train where files may not grow beyond 60 kB; `said` is told what came of it."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
    try:
        train(snapshot, base, run=run, settings=plan(), progress=Silent())
    except OSError as error:
        said.write_text(f"{type(error).__name__}: {error}")
        raise


def test_a_full_disk_loses_nothing(tiny_base, tiny_snapshot, tmp_path):
    """Files may not grow beyond 60 kB in the child: the first checkpoint does not fit; afterwards the run goes on."""
    base = find(str(tiny_base), tiny_base)
    run = tmp_path / ".metier" / "runs" / "full"
    said = tmp_path / "said"
    assert killing.wait(killing.start(_on_a_full_disk, said, tiny_snapshot, base, run)) != 0
    assert "DiskFullError" in said.read_text()
    assert "no file larger than 60,000 bytes" in said.read_text()
    assert "ulimit -f" in said.read_text()
    assert not list(run.glob("**/.tmp-*"))
    train(tiny_snapshot, base, run=run, settings=plan(), progress=Silent())
    assert artefact.exists(run / "model", "model")
