"""What is served, how it is doing, and what people thought of it."""

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import generate_latest

from metier.serve.catalogue import listed
from metier.serve.desk import Desk, caller_of, desk_of
from metier.serve.refusal import Refusal
from metier.serve.rollouts.registered import is_registered
from metier.serve.routes.streams import as_json
from metier.serve.wire.decisions import FeedbackBody

ROUTER = APIRouter()
JUDGED = APIRouter()
PLAIN = APIRouter()


@ROUTER.get("/models", tags=["infer"])
async def models(request: Request) -> Response:
    """List what is served."""
    desk = desk_of(request)
    found = listed(await asyncio.to_thread(desk.catalogue.all))
    found += [
        {"id": rollout.alias, "object": "model", "created": rollout.created, "owned_by": "metier", "parent": None}
        for rollout in desk.rollouts.aliases()
        if not is_registered(rollout.alias)  # the catalogue has those
    ]
    return as_json({"object": "list", "data": found})


@ROUTER.get("/models/{name:path}", tags=["infer"])
async def model(name: str, request: Request) -> Response:
    """Tell about one model."""
    served = await asyncio.to_thread(desk_of(request).find, name)
    return as_json(listed([served])[0])


@JUDGED.post("/feedback", tags=["infer"])
async def feedback(body: FeedbackBody, request: Request) -> Response:
    """Keep what somebody thought of an answer."""
    if body.thumbs is None and body.score is None and body.correction is None and body.comment is None:
        raise Refusal(400, "nothing said; wanted: thumbs, score, correction or comment")
    values = body.model_dump(exclude={"id"}) | {"trace": body.id, "caller": caller_of(request).id}
    desk_of(request).recorder.feedback(values)
    return as_json({"object": "feedback", "id": body.id}, status=201)


@PLAIN.get("/health")
async def health() -> Response:
    """Tell that the server answers."""
    return as_json({"status": "ok"})


@PLAIN.get("/metrics", tags=["infer"])
async def metrics(request: Request) -> Response:
    """Return what Prometheus reads."""
    desk = desk_of(request)
    lines = [
        "# TYPE metier_traces_dropped counter",
        f"metier_traces_dropped {desk.recorder.dropped}",
        "# TYPE metier_traces_written counter",
        f"metier_traces_written {desk.recorder.written}",
        "# TYPE metier_answers_beside_dropped counter",
        f"metier_answers_beside_dropped {desk.shadows.dropped}",
        "# TYPE metier_answers_active gauge",
        *_by_engine(desk, "metier_answers_active", "active"),
        "# TYPE metier_requests_waiting gauge",
        *_by_engine(desk, "metier_requests_waiting", "waiting"),
        "# TYPE metier_prefix_bytes gauge",
        *_by_engine(desk, "metier_prefix_bytes", "prefix_bytes"),
    ]
    text = generate_latest(desk.meters.registry).decode() + "\n".join(lines) + "\n"
    return Response(text, media_type="text/plain; version=0.0.4")


def _by_engine(desk: Desk, name: str, field: str) -> list[str]:
    """Return the lines of a gauge of every engine; a base may be called anything."""
    states = {_escaped(each): state for each, state in desk.pool.states.items()}
    return [f'{name}{{engine="{each}"}} {getattr(state, field)}' for each, state in states.items()]


def _escaped(text: str) -> str:
    """Return a text as the value of a label."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
