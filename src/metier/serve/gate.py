"""What stands before every route: hosts, sizes, keys and scopes. A path that is not listed lets nobody in."""

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metier.serve.keys import Keys
from metier.serve.refusal import Refusal

_OURS = ("localhost", "127.0.0.1", "[::1]", "testserver")
_FREE = ("/health",)
_SCOPES = (
    ("/v1/files", "train"), ("/v1/uploads", "train"), ("/v1/fine_tuning", "train"), ("/v1/", "infer"),
    ("/metrics", "infer"), ("/openapi.json", "infer"),
)  # fmt: skip


class Gate:
    """Lets requests through to `app`.

    Args:
        app: what stands behind.
        keys: who may do what.
        most_bytes: of a body.
        local: whether the server listens on this machine only: then a name from elsewhere is somebody's trick.
    """

    def __init__(self, app: ASGIApp, keys: Keys, *, most_bytes: int, local: bool) -> None:
        self._app = app
        self._keys = keys
        self._most = most_bytes
        self._local = local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._enter(scope)
            self._check_length(scope)
        except Refusal as refusal:
            await _refuse(refusal, send)
            return
        await self._limited(scope, receive, send)

    async def _enter(self, scope: MutableMapping[str, Any]) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if self._local:
            self._check_host(headers)
        path = scope["path"]
        if path in _FREE:
            return
        needed = next((name for start, name in _SCOPES if path == start.rstrip("/") or path.startswith(start)), "admin")
        caller = await asyncio.to_thread(self._keys.caller, headers.get("authorization"))
        if caller is None:
            raise Refusal(401, "no key, or one that is not known; wanted: Authorization: Bearer KEY", code="no_key")
        if not caller.may(needed):
            raise Refusal(403, f"this key may not do that; wanted: one with the scope '{needed}'", code="no_scope")
        scope.setdefault("state", {})["caller"] = caller

    def _check_host(self, headers: dict[str, str]) -> None:
        host = headers.get("host", "")
        if host.rpartition(":")[0] not in _OURS and host not in _OURS:
            raise Refusal(403, f"host {host[:80]!r}; wanted: this machine by its own name", code="host")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2].rpartition(":")[0] not in _OURS:
            raise Refusal(403, "a page from elsewhere asks; wanted: one from this machine", code="origin")

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


def _too_large(most: int) -> Refusal:
    return Refusal(413, f"a body of more than {most:,} bytes", code="too_large")


async def _refuse(refusal: Refusal, send: Send) -> None:
    headers = [(b"content-type", b"application/json")]
    headers += [(name.lower().encode(), value.encode()) for name, value in refusal.headers().items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(refusal.body()).encode()})
