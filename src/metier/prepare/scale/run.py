"""Chooses who works on the pieces: this process, several of this machine, or a Ray cluster; says why."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import psutil

from metier.core.types import Reasoned
from metier.prepare.protect.stage import Guard
from metier.prepare.reading.part import DataFile
from metier.prepare.reading.pieces import Piece
from metier.prepare.scale import cluster
from metier.prepare.scale.pool import Pool
from metier.prepare.scale.work import Job, Outcome, Worker
from metier.prepare.settings import PrepareSettings

Run = Callable[[Iterable[Piece]], Iterator[Outcome]]
"""Works on pieces and yields what became of each, in their order."""

_WORTH_BYTES = 8 << 20
"""Smaller files are through before another process has its word lists loaded."""

_PACKED_TIMES = 4


def processes(settings: PrepareSettings, files: Sequence[DataFile]) -> Reasoned:
    """Choose how many processes work on the rows of some files."""
    asked = settings.further.workers
    if asked != "auto":
        return _workers(asked, "prepare.further.workers")
    size = sum(part.bytes * (_PACKED_TIMES if part.packing else 1) for file in files for part in file.parts)
    cores = _cores()
    if settings.protect.model is not None and settings.protect.action != "nothing":
        return _workers(1, "the model of prepare.protect.model uses all cores by itself")
    if cores < 2:
        return _workers(1, "one core")
    if size < _WORTH_BYTES:
        return _workers(1, f"less than {_WORTH_BYTES >> 20} MiB to read: starting more would take longer")
    return _workers(cores, f"{cores} cores and {size / (1 << 20):,.0f} MiB to read")


def counting(settings: PrepareSettings) -> int:
    """Return how many processes count tokens, on this machine."""
    return _cores() if settings.further.workers == "auto" else settings.further.workers


def _cores() -> int:
    return len(psutil.Process().cpu_affinity() or ()) if psutil.LINUX or psutil.WINDOWS else os.cpu_count() or 1


def _workers(count: int, reason: str) -> Reasoned:
    return Reasoned(name="processes", value=count, reason=reason)


@contextmanager
def opened(job: Job, files: Sequence[DataFile], guard: Guard | None) -> Iterator[tuple[Run, Reasoned]]:
    """Open what works on pieces; processes that are started end with the block.

    Yields:
        what works, and what was chosen and why.

    Raises:
        RunError: while working: a process is gone.
        MissingExtraError: Ray is asked for and not installed.
    """
    further = job.settings.further
    if further.run_on == "ray":
        with cluster.opened(job, None if further.workers == "auto" else further.workers) as (count, run):
            yield run, _workers(count, "on Ray: prepare.further.run_on")
        return
    chosen = processes(job.settings, files)
    if chosen.value == 1:
        yield lambda pieces: map(Worker(job, guard), pieces), chosen
        return
    with Pool(job, chosen.value) as pool:
        yield pool.map, chosen
