"""The edge of the program: what a command raises becomes words and an exit code, and a traceback only for our bugs."""

import errno
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import typer

from metier.core import room
from metier.core.errors import MetierError, RunError

INTERRUPTED = 130
_FAULT = 3
_SHOW_CURSOR = "\x1b[?25h"
_MACHINE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE}
_ADVICE = {
    errno.EACCES: "give this user the right to write there, or work in a copy of the project",
    errno.EPERM: "give this user the right to write there, or work in a copy of the project",
    errno.EROFS: "mount it for writing, or work in a copy of the project",
    errno.EIO: "look at the disk (`dmesg`), and run the same command again",
    errno.EMFILE: "raise the limit (`ulimit -n`), and run the same command again",
}


class Boundary:
    """A context that ends the program in words.

    Exit codes: those of `core.errors`; 2 for a command line that cannot be understood; 130 after Ctrl-C or SIGTERM;
    3 for a bug.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def __enter__(self) -> "Boundary":
        """Open the edge."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell the error, if there is one, and end the program with its exit code."""
        if error is None or isinstance(error, (SystemExit, typer.Exit)):
            return
        if isinstance(error, BrokenPipeError):
            _leave_quietly()
        if isinstance(error, (KeyboardInterrupt, typer.Abort)):
            raise SystemExit(interrupted(as_json=self._as_json)) from None
        known = understood(error)
        if known is None:
            traceback.print_exception(error)
            known = RunError(
                f"{type(error).__name__}: {error}", do="this is a bug in metier: please report it with the lines above"
            )
        self._tell(known)
        raise SystemExit(known.exit_code) from None

    def _tell(self, error: MetierError) -> None:
        if self._as_json:
            print(json.dumps({"error": as_dict(error)}))
            return
        from rich.console import Console

        from metier.report.terminal import show_error

        show_error(error, Console(stderr=True, highlight=False))


def understood(error: BaseException) -> MetierError | None:
    """Return an error as one of ours when it is nobody's bug, else None."""
    if isinstance(error, MetierError):
        return error
    if isinstance(error, typer.TyperException):
        return _usage(error)
    if (code := room.missing(error)) is not None:
        return room.explained(_place(error), code)
    if isinstance(error, OSError) and error.errno in _MACHINE:
        where, do = error.filename or "the system", _ADVICE.get(error.errno or 0, "")
        return RunError(f"{where}: {error.strerror}", "a place that can be read and written", do)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return RunError(
            "out of memory", do="lower train.micro_batch_tokens (the gradient stays the same), or train with LoRA"
        )
    return None


def _place(error: BaseException) -> Path:
    """Return where a write failed: the file, where the system names one, else the folder that we are in."""
    return Path(error.filename) if isinstance(error, OSError) and isinstance(error.filename, str) else Path.cwd()


def as_dict(error: MetierError) -> dict[str, Any]:
    """Return an error as plain values."""
    return {"found": error.found, "wanted": error.wanted, "do": error.do, "exit_code": error.exit_code}


def interrupted(*, as_json: bool) -> int:
    """Say that the request was heard; returns the exit code."""
    words = MetierError("stopped on request; nothing is half-written", do="run the same command to go on")
    if as_json:
        print(json.dumps({"error": as_dict(words) | {"exit_code": INTERRUPTED}}))
    else:
        print(f"\n{words.found}; {words.do}", file=sys.stderr)
    return INTERRUPTED


class Interrupts:
    """Ctrl-C and SIGTERM: the first unwinds the program in order, the second ends it on the spot."""

    def __init__(self) -> None:
        self._heard = False

    def listen(self) -> None:
        """Start listening; a training installs its own listener while it runs."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._hear)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._heard:
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), _SHOW_CURSOR.encode())
            os._exit(INTERRUPTED)
        self._heard = True
        raise KeyboardInterrupt


def _usage(error: typer.TyperException) -> MetierError:
    from metier.core.errors import InputError

    return InputError(
        error.format_message().rstrip(".").replace("Value error, ", ""),
        do="`metier --help`, or --help after a command, lists what there is",
    )


def _leave_quietly() -> None:
    """End without a word when the reader of a pipe has gone (`metier … | head`)."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(0)
