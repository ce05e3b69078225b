"""/v1/webhook_endpoints: who is told when a fine-tuning ends."""

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import Response

from metier.serve.desk import caller_of, desk_of
from metier.serve.routes.lists import After, Limit, done
from metier.serve.routes.streams import as_json
from metier.serve.tuning.files import Page, paged
from metier.serve.webhooks import EVENTS, Webhooks
from metier.serve.wire.webhooks import RotateBody, TestBody, WebhookBody, WebhookChange

ROUTER = APIRouter(tags=["train"])


def _webhooks(request: Request) -> Webhooks:
    webhooks = desk_of(request).webhooks
    assert webhooks is not None
    return webhooks


@ROUTER.get("/webhook_event_types")
async def event_types() -> Response:
    """List what can be told."""
    listed = [{"id": name, "object": "webhook_event_type", "name": name} for name in EVENTS]
    return as_json({"object": "list", "data": listed})


@ROUTER.post("/webhook_endpoints")
async def create(body: WebhookBody, request: Request) -> Response:
    """Make an endpoint; its secret is told only now."""
    return await done(_webhooks(request).create, caller_of(request), body.model_dump())


@ROUTER.get("/webhook_endpoints")
async def listed(request: Request, after: After = None, limit: Limit = 20) -> Response:
    """List the caller's endpoints."""
    found = await asyncio.to_thread(_webhooks(request).all, caller_of(request))
    return as_json(paged(found, Page(after=after, limit=limit)))


@ROUTER.get("/webhook_endpoints/{id}")
async def retrieve(id: str, request: Request) -> Response:
    """Tell about an endpoint."""
    return await done(_webhooks(request).get, caller_of(request), id)


@ROUTER.post("/webhook_endpoints/{id}")
async def update(id: str, body: WebhookChange, request: Request) -> Response:
    """Change an endpoint; with another URL it gets another secret."""
    return await done(_webhooks(request).update, caller_of(request), id, body.model_dump(exclude_none=True))


@ROUTER.delete("/webhook_endpoints/{id}")
async def delete(id: str, request: Request) -> Response:
    """Delete an endpoint."""
    return await done(_webhooks(request).remove, caller_of(request), id)


@ROUTER.post("/webhook_endpoints/{id}/rotate_secret")
async def rotate(id: str, body: RotateBody, request: Request) -> Response:
    """Give an endpoint a new secret."""
    keep = body.keep_old_secret_active_for_24_hours
    return await done(_webhooks(request).rotate, caller_of(request), id, keep=keep)


@ROUTER.post("/webhook_endpoints/{id}/test")
async def test(id: str, body: TestBody, request: Request) -> Response:
    """Send a sample event and tell what came back."""
    return await done(_webhooks(request).test, caller_of(request), id, body.event_type)
