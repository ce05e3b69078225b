"""What stands before every route: hosts, sizes, keys, scopes, limits, the audit log. No other path lets anybody in."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metier.serve.audit import Audit
from metier.serve.keys import Caller, Keys
from metier.serve.limits import Limiter
from metier.serve.meters import Meters
from metier.serve.refusal import Refusal
from metier.serve.refused import TurnedAway

_OURS = ("localhost", "127.0.0.1", "[::1]", "testserver")
_FREE = ("/health",)
_SCOPES = (
    ("/v1/files", "train"), ("/v1/uploads", "train"), ("/v1/fine_tuning", "train"), ("/v1/webhook", "train"),
    ("/v1/rollouts", "admin"), ("/v1/", "infer"), ("/metrics", "infer"), ("/openapi.json", "infer"),
)  # fmt: skip
_SPACE, _DELETE = 32, 127
_LOOKING = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """What the gate asks: who may do what, how much in a minute, and where changes and refusals are written down."""

    keys: Keys
    limiter: Limiter
    audit: Audit
    turned: TurnedAway
    meters: Meters


class Gate:
    """Lets requests through to `app`.

    Args:
        app: what stands behind.
        guards: what is asked about every request.
        most_bytes: of a body.
        local: whether the server listens on this machine only: then a name from elsewhere is somebody's trick.
    """

    def __init__(self, app: ASGIApp, guards: Guards, *, most_bytes: int, local: bool) -> None:
        self._app = app
        self._guards = guards
        self._most = most_bytes
        self._local = local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        caller, needed = None, scope_of(scope["path"], scope["method"])
        try:
            _check_path(scope["path"])
            if self._local:
                _check_host(headers)
            if scope["path"] not in _FREE:
                caller = await self._known(headers)
                _check_scope(caller, needed, headers)
                scope.setdefault("state", {})["caller"] = caller
                self._guards.limiter.enter(caller)
            self._check_length(scope)
            if caller is not None:
                send = self._told(scope, caller, send, audited=needed != "infer" and scope["method"] not in _LOOKING)
        except Refusal as refusal:
            self._guards.meters.refuse(refusal.code or "")
            if refusal.status in (401, 403):
                await self._guards.turned.note(refusal.code or "", _who(caller, scope))
            more = self._guards.limiter.headers(caller) if caller is not None else {}
            await _refuse(refusal, send, more)
            return
        await self._limited(scope, receive, send)

    async def _known(self, headers: Mapping[str, str]) -> Caller:
        """Return who asks."""
        keys, header = self._guards.keys, headers.get("authorization")
        caller = keys.caller(header) if keys.is_fresh() else await asyncio.to_thread(keys.caller, header)
        if caller is None:
            raise Refusal(401, "no key, or one that is not known; wanted: Authorization: Bearer KEY", code="no_key")
        return caller

    def _told(self, scope: Scope, caller: Caller, send: Send, *, audited: bool) -> Send:
        """Return what sends an answer with what is left of the limits; a change is written down before it is told."""

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                if audited:
                    action = f"{scope['method']} {scope['path']}"
                    await asyncio.to_thread(
                        self._guards.audit.note, caller.id, action, status=message["status"], owner=caller.owner
                    )
                more = self._guards.limiter.headers(caller)
                message["headers"] = [*message.get("headers", ()), *_encoded(more)]
            await send(message)

        return told

    def _check_length(self, scope: Scope) -> None:
        told = dict(scope["headers"]).get(b"content-length", b"0")
        if told.isdigit() and int(told) > self._most:
            raise _too_large(self._most)

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request whose body is counted as it comes; past the limit nothing that the app says counts."""
        seen = 0
        refused = False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            return {"type": "http.disconnect"} if seen > self._most else message

        async def answered(message: Message) -> None:
            nonlocal refused
            if seen <= self._most:
                await send(message)
            elif not refused:
                refused = True
                await _refuse(_too_large(self._most), send)

        try:
            await self._app(scope, counted, answered)
        except ClientDisconnect:
            if seen <= self._most:
                raise
            await answered({})


def scope_of(path: str, method: str = "GET") -> str:
    """Return the scope that a path needs; one that is not listed needs `admin`. Who deletes a model made it."""
    if method == "DELETE" and path.startswith("/v1/models/"):
        return "train"
    return next((name for start, name in _SCOPES if path == start.rstrip("/") or path.startswith(start)), "admin")


def _who(caller: Caller | None, scope: Scope) -> str:
    """Return the id of a key, or the address of who has none."""
    return caller.id if caller is not None else str((scope.get("client") or ("nowhere",))[0])


def _check_path(path: str) -> None:
    if any(ord(sign) < _SPACE or ord(sign) == _DELETE for sign in path):
        raise Refusal(400, "path: holds control characters", code="path")


def _check_scope(caller: Caller, needed: str, headers: Mapping[str, str]) -> None:
    """Check that somebody who is known may do what is asked."""
    if not caller.may(needed):
        raise Refusal(403, f"this key may not do that; wanted: one with the scope '{needed}'", code="no_scope")
    if headers.get("openai-project", caller.tenant) != caller.tenant and caller.tenant:
        raise Refusal(403, "OpenAI-Project: not the project of this key", code="project")


def _check_host(headers: Mapping[str, str]) -> None:
    host = headers.get("host", "")
    if host.rpartition(":")[0] not in _OURS and host not in _OURS:
        raise Refusal(403, f"host {host[:80]!r}; wanted: this machine by its own name", code="host")
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2].rpartition(":")[0] not in _OURS:
        raise Refusal(403, "a page from elsewhere asks; wanted: one from this machine", code="origin")


def _too_large(most: int) -> Refusal:
    return Refusal(413, f"a body of more than {most:,} bytes", code="too_large")


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


async def _refuse(refusal: Refusal, send: Send, more: Mapping[str, str] | None = None) -> None:
    headers = [(b"content-type", b"application/json"), *_encoded(refusal.headers()), *_encoded(more or {})]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(refusal.body()).encode()})
