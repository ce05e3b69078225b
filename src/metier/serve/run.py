"""Open a project's server and let it listen."""

import ipaddress
import logging
import socket
from contextlib import ExitStack
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from metier.core.errors import InputError
from metier.engine.adapters import why_unmixable
from metier.model.find import Base
from metier.serve.app import make_app
from metier.serve.catalogue import Catalogue
from metier.serve.database import connect
from metier.serve.desk import Desk
from metier.serve.files import Files
from metier.serve.foreman import Foreman
from metier.serve.jobs import Jobs
from metier.serve.keys import Keys
from metier.serve.pool import Pool
from metier.serve.settings import ServeSettings
from metier.serve.traces import Recorder
from metier.text.settings import TextSettings


def serve(folder: Path, store: Path, *, base: Base, text: TextSettings, settings: ServeSettings) -> None:
    """Serve a project's base and everything trained on it, until told to stop.

    Args:
        folder: the project's.
        store: its `.metier`.
        base: the project's base.
        text: how the base's prompts are rendered.
        settings: of the server.

    Raises:
        InputError: the address is open to others and no key was made, or it cannot be listened at.
    """
    database = connect(store)
    keys = Keys(database)
    local = is_local(settings.host)
    if not local and not keys.any():
        raise InputError(
            f"serve.host {settings.host}: other machines can reach it, and there is no key",
            "a key for every caller", "make one: metier key NAME --scope infer",
        )  # fmt: skip
    catalogue = Catalogue(folder, store, base, text=text, mixable=mixable)
    jobs = Jobs(database, store / "jobs", base=base, files=Files(database)) if settings.jobs else None
    if jobs is not None:
        catalogue.names = jobs.names
    desk = Desk(
        settings=settings, catalogue=catalogue, pool=Pool(settings), keys=keys, recorder=Recorder(database), jobs=jobs
    )  # fmt: skip
    foreman = Foreman(jobs, store / "jobs") if jobs is not None else None
    with listening(settings.host, settings.port) as listener:
        port = listener.getsockname()[1]
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
        print(f"serve: {base.name} at http://{settings.host}:{port}/v1 (Ctrl-C ends it)", flush=True)
        if foreman is not None:
            foreman.start()
        try:
            uvicorn.Server(configuration(make_app(desk, local=local), settings)).run(sockets=[listener])
        finally:
            if foreman is not None:
                foreman.stop()


def configuration(app: FastAPI, settings: ServeSettings) -> uvicorn.Config:
    """Return how uvicorn runs an application."""
    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.drain_seconds,
        timeout_keep_alive=75,
    )


def is_local(host: str) -> bool:
    """Tell whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        InputError: the address is taken, or none of this machine's.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with ExitStack() as stack:
            listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(2048)
            stack.pop_all()
    except OSError as error:
        raise InputError(
            f"serve.host {host}, serve.port {port}: {error.strerror or error}", "a free address of this machine",
            "set serve.port 0 for any free port",
        ) from error  # fmt: skip
    return listener


def mixable(folder: Path) -> bool:
    """Tell whether the adapter in a folder can be computed beside others."""
    return why_unmixable(folder) == ""
