"""Clients of a server: how many tokens a second, how long until the first, how long a small request takes."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx2

from bench.serve_contenders import Server

_TIMEOUT = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What was measured: tokens written, seconds by the clock, CPU seconds of the server."""

    tokens: int
    seconds: float
    cpu: float


def body(server: Server, prompt: str, tokens: int, *, stream: bool = False) -> dict[str, object]:
    """Return a request for exactly so many tokens, greedily."""
    return {
        "model": server.model, "messages": [{"role": "user", "content": prompt}], "max_tokens": tokens,
        "temperature": 0, "stream": stream,
    }  # fmt: skip


def saturate(server: Server, prompts: Sequence[str], *, streams: int, tokens: int) -> Load:
    """Ask everything, so many at a time."""
    return asyncio.run(_saturate(server, prompts, streams, tokens))


async def _saturate(server: Server, prompts: Sequence[str], streams: int, tokens: int) -> Load:
    waiting = list(prompts)
    written = 0

    async def work(client: httpx2.AsyncClient) -> None:
        nonlocal written
        while waiting:
            answer = await client.post("/chat/completions", json=body(server, waiting.pop(), tokens))
            answer.raise_for_status()
            written += answer.json()["usage"]["completion_tokens"]

    async with httpx2.AsyncClient(base_url=server.url, timeout=_TIMEOUT) as client:
        started, before = time.perf_counter(), server.cpu()
        await asyncio.gather(*(work(client) for _ in range(streams)))
        return Load(tokens=written, seconds=time.perf_counter() - started, cpu=server.cpu() - before)


def first_token(server: Server, prompt: str) -> tuple[float, float]:
    """Return the seconds until the first piece of a streamed answer, and the server's CPU seconds."""
    started, before = time.perf_counter(), server.cpu()
    asked = body(server, prompt, 1, stream=True)
    with httpx2.stream("POST", f"{server.url}/chat/completions", json=asked, timeout=_TIMEOUT) as answer:
        answer.raise_for_status()
        seconds = 0.0
        for line in answer.iter_lines():
            if not seconds and line.startswith("data: ") and '"content"' in line:
                seconds = time.perf_counter() - started
    return seconds, server.cpu() - before


def round_trip(client: httpx2.Client, server: Server, prompt: str) -> float:
    """Return the seconds of a request for one token over an open connection."""
    started = time.perf_counter()
    client.post(f"{server.url}/chat/completions", json=body(server, prompt, 1)).raise_for_status()
    return time.perf_counter() - started
