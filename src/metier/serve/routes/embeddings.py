"""POST /v1/embeddings: the mean of a model's last states, of length one. The base's, or a tuned model's own."""

import asyncio
import base64
from functools import partial

import numpy as np
import torch
from fastapi import APIRouter, Request
from fastapi.responses import Response

from metier.engine.decoder import Engine
from metier.serve.asking import asking_of, conversation
from metier.serve.desk import desk_of
from metier.serve.generation import Generation
from metier.serve.pool import Open
from metier.serve.refusal import Refusal, unsupported
from metier.serve.routes.completions import prompts_of
from metier.serve.routes.streams import as_json
from metier.serve.wire.inference import EmbeddingBody

ROUTER = APIRouter()


@ROUTER.post("/embeddings", tags=["infer"])
async def embeddings(body: EmbeddingBody, request: Request) -> Response:
    """Turn texts into vectors."""
    desk = desk_of(request)
    if body.dimensions is not None:
        raise unsupported("dimensions", "a vector has the width of the model")
    chosen = desk.writer(body.model, conversation(body.user, [body.input]))
    generation = Generation(desk, asking_of(request, "embeddings", "embd", body.user), chosen)
    async with generation.opened() as model:
        tokenizer = model.text.renderer.tokenizer
        prompts = await asyncio.to_thread(prompts_of, body.input, tokenizer, "input")
        limit = model.text.renderer.limit
        if any(len(ids) > limit for ids in prompts):
            raise Refusal(400, f"input: a text of more than {limit} tokens", param="input", code="context_length")
        generation.reserve(sum(len(ids) for ids in prompts))
        vectors = [await model.worker.call(partial(_embed, model=model, ids=ids)) for ids in prompts]
    count = sum(len(ids) for ids in prompts)
    data = [
        {"object": "embedding", "index": number, "embedding": _written(vector, body.encoding_format)}
        for number, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": count, "total_tokens": count}
    return as_json({"object": "list", "model": body.model, "data": data, "usage": usage, "id": generation.id})


@torch.inference_mode()
def _embed(engine: Engine, model: Open, ids: list[int]) -> np.ndarray:
    states = engine.states(ids, model.adapter).mean(dim=0)
    return torch.nn.functional.normalize(states, dim=0).cpu().numpy()


def _written(vector: np.ndarray, form: str | None) -> list[float] | str:
    if form == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [float(number) for number in vector]
