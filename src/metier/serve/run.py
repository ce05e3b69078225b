"""Open a project's server and let it listen."""

import gc
import ipaddress
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from metier.core.errors import InputError
from metier.engine.adapters import why_unmixable
from metier.model.find import Base
from metier.serve import logs
from metier.serve.app import make_app
from metier.serve.audit import Audit
from metier.serve.calibrated import Calibrations
from metier.serve.catalogue import Catalogue
from metier.serve.database import connect
from metier.serve.desk import Desk
from metier.serve.keys import Keys
from metier.serve.limits import Limiter
from metier.serve.pool import Pool
from metier.serve.rollouts.book import Rollouts
from metier.serve.rollouts.overseer import Overseer
from metier.serve.settings import ServeSettings
from metier.serve.traces import Recorder
from metier.serve.tuning.files import Files
from metier.serve.tuning.foreman import Foreman
from metier.serve.tuning.jobs import Jobs
from metier.serve.upstream import Upstream
from metier.serve.webhooks import Courier, Webhooks
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
    upstream = open_upstream(settings)
    desk, local = open_desk(folder, store, base=base, text=text, settings=settings), is_local(settings.host)
    if not local and not desk.keys.any():
        raise InputError(
            f"serve.host {settings.host}: other machines can reach it, and there is no key",
            "a key for every caller", "make one: metier key NAME --scope infer",
        )  # fmt: skip
    with listening(settings.host, settings.port) as listener, _at_work(desk, store):
        port = listener.getsockname()[1]
        logs.start()
        who = "whoever has a key" if desk.keys.any() else "this machine, without a key; metier key makes one"
        print(f"serve: {base.name} at http://{settings.host}:{port}/v1 for {who} (Ctrl-C ends it)", flush=True)
        desk.audit.note("server", "started", host=settings.host, port=port)
        app = make_app(desk, local=local, upstream=upstream)
        _forget_what_stays()
        try:
            uvicorn.Server(configuration(app, settings)).run(sockets=[listener])
        finally:  # it ends with the signal that told it to
            desk.audit.note("server", "stopped", host=settings.host, port=port)


def _forget_what_stays() -> None:
    """Let the garbage collector look no more at what is there by now and stays: a million objects of the libraries.

    It looks through old objects only when a quarter as many new ones have grown old, so that beside a million a
    request's own circles, with all that hangs on them, would stay for hundreds of megabytes.
    """
    gc.collect()
    gc.freeze()


def open_upstream(settings: ServeSettings) -> Upstream | None:
    """Return the server that computes; None: this process does.

    Raises:
        InputError: it is not said where it is, or said without need.
        MissingExtraError: httpx2 is not installed.
    """
    if settings.engine == "metier":
        if settings.upstream is not None:
            raise InputError(f"serve.upstream {settings.upstream} with serve.engine metier", "vllm or llama.cpp")
        return None
    if settings.upstream is None:
        start = {"vllm": "vllm serve MODEL --port 8001", "llama.cpp": "llama-server -m MODEL.gguf --port 8001"}
        raise InputError(
            f"serve.engine {settings.engine}: no address", "serve.upstream, where such a server runs",
            f"{start[settings.engine]}, then --serve.upstream http://127.0.0.1:8001/v1",
        )  # fmt: skip
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it would log every request
    key = os.environ.get("METIER_UPSTREAM_KEY", "")
    return Upstream(settings.upstream, key=key, seconds=settings.limits.deadline_seconds)


def open_desk(folder: Path, store: Path, *, base: Base, text: TextSettings, settings: ServeSettings) -> Desk:
    """Return the parts of a project's server; the arguments are those of `serve`."""
    database = connect(store)
    catalogue = Catalogue(folder, store, base, text=text, mixable=mixable)
    webhooks = jobs = None
    if settings.jobs:
        webhooks = Webhooks(database, settings.webhook_hosts)
        jobs = Jobs(
            database, store / "jobs", base=base, files=Files(database), webhooks=webhooks, graders=settings.graders
        )
        catalogue.names = jobs.names
    return Desk(
        settings=settings, catalogue=catalogue, pool=Pool(settings), keys=Keys(database), audit=Audit(database, store),
        limiter=Limiter(settings.limits), recorder=Recorder(database, settings.record),
        rollouts=Rollouts(database, store), calibrations=Calibrations(store), jobs=jobs, webhooks=webhooks,
    )  # fmt: skip


@contextmanager
def _at_work(desk: Desk, store: Path) -> Iterator[None]:
    """Let what works beside the requests work inside the block: rollouts, jobs, and who tells of their ends."""
    overseer = Overseer(desk.rollouts, desk.audit, lambda name: desk.catalogue.find(name) is not None)
    threads: list[Foreman | Courier | Overseer] = [overseer]
    if desk.jobs is not None:
        threads.append(Foreman(desk.jobs, store / "jobs"))
    if desk.webhooks is not None:
        threads.append(Courier(desk.webhooks))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.stop()


def configuration(app: FastAPI, settings: ServeSettings) -> uvicorn.Config:
    """Return how uvicorn runs an application."""
    return uvicorn.Config(
        app,
        log_config=None,  # its lines are written as ours
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.limits.drain_seconds,
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
