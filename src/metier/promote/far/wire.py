"""A server of this machine as a child process: started, asked in JSON over its port, and stopped; imports no torch."""

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

from metier.core.errors import RunError

_START_SECONDS = 300
_ANSWER_SECONDS = 600
_STOP_SECONDS = 20
_SHOWN = 600


def ask(address: str, path: str, body: Any = None) -> Any:
    """Send a request (POST where there is a body) and return its JSON.

    Raises:
        RunError: the server answers with a fault, or not at all.
    """
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data=data, headers={"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        words = error.read(_SHOWN).decode("utf-8", "replace")
        raise RunError(f"{path}: answered with {error.code} ({words})", "an answer") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{address}{path}: {error}", "a server that answers in JSON") from error


@contextmanager
def running(command: Sequence[str], log: Path, *, without: Sequence[str] = ()) -> Iterator[str]:
    """Start a server and yield its address, the first `http://…` of a line that it prints; stop it at the end.

    Args:
        command: the program and its arguments; it picks a free port itself.
        log: where what it says on stderr goes.
        without: variables of the environment that it is not to see.

    Raises:
        RunError: it ended or said nothing for five minutes; with the last of what it said.
    """
    seen = {name: value for name, value in os.environ.items() if name not in without}
    with log.open("wb") as errors:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=seen
        )
    limit = Timer(_START_SECONDS, child.kill)
    limit.start()
    try:
        address = _address(child)
        if not address:
            child.wait()
            raise RunError(f"{' '.join(command[2:])} ended with {child.returncode}: {_last_words(log)}", "a server")
        limit.cancel()
        yield address
    finally:
        limit.cancel()
        _stop(child)


def _address(child: "subprocess.Popen[str]") -> str:
    assert child.stdout is not None
    for line in child.stdout:
        _, found, rest = line.partition("http://")
        if found:
            return found + rest.split()[0].removesuffix("/v1")
    return ""


def _last_words(log: Path) -> str:
    """Return the faults that a server wrote (llama.cpp marks them with E), or the end of what it wrote."""
    said = log.read_text(encoding="utf-8", errors="replace").strip()
    faults = [line.partition(" E ")[2].strip() for line in said.splitlines() if " E " in line]
    return "; ".join(faults)[:_SHOWN] or said[-_SHOWN:]


def _stop(child: "subprocess.Popen[str]") -> None:
    child.terminate()
    try:
        child.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            stream.close()
