"""Pieces dealt out to processes of this machine; the answers come back in the order of the pieces."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar, cast

from metier.core.errors import RunError
from metier.prepare.scale.order import in_order

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}

Piece = TypeVar("Piece")
Outcome = TypeVar("Outcome")


class Job(Protocol[Piece, Outcome]):
    """All that a process has to know to work on pieces."""

    def opened(self) -> Callable[[Piece], Outcome]:
        """Return what works on a piece, with all that it needs loaded."""
        ...


@dataclass(slots=True)
class _Worker:
    process: "subprocess.Popen[bytes]"
    connection: Connection


class Pool(Generic[Piece, Outcome]):
    """Processes that do the same job; a context manager, after which none of them is left.

    They are in a process group of their own, so that Ctrl-C is heard here alone, and each of them ends by itself when
    this process is gone, because its connection closes.

    Args:
        job: what they do.
        count: how many there are.
    """

    def __init__(self, job: Job[Piece, Outcome], count: int) -> None:
        self._job = job
        self._count = count
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        """Start the processes."""
        self._workers = [_started() for _ in range(self._count)]
        for worker in self._workers:
            worker.connection.send(self._job)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End them, in the middle of their work if need be."""
        for worker in self._workers:
            worker.connection.close()
            worker.process.kill()
        for worker in self._workers:
            worker.process.wait()

    def map(self, pieces: Iterable[Piece]) -> Iterator[Outcome]:
        """Yield what becomes of every piece, in order.

        Raises:
            MetierError: what working on a piece raised.
            RunError: a process is gone.
        """
        workers = {worker.connection: worker for worker in self._workers}

        def ready(connections: Collection[Connection], block: bool) -> list[Connection]:
            return cast(list[Connection], wait(list(connections), None if block else 0))

        return in_order(
            pieces, self._workers, give=_send, ready=ready, take=lambda connection: _received(workers[connection])
        )


def _started() -> _Worker:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "metier.prepare.scale.process", str(theirs.fileno())],
            pass_fds=[theirs.fileno()], process_group=0, env={**os.environ, **_ONE_THREAD},
        )  # fmt: skip
    return _Worker(process, Connection(ours.detach()))


def _send(worker: _Worker, piece: object) -> Connection:
    try:
        worker.connection.send(piece)
        return worker.connection
    except (BrokenPipeError, ConnectionResetError) as error:
        raise _gone(worker) from error


def _received(worker: _Worker) -> Any:
    try:
        return worker.connection.recv()
    except (EOFError, ConnectionResetError) as error:
        raise _gone(worker) from error


def _gone(worker: _Worker) -> RunError:
    code = worker.process.wait()
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    short = "; the system ends the largest process when memory is short" if code == -signal.SIGKILL else ""
    return RunError(
        f"a process that prepares rows {how}{short}",
        "all of them until the rows are through; nothing was written",
        "run the same command again, perhaps with fewer: --prepare.further.workers 1",
    )
