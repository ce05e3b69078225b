"""The paths of inference when another server answers for this one: what is asked is checked here all the same."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from metier.serve.asking import asking_of
from metier.serve.desk import desk_of
from metier.serve.refusal import Refusal
from metier.serve.routes.streams import as_json, stream, while_heard
from metier.serve.upstream import Handed, Upstream
from metier.serve.wire.inference import ChatBody, CompletionBody, EmbeddingBody
from metier.serve.wire.rules import check_handed

ROUTER = APIRouter(tags=["infer"])
_OURS = {"store", "service_tier", "modalities", "safety_identifier", "prompt_cache_key"}
"""What is obeyed here, whatever the other server makes of it."""


def upstream_of(request: Request) -> Upstream:
    """Return the server that answers."""
    upstream = request.app.state.upstream
    assert isinstance(upstream, Upstream)
    return upstream


@ROUTER.post("/chat/completions")
async def chat(body: ChatBody, request: Request) -> Response:
    """Let a conversation go on."""
    return await _handed(request, body, "/chat/completions", ("chat", "chatcmpl"))


@ROUTER.post("/completions")
async def completions(body: CompletionBody, request: Request) -> Response:
    """Let plain text go on."""
    return await _handed(request, body, "/completions", ("completions", "cmpl"))


@ROUTER.post("/embeddings")
async def embeddings(body: EmbeddingBody, request: Request) -> Response:
    """Let texts be turned into vectors."""
    return await _handed(request, body, "/embeddings", ("embeddings", "embd"))


@ROUTER.get("/models")
async def models(request: Request) -> Response:
    """List what is served."""
    return as_json(await upstream_of(request).models())


@ROUTER.get("/models/{name:path}")
async def model(name: str, request: Request) -> Response:
    """Tell about one model."""
    listed = await upstream_of(request).models()
    found = [each for each in listed.get("data", ()) if each.get("id") == name]
    if not found:
        raise Refusal(404, f"model {name[:80]!r} is not served here", param="model", code="model_not_found")
    return as_json(found[0])


async def _handed(
    request: Request, body: ChatBody | CompletionBody | EmbeddingBody, path: str, names: tuple[str, str]
) -> Response:
    check_handed(body, desk_of(request).settings.engine)
    sent = body.model_dump(mode="json", exclude_unset=True, by_alias=True, exclude=_OURS)
    asking = asking_of(request, *names, body.who)
    handed = Handed(desk_of(request), upstream_of(request), asking, sent)
    if sent.get("stream"):
        return await stream(handed.parts(path))
    return as_json(await while_heard(request, handed.whole(path)))
