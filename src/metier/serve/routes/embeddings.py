"""POST /v1/embeddings: the mean of a model's last states, of length one. The base's, or a tuned model's own."""

import asyncio
import base64
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from fastapi import APIRouter, Request
from fastapi.responses import Response

from metier.engine.decoder import Engine
from metier.serve.asking import asking_of, conversation
from metier.serve.desk import desk_of
from metier.serve.generation import Generation, beside
from metier.serve.pool import Open
from metier.serve.refusal import Refusal, unsupported
from metier.serve.routes.completions import prompts_of
from metier.serve.routes.streams import as_json, while_heard
from metier.serve.wire.inference import EmbeddingBody

ROUTER = APIRouter()
_SAME = 0.99
"""Cosine from which on two vectors of a text are the same to who searches with them."""


@ROUTER.post("/embeddings", tags=["infer"])
async def embeddings(body: EmbeddingBody, request: Request) -> Response:
    """Turn texts into vectors."""
    desk = desk_of(request)
    if body.dimensions is not None:
        raise unsupported("dimensions", "a vector has the width of the model")
    chosen = desk.writer(body.model, conversation(body.user, lambda: [body.input]))
    asking = asking_of(request, "embeddings", "embd", body.user)
    generation = Generation(desk, asking, chosen)
    vectors: list[np.ndarray] = []
    generation.ended = beside(desk, asking, chosen, lambda other: _compared(body, other, vectors))
    await while_heard(request, _told(body, generation, vectors))
    count = generation.prompt_tokens
    data = [
        {"object": "embedding", "index": number, "embedding": _written(vector, body.encoding_format)}
        for number, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": count, "total_tokens": count}
    return as_json({"object": "list", "model": body.model, "data": data, "usage": usage, "id": generation.id})


async def _told(body: EmbeddingBody, generation: Generation, vectors: list[np.ndarray]) -> None:
    async with generation.opened() as model:
        vectors += await _vectors(body, generation, model)


async def _compared(body: EmbeddingBody, generation: Generation, heard: Sequence[np.ndarray]) -> None:
    """Embed the same texts with a candidate, and tell whether an index of the vectors that were heard still holds."""
    async with generation.opened() as model:
        found = await _vectors(body, generation, model)
        pairs = zip(found, heard, strict=True)
        generation.compared(all(one.shape == other.shape and float(one @ other) >= _SAME for one, other in pairs))


async def _vectors(body: EmbeddingBody, generation: Generation, model: Open) -> list[np.ndarray]:
    tokenizer, limit = model.text.renderer.tokenizer, model.text.renderer.limit
    prompts = await asyncio.to_thread(prompts_of, body.input, tokenizer, "input")
    if any(len(ids) > limit for ids in prompts):
        raise Refusal(400, f"input: a text of more than {limit} tokens", param="input", code="context_length")
    generation.reserve(sum(len(ids) for ids in prompts))
    return await generation.computed(model, [partial(_embed, model=model, ids=ids) for ids in prompts])


@torch.inference_mode()
def _embed(engine: Engine, model: Open, ids: list[int]) -> np.ndarray:
    states = engine.states(ids, model.adapter).mean(dim=0)
    return torch.nn.functional.normalize(states, dim=0).cpu().numpy()


def _written(vector: np.ndarray, form: str | None) -> list[float] | str:
    if form == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [float(number) for number in vector]
