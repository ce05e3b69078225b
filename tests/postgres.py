"""A PostgreSQL server of this machine's own binaries, started for the tests and stopped after them."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class NoPostgresError(Exception):
    """There is none here; says why."""


@contextmanager
def running() -> Iterator[str]:
    """Yield the address of a fresh, empty server."""
    binaries = _binaries()
    user = _user()
    folder = Path(tempfile.mkdtemp(prefix="metier-postgres-"))
    try:
        if user is not None:
            shutil.chown(folder, user)
        data, port = folder / "data", _free_port()
        start = ["initdb", "-D", str(data), "-U", "metier", "--auth=trust", "--no-sync", "--locale=C", "-E", "UTF8"]
        subprocess.run([binaries / start[0], *start[1:]], user=user, check=True, capture_output=True, cwd=folder)
        options = ["-c", f"unix_socket_directories={folder}", "-c", "listen_addresses=127.0.0.1"]
        with (folder / "log").open("wb") as log:
            command = [binaries / "postgres", "-D", str(data), "-p", str(port), *options]
            server = subprocess.Popen(command, user=user, stdout=log, stderr=log, cwd=folder)
        try:
            _wait(port, server, folder / "log")
            yield f"postgresql://metier@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)  # ends connections too, where SIGTERM waits for them
            server.wait(60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path:
    known = [Path(found).resolve().parent] if (found := shutil.which("initdb")) else []
    for folder in [*known, *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]:
        if (folder / "initdb").is_file() and (folder / "postgres").is_file():
            return folder
    raise NoPostgresError("no PostgreSQL here: apt-get install postgresql")


def _user() -> str | None:
    """PostgreSQL refuses to run as root: then it runs as the user that its package made."""
    if os.getuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError as error:
        raise NoPostgresError("tests run as root and there is no user postgres") from error


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait(port: int, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        if "ready to accept connections" in log.read_text():
            return
        time.sleep(0.05)
    raise AssertionError(log.read_text())
