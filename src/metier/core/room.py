"""Room on a device: asked for before work is spent on it, and told with what to do when it is gone."""

import errno
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from metier.core.errors import DiskFullError, RunError

_GONE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_AGAIN = "run the same command again; nothing was lost"


def require(path: Path, needed_bytes: int) -> None:
    """Check that the device of `path` has room.

    Raises:
        DiskFullError: it has not; says path, needed and free.
    """
    free = _free(path)
    if free < needed_bytes:
        raise _full(path, f"{needed_bytes:,}", free)


@contextmanager
def told(path: Path, needed_bytes: Callable[[], str] | None = None) -> Iterator[None]:
    """Turn the system's words for a device that takes no more into ours, with path, needed and free bytes.

    Args:
        path: what is written inside the block.
        needed_bytes: asked how many it takes, when there is no room for them; None: that is not known.

    Raises:
        DiskFullError: the device is full, a quota is used up, or no file may be as large as that.
    """
    try:
        yield
    except RunError:
        raise
    except _reports() as error:
        if (code := missing(error)) is None:
            raise
        raise explained(path, code, "" if needed_bytes is None else needed_bytes()) from error


def _reports() -> tuple[type[BaseException], ...]:
    """Return what may tell of missing room: safetensors does so with a class of its own, where it is loaded."""
    loaded = sys.modules.get("safetensors")
    return (OSError,) if loaded is None else (OSError, loaded.SafetensorError)


def missing(error: BaseException) -> int | None:
    """Return which room an error says is missing, as its number in `errno`; None: it says something else."""
    if isinstance(error, OSError) and error.errno in _GONE:
        return error.errno
    if type(error).__name__ == "SafetensorError":
        return next((code for code in _GONE if f"os error {code}" in str(error)), None)
    return None


def explained(path: Path, code: int, needed_bytes: str = "") -> DiskFullError:
    """Return what to tell of a room that is missing: space, a share of it, or the size that a file may have."""
    if code == errno.EFBIG:
        return _limited(path, needed_bytes)
    if code == errno.EDQUOT:
        return DiskFullError(
            f"{path}: the disk quota is used up{f' ({needed_bytes} bytes needed)' if needed_bytes else ''}",
            "room in the quota of this user or folder (`quota -s` tells it)", f"free some space and {_AGAIN}",
        )  # fmt: skip
    return _full(path, needed_bytes, _free(path))


def _full(path: Path, needed_bytes: str, free_bytes: int) -> DiskFullError:
    needed = f"{needed_bytes} bytes needed, " if needed_bytes else ""
    return DiskFullError(
        f"{path}: no space left ({needed}{free_bytes:,} bytes free)", "room on that device",
        f"free some space and {_AGAIN}",
    )  # fmt: skip


def _limited(path: Path, needed_bytes: str) -> DiskFullError:
    """Tell of a file that may not grow: by a limit of this process or of the file system."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    needed = f" ({needed_bytes} bytes needed)" if needed_bytes else ""
    if limit == resource.RLIM_INFINITY:
        return DiskFullError(
            f"{path}: larger than the file system takes a file to be{needed}", "a file system for large files",
            f"move the project to one and {_AGAIN}",
        )  # fmt: skip
    return DiskFullError(
        f"{path}: this process may write no file larger than {limit:,} bytes{needed}",
        "a higher limit on the size of files",
        f"raise it (`ulimit -f unlimited`, or where your jobs are started) and {_AGAIN}",
    )  # fmt: skip


def _free(path: Path) -> int:
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    return shutil.disk_usage(existing).free
