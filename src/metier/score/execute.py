"""Run an answer as Python in a child process with limits on time, memory, files and processes.

The child starts isolated (no site, no environment, an empty folder), may not open sockets, start programs or write
outside its folder, and is killed with all it started. These are limits against accidents and clumsy code, not a jail
against an attacker: running answers is off unless it is asked for.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import IO

_FENCE = re.compile(r"```(?:[Pp]ython|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)
_MOST_SHOWN = 300
_MOST_READ = 1 << 16
_GUARD = """
import os as _os, resource as _resource, sys as _sys
for _name, _most in {limits!r}.items():
    _resource.setrlimit(getattr(_resource, _name), (_most, _most))
_home = _os.path.realpath(_os.getcwd()) + _os.sep
_never = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.kill", "ctypes.", "pty.")
_changes = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.chmod", "os.link", "os.symlink", "shutil.")
def _watch(event, args, _home=_home, _never=_never, _changes=_changes, _real=_os.path.realpath, _text=_os.fsdecode):
    if event.startswith(_never):
        raise PermissionError("not allowed here: " + event)
    writes = event == "open" and (args[2] & 3 or (isinstance(args[1], str) and set(args[1]) & set("wax+")))
    if writes or event.startswith(_changes):
        for path in args[:2] if not writes else args[:1]:
            if isinstance(path, (str, bytes)) and not (_real(_text(path)) + "/").startswith(_home):
                raise PermissionError("not allowed here: " + event)
_sys.addaudithook(_watch)
del _os, _resource, _name, _most, _sys, _watch, _home, _never, _changes
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a program may use: seconds by the clock, bytes of memory, bytes of one file, and of what it prints."""

    seconds: float = 5.0
    memory_bytes: int = 512 << 20
    file_bytes: int = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a program ended: `passed` when it ended by itself without an error; `why` in one line when it did not."""

    passed: bool
    why: str = ""
    output: str = ""


def code_in(answer: str) -> str:
    """Return the program in an answer: its first fenced block, or all of it."""
    fenced = _FENCE.search(answer)
    return fenced.group(1) if fenced else answer


def run(program: str, limits: Limits | None = None, *, shown: int = _MOST_SHOWN) -> Ran:
    """Run a program to its end, or to the end of its limits; the last `shown` characters of its output are kept.

    What it prints goes to files, which are limited as its own are: from a pipe it would fill this process's memory.
    """
    allowed = limits or Limits()
    with (
        tempfile.TemporaryDirectory(prefix="metier-code-") as folder,
        tempfile.TemporaryFile() as said,
        tempfile.TemporaryFile() as errors,
    ):
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-"], stdin=subprocess.PIPE, stdout=said, stderr=errors, cwd=folder,
            env={"PATH": "/usr/bin:/bin", "HOME": folder, "TMPDIR": folder}, start_new_session=True,
        )  # fmt: skip
        try:
            child.communicate((_guard(allowed) + program).encode("utf-8", "replace"), timeout=allowed.seconds)
        except subprocess.TimeoutExpired:
            return Ran(passed=False, why=f"still running after {allowed.seconds:g} s")
        finally:
            _end(child)
        output = _last(said, shown)
        if child.returncode == 0:
            return Ran(passed=True, output=output)
        lines = _last(errors, _MOST_READ).strip().splitlines()
        why = lines[-1][:_MOST_SHOWN] if lines else f"ended with code {child.returncode}"
        return Ran(passed=False, why=why, output=output)


def _last(file: IO[bytes], characters: int) -> str:
    """Return the last characters of a file."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 4 * characters))
    return file.read().decode("utf-8", "replace")[-characters:]


def pass_at(tries: int, right: int, count: int) -> float:
    """Return the chance that at least one of `count` answers passes, when `right` of `tries` did (M. Chen et al. 2021).

    1 − C(tries − right, count) / C(tries, count), as a product that neither overflows nor rounds.
    """
    if tries - right < count:
        return 1.0
    missed = 1.0
    for number in range(tries - right + 1, tries + 1):
        missed *= 1.0 - count / number
    return 1.0 - missed


def _guard(allowed: Limits) -> str:
    """Return what the child runs first: it takes its own limits, which it cannot raise again, and watches itself."""
    limits = {
        "RLIMIT_CPU": max(1, int(allowed.seconds) + 1),
        "RLIMIT_AS": allowed.memory_bytes,
        "RLIMIT_FSIZE": allowed.file_bytes,
        "RLIMIT_NOFILE": 32,
        "RLIMIT_CORE": 0,
    }
    return _GUARD.format(limits=limits)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill the child and everything in its session, and let it go."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        child.kill()
    child.wait()
    for stream in (child.stdin, child.stdout, child.stderr):
        if stream is not None:
            stream.close()
