"""Pieces dealt out to the machines of a Ray cluster; the answers come back in the order of the pieces.

Each machine needs metier installed, not the files: a piece carries its bytes.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from metier.core import extras
from metier.core.errors import MetierError, RunError
from metier.prepare.reading.pieces import Piece
from metier.prepare.scale.order import in_order
from metier.prepare.scale.work import Job, Outcome, Worker

EXTRA = "ray"
_TRIES = 3
"""So often a piece is worked on anew when its machine is lost."""


class Remote:
    """A worker on some machine of the cluster.

    Args:
        job: what to do.
    """

    def __init__(self, job: Job) -> None:
        self._worker = Worker(job)

    def work(self, piece: Piece) -> Outcome | MetierError:
        """Return what becomes of a piece, or the error that working on it raised."""
        try:
            return self._worker(piece)
        except MetierError as error:
            return error


@contextmanager
def opened(job: Job, most: int | None) -> Iterator[tuple[int, Callable[[Iterable[Piece]], Iterator[Outcome]]]]:
    """Open the cluster that RAY_ADDRESS names, or that runs here; else start one on this machine for as long as needed.

    Args:
        job: what to do.
        most: workers; None: one for each processor of the cluster.

    Yields:
        how many workers there are, and what works on pieces.

    Raises:
        MissingExtraError: Ray is not installed.
        RunError: while working: a piece was lost several times.
    """
    ray: Any = extras.load("ray", EXTRA)
    ours = not ray.is_initialized()
    if ours:
        ray.init(log_to_driver=False, include_dashboard=False, logging_level="ERROR")
    workers: list[Any] = []
    try:
        count = most or max(1, int(ray.cluster_resources().get("CPU", 1)))
        kind = ray.remote(num_cpus=1, max_restarts=_TRIES, max_task_retries=_TRIES)(Remote)
        known = ray.put(job)
        workers += [kind.remote(known) for _ in range(count)]
        yield count, partial(_mapped, ray, workers)
    finally:
        for worker in workers:
            ray.kill(worker)
        if ours:
            ray.shutdown()


def _mapped(ray: Any, workers: list[Any], pieces: Iterable[Piece]) -> Iterator[Outcome]:
    def ready(references: Collection[Any], wait: bool) -> list[Any]:
        return list(ray.wait(list(references), num_returns=1, timeout=None if wait else 0)[0])

    def take(reference: Any) -> Outcome | MetierError:
        try:
            return ray.get(reference)
        except ray.exceptions.RayError as error:
            found = f"a piece was lost {_TRIES + 1} times on the Ray cluster ({str(error).splitlines()[0]})"
            raise RunError(
                found, "workers that live", "look at the cluster; then run the same command again"
            ) from error

    yield from in_order(pieces, workers, give=lambda worker, piece: worker.work.remote(piece), ready=ready, take=take)
