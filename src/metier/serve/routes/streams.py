"""Server-sent events, and answers for clients that may go away while they are written."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from metier.core.errors import MetierError
from metier.serve.refusal import Refusal, of_error

Result = TypeVar("Result")
_LOOK_SECONDS = 0.25


def as_json(value: Any, status: int = 200) -> Response:
    """Return a JSON response."""
    return Response(json.dumps(value, ensure_ascii=False), status_code=status, media_type="application/json")


async def stream(parts: AsyncGenerator[dict[str, Any]]) -> StreamingResponse:
    """Return a stream of events. What goes wrong before the first is an HTTP error; after it, an event.

    Raises:
        Refusal: the request cannot be answered.
    """
    first = await anext(parts)

    async def lines() -> AsyncIterator[str]:
        try:
            async with aclosing(parts):
                yield _line(first)
                async for part in parts:
                    yield _line(part)
        except Refusal as refusal:
            yield _line(refusal.body())
        except MetierError as error:
            yield _line(of_error(error).body())
        yield "data: [DONE]\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


def _line(part: dict[str, Any]) -> str:
    return f"data: {json.dumps(part, ensure_ascii=False, separators=(',', ':'))}\n\n"


async def while_heard(request: Request, work: Awaitable[Result]) -> Result:
    """Return what some work returns; it is cancelled when the client goes away.

    Raises:
        Refusal: the client has gone.
    """
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=_LOOK_SECONDS)
            if not task.done() and await request.is_disconnected():
                raise Refusal(499, "the client has gone", code="cancelled")
        return task.result()
    finally:
        task.cancel()
