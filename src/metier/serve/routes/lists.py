"""What routes over lists of things share: the parameters of a page, and work that is done away from the loop."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from fastapi import Query
from fastapi.responses import Response

from metier.serve.routes.streams import as_json

After = Annotated[str | None, Query(max_length=80)]
Limit = Annotated[int, Query(ge=1, le=10_000)]


async def done(work: Callable[..., Any], *given: Any, **named: Any) -> Response:
    """Return as JSON what some work on the database returns."""
    return as_json(await asyncio.to_thread(partial(work, *given, **named)))
