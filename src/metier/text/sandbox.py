"""Runs a chat template nobody here has read in a child process with limits on time, memory and output."""

import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metier.core.errors import ModelError, RunError
from metier.text import environment

SECONDS = 10
"""Longest time that the rows of one request may take together, by the clock; a hundred take a tenth of a second."""

_START_SECONDS = 60
"""Longest time for the interpreter to start; nothing of the template runs in it."""

_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); import metier; del sys.path[0]; "
    "from metier.text import environment; environment.serve(sys.stdin.buffer, sys.stdout.buffer)"
)
"""What the child runs; its argument is the folder that holds this package, first for a moment: it is to be this one."""

MEMORY_BYTES = 512 << 20
"""Address space of the child."""

LONGEST_TEXT = 8 << 20
"""Most characters of one rendered conversation."""


class Sandbox:
    """One child process for one template: started at the first row, reused, killed when it runs too long.

    Args:
        source: the template.
        name: what to call it in messages.
        today: the ISO day it may show.
        seconds: time limit of one request.
    """

    def __init__(self, source: str, name: str, today: str, seconds: float = SECONDS) -> None:
        self._name = name
        self._seconds = seconds
        self._settings = {"source": source, "today": today, "memory": MEMORY_BYTES, "longest": LONGEST_TEXT}
        self._settings["seconds"] = max(1, round(seconds))
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def ask(self, requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Send conversations to the child; see `environment.answer`.

        Returns:
            for each, `texts`, or `refusal` with the template's words.

        Raises:
            ModelError: the template took more time, memory or output than it may.
            RunError: the child cannot be started.
        """
        with self._lock:
            if self._child is None:
                self._child = self._start()
            answers = _exchange(self._child, list(requests), self._seconds)
            if answers is None:
                _end(self._child)
                self._child = None
                raise _too_much(self._name, f"more than {self._seconds:g} s, or died")
        return check_size(answers, self._name)

    def close(self) -> None:
        """End the child; the next request starts a new one."""
        with self._lock:
            if self._child is not None:
                _end(self._child)
                self._child = None

    def _start(self) -> "subprocess.Popen[bytes]":
        child = subprocess.Popen(
            [sys.executable, "-I", "-c", _PROGRAM, str(Path(environment.__file__).parents[2])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={},
        )
        weakref.finalize(self, _end, child)
        if _exchange(child, self._settings, _START_SECONDS) is None:
            _end(child)
            raise RunError(f"{self._name}: its child process did not start", f"{sys.executable} that runs")
        return child


def _exchange(child: "subprocess.Popen[bytes]", message: Any, seconds: float) -> Any | None:
    """Send a message and return the answer; None if the child died or was killed for taking too long."""
    if child.stdin is None or child.stdout is None:
        return None
    watchman = threading.Timer(seconds, child.kill)
    watchman.start()
    try:
        environment.write_message(child.stdin, message)
        return environment.read_message(child.stdout)
    except BrokenPipeError:
        return None
    finally:
        watchman.cancel()


def check_size(answers: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return the answers, unless one of them grew too large.

    Raises:
        ModelError: one did.
    """
    if any("memory" in answer for answer in answers):
        raise _too_much(name, f"more than {MEMORY_BYTES >> 20} MiB of memory or {LONGEST_TEXT:,} characters")
    return answers


def _too_much(name: str, what: str) -> ModelError:
    return ModelError(
        f"{name}: took {what} for one conversation",
        "a chat template that only writes the conversation",
        "do not use this template: set text.template to a file that you have read",
    )


def _end(child: "subprocess.Popen[bytes]") -> None:
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:
                continue
