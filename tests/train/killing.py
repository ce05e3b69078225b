"""A fork server that kills a training at a chosen moment: torch is imported once, each trial is a forked child."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random


def start(work: Callable[[], object]) -> int:
    """Fork a child that does `work`; returns its process id. The child's exit status is 0 only when it ended well."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        work()
        status = 0
    finally:
        os._exit(status)


def ended(child: int) -> int | None:
    """Return the exit status of a child, or None while it lives."""
    pid, status = os.waitpid(child, os.WNOHANG)
    return None if pid == 0 else status


def kill(child: int) -> None:
    """Kill -9 and reap."""
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def is_saving(run: Path) -> bool:
    """Tell whether a checkpoint is being written at this moment."""
    return any((run / "checkpoints").glob(".tmp-*")) or any(run.glob(".tmp-*"))


def kill_at_random(child: int, random: Random, longest_seconds: float) -> int | None:
    """Kill after a random time; returns the exit status if the child ended first."""
    deadline = time.perf_counter() + random.uniform(0, longest_seconds)
    while time.perf_counter() < deadline:
        if (status := ended(child)) is not None:
            return status
        time.sleep(0.0005)
    kill(child)
    return None


def kill_in_save(child: int, run: Path, random: Random) -> int | None:
    """Kill inside one of the next saves; returns the exit status if the child ended first."""
    saves_to_let_pass = random.randrange(3)
    inside = False
    while True:
        if (status := ended(child)) is not None:
            return status
        saving = is_saving(run)
        if saving and not inside and saves_to_let_pass == 0:
            kill(child)
            return None
        if saving and not inside:
            saves_to_let_pass -= 1
        inside = saving
        time.sleep(0.0002)
