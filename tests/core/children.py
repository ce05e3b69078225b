"""A forked child that does one thing and tells how it ended: for kills, file size limits and locks."""

import os
import resource
import signal
from collections.abc import Callable

_LONGEST_SECONDS = 120
"""A child that waits for a lock which another thread held when it was forked ends all the same, and not well."""


def outcome(work: Callable[[], object]) -> str:
    """Do `work` in a forked child; returns "done", "killed" or the error it ended with (class, colon, message)."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        text = "done"
        signal.alarm(_LONGEST_SECONDS)
        try:
            os.close(read)
            work()
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        finally:
            os.write(write, text.encode()[:4000])
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        text = stream.read().decode()
    _, status = os.waitpid(child, 0)
    assert not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGALRM, "the child hung"
    return "killed" if os.WIFSIGNALED(status) else text


def die(*_: object, **__: object) -> None:
    """Die at once, as by the power switch: nothing of Python is tidied up."""
    os.kill(os.getpid(), signal.SIGKILL)


def limit_file_size(size_bytes: int) -> None:
    """Let no file of this process grow beyond a size: writing on gives EFBIG."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))
