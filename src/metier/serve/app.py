"""The application: routes, errors in words, nothing that FastAPI would answer in another shape."""

import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from metier.core.__about__ import __version__
from metier.core.errors import MetierError
from metier.serve.desk import Desk
from metier.serve.faults import told
from metier.serve.gate import Gate, Guards
from metier.serve.misread import known_query, refusal_of
from metier.serve.refusal import Refusal, of_error
from metier.serve.refused import TurnedAway
from metier.serve.routes import (
    chat,
    completions,
    decisions,
    embeddings,
    fine_tuning,
    handed,
    models,
    rollouts,
    webhooks,
)
from metier.serve.upstream import Upstream

LOG = logging.getLogger("metier.serve")
_MIB = 1 << 20


def make_app(desk: Desk, *, local: bool, upstream: Upstream | None = None) -> FastAPI:
    """Return the application.

    Args:
        desk: what the routes need.
        local: whether it is reached from this machine only.
        upstream: who answers instead of the models here.
    """
    turned = TurnedAway(desk.audit)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            if upstream is not None:
                await upstream.close()
            turned.close()
            desk.shadows.close()
            desk.pool.close()
            desk.recorder.close()

    app = FastAPI(title="metier", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.desk = desk
    app.state.upstream = upstream
    address = [Depends(known_query)]
    own = (chat.ROUTER, completions.ROUTER, embeddings.ROUTER, decisions.ROUTER, models.ROUTER, rollouts.ROUTER)
    for router in (*(own if upstream is None else (handed.ROUTER,)), models.JUDGED):
        app.include_router(router, prefix="/v1", dependencies=address)
    app.include_router(models.PLAIN)
    if desk.jobs is not None:
        app.include_router(fine_tuning.ROUTER, prefix="/v1", dependencies=address)
        app.include_router(webhooks.ROUTER, prefix="/v1", dependencies=address)
    guards = Guards(keys=desk.keys, limiter=desk.limiter, audit=desk.audit, turned=turned, meters=desk.meters)
    app.add_middleware(Gate, guards=guards, most_bytes=int(desk.settings.limits.body_mib * _MIB), local=local)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(MetierError, _failed)
    app.add_exception_handler(RequestValidationError, _misunderstood)
    app.add_exception_handler(HTTPException, _unknown)
    app.add_exception_handler(SQLAlchemyError, _unwritten)
    app.add_exception_handler(Exception, _broken)
    return app


def _answer(refusal: Refusal) -> JSONResponse:
    return JSONResponse(refusal.body(), status_code=refusal.status, headers=dict(refusal.headers()))


def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refusal)
    return _answer(error)


def _failed(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, MetierError)
    return _answer(of_error(error))


def _misunderstood(request: Request, error: Exception) -> JSONResponse:
    """Say which parameter is wrong and how; what was sent is not repeated."""
    assert isinstance(error, RequestValidationError)
    return _answer(refusal_of(error.errors(), error.body))


def _unknown(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _answer(Refusal(error.status_code, f"{request.method} {request.url.path[:200]}: {error.detail}"))


def _unwritten(request: Request, error: Exception) -> JSONResponse:
    """Answer when the database does not do what it is asked, and log that without what it was asked."""
    id = f"fault-{secrets.token_hex(6)}"
    LOG.error("%s: %s %s: %s", id, request.method, request.url.path[:200], told(error))
    return _answer(Refusal(500, f"the database did not do this; the server's log says why under {id}", code="fault"))


def _broken(request: Request, error: Exception) -> JSONResponse:
    """Answer after a fault of ours: what it was stands in the log only."""
    return _answer(Refusal(500, "the server could not do this; its log says why", code="fault"))
