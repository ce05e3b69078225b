"""/v1/rollouts: two models behind one name, for administrators."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from metier.serve.desk import Desk, desk_of
from metier.serve.refusal import Refusal
from metier.serve.rollouts.book import Rollout, wanted_of
from metier.serve.rollouts.registered import is_registered
from metier.serve.rollouts.told import told
from metier.serve.routes.streams import as_json
from metier.serve.wire.rollouts import EndBody, RolloutBody

ROUTER = APIRouter(tags=["admin"])


@ROUTER.post("/rollouts")
async def start(body: RolloutBody, request: Request) -> Response:
    """Let two models answer behind one name."""
    return as_json(await asyncio.to_thread(_start, desk_of(request), body))


@ROUTER.get("/rollouts")
async def listed(request: Request) -> Response:
    """List the last rollout of every name."""
    return as_json({"object": "list", "data": await asyncio.to_thread(_all, desk_of(request))})


@ROUTER.get("/rollouts/{alias}")
async def shown(alias: str, request: Request) -> Response:
    """Tell about the last rollout of a name, with what its answers were worth."""
    desk = desk_of(request)
    return as_json(await asyncio.to_thread(lambda: told(desk.rollouts, _known(desk, alias))))


@ROUTER.post("/rollouts/{alias}/end")
async def end(alias: str, body: EndBody, request: Request) -> Response:
    """End a rollout: promote the candidate, go back to what served before, or stop, which leaves that serving too."""
    return as_json(await asyncio.to_thread(_end, desk_of(request), alias, body))


def _start(desk: Desk, body: RolloutBody) -> dict[str, Any]:
    for name in (body.stable, body.candidate):
        desk.find(name)
    if not is_registered(body.alias) and desk.catalogue.find(body.alias) is not None:
        raise Refusal(400, f"alias {body.alias!r}: a model is called so", param="alias")
    chosen = {name: value for name, value in (("kind", body.kind), ("share", body.share)) if value is not None}
    wanted = wanted_of(desk.settings.rollouts.model_copy(update=chosen), body.alias, (body.stable, body.candidate))
    return told(desk.rollouts, desk.rollouts.start(wanted))


def _all(desk: Desk) -> list[dict[str, Any]]:
    return [told(desk.rollouts, rollout) for rollout in desk.rollouts.aliases()]


def _end(desk: Desk, alias: str, body: EndBody) -> dict[str, Any]:
    rollout = _known(desk, alias)
    if not desk.rollouts.end(rollout, body.state, "asked for"):
        raise Refusal(400, f"rollout {alias}: is {rollout.state}; wanted: one that is running", code="rollout_state")
    return told(desk.rollouts, _known(desk, alias))


def _known(desk: Desk, alias: str) -> Rollout:
    desk.rollouts.refresh()
    rollout = desk.rollouts.of(alias)
    if rollout is None:
        raise Refusal(404, f"no rollout {alias[:80]!r}", param="alias", code="not_found")
    return rollout
