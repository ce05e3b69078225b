"""A fork server that kills a training at a chosen moment: torch is imported once, each trial is a forked child.

The server is a process of its own with one thread. A fork of the process that runs the tests would copy the locks of
its other threads (an engine's, a pool's) as they stand and never let them go: the child would wait for ever.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Any

_LONGEST_SECONDS = 300
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["metier.train.run"])


def start(work: Callable[..., object], *arguments: Any, **named: Any) -> BaseProcess:
    """Start a child that does `work`, a function of a module; its exit status is 0 only when it ended well."""
    child = _server.Process(target=_limited, args=(work, arguments, named))
    child.start()
    return child


def _limited(work: Callable[..., object], arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    """Do the work; a child that hangs ends all the same, and not well."""
    signal.alarm(_LONGEST_SECONDS)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    work(*arguments, **named)


def wait(child: BaseProcess) -> int:
    """Return the exit status of a child when it has ended."""
    child.join()
    assert child.exitcode is not None
    return child.exitcode


def kill(child: BaseProcess) -> None:
    """Kill -9 and reap."""
    child.kill()
    child.join()


def is_saving(run: Path) -> bool:
    """Tell whether a checkpoint is being written at this moment."""
    return any((run / "checkpoints").glob(".tmp-*")) or any(run.glob(".tmp-*"))


def kill_at_random(child: BaseProcess, random: Random, longest_seconds: float) -> int | None:
    """Kill after a random time; returns the exit status if the child ended first."""
    child.join(random.uniform(0, longest_seconds))
    if child.exitcode is not None:
        return child.exitcode
    kill(child)
    return None


def kill_in_save(child: BaseProcess, run: Path, random: Random) -> int | None:
    """Kill inside one of the next saves; returns the exit status if the child ended first."""
    saves_to_let_pass = random.randrange(3)
    inside = False
    while True:
        if child.exitcode is not None:
            return child.exitcode
        saving = is_saving(run)
        if saving and not inside and saves_to_let_pass == 0:
            kill(child)
            return None
        if saving and not inside:
            saves_to_let_pass -= 1
        inside = saving
        time.sleep(0.0002)
