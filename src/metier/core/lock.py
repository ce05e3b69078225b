"""One writer at a time: a lock that dies with its process. Of a folder, or of something that a machine has once."""

import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from metier.core.errors import LockedError

FOLDER = "METIER_LOCK_FOLDER"
_EVERYBODYS = Path("/run/lock")
_LOOK_SECONDS = 0.2
_LONGEST_TOLD = 400


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


@contextmanager
def of_machine(name: str, *, told: str, taken: Callable[[str], bool]) -> Iterator[bool]:
    """Hold, inside the block, a lock that all processes of this machine share, whoever started them.

    The system releases it when the process dies, however it dies.

    Args:
        name: of what is locked: letters, digits, `.`, `_`, `-`.
        told: what others read of the holder.
        taken: asked whether to wait, with what another holder tells of itself; again for each new holder.

    Yields:
        Whether it is held: False where it is somebody else's and `taken` did not want to wait.

    Raises:
        OSError: no file can be locked in the folder that METIER_LOCK_FOLDER names (unset: /run/lock, else /tmp).
    """
    path = _machine_folder() / f"metier-{name}.lock"
    descriptor = _waited_for(path, taken)
    if descriptor is None:
        yield False
        return
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, told.encode()[:_LONGEST_TOLD], 0)
        yield True
    finally:
        os.close(descriptor)


def _waited_for(path: Path, taken: Callable[[str], bool]) -> int | None:
    """Return the locked file, or None."""
    asked = None
    while True:
        descriptor, is_ours = _opened(path), False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = _is_still(descriptor, path)
        except BlockingIOError:
            holder = _printable(os.pread(descriptor, _LONGEST_TOLD, 0))
            if holder != asked and not taken(holder):
                return None
            asked = holder
            time.sleep(_LOOK_SECONDS)
        finally:
            if not is_ours:
                os.close(descriptor)
        if is_ours:
            return descriptor


def _opened(path: Path) -> int:
    """Open a file that any user's processes may lock, never through a link that somebody laid there."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        try:
            descriptor = os.open(path, flags)
            break
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            continue
        os.fchmod(descriptor, 0o666)  # whatever the umask says: other users wait for us, and we for them
        break
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(descriptor)
        raise OSError(f"{path}: not a file of its own")
    return descriptor


def _is_still(descriptor: int, path: Path) -> bool:
    """Tell whether a locked file is the one that others open: it may have been cleaned away meanwhile."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _machine_folder() -> Path:
    """Return where all users' processes look; the same for all of them, unless METIER_LOCK_FOLDER says otherwise."""
    if chosen := os.environ.get(FOLDER):
        return Path(chosen)
    try:
        if _EVERYBODYS.stat().st_mode & stat.S_IWOTH:
            return _EVERYBODYS
    except OSError:
        pass
    return Path(tempfile.gettempdir())


def _printable(content: bytes) -> str:
    """Return what a holder told of itself; anybody may write into that file."""
    return "".join(letter if letter.isprintable() else "?" for letter in content.decode("utf-8", "replace"))
