"""One writer at a time: a lock that dies with its process."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metier.core.errors import LockedError


@contextmanager
def held(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a folder inside the block. The system releases it when the process dies, however it dies.

    Args:
        folder: whose lock it is.
        wait: until another process lets go of it, rather than refuse.

    Raises:
        LockedError: another living process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "lock"
    with path.open("a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            stream.seek(0)
            raise LockedError(
                f"{folder}: process {stream.read().strip() or '?'} works on it",
                "one process at a time",
                "wait for it, or stop it",
            ) from error
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield
