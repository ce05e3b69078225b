"""Clients of a server: how many tokens a second, how long until the first, how long a small request takes."""

import asyncio
import json
import socket
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


def first_token(server: Server, prompt: str) -> float:
    """Return the seconds until the first piece of a streamed answer, over an open connection."""
    asked = body(server, prompt, 1, stream=True)
    with httpx2.Client(timeout=_TIMEOUT) as client:
        client.get(f"{server.url}/models")  # connects; making a client takes tens of milliseconds
        started, seconds = time.perf_counter(), 0.0
        with client.stream("POST", f"{server.url}/chat/completions", json=asked) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines():
                if not seconds and line.startswith("data: ") and '"content"' in line:
                    seconds = time.perf_counter() - started
    return seconds


def round_trips(server: Server, prompts: Sequence[str]) -> list[float]:
    """Return the seconds of requests for one token each, over one open connection and with what HTTP needs at least.

    A client library takes a millisecond of its own for each, on the core that the server runs on too.
    """
    host, _, port = server.url.split("/")[2].partition(":")
    found = []
    with socket.create_connection((host, int(port)), timeout=_TIMEOUT) as connection, connection.makefile("rb") as said:
        for prompt in prompts:
            content = json.dumps(body(server, prompt, 1)).encode()
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
            request = f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content
            started = time.perf_counter()
            connection.sendall(request)
            status, length = said.readline(), 0
            while (line := said.readline()) != b"\r\n":
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            said.read(length)
            found.append(time.perf_counter() - started)
            if b" 200 " not in status:
                raise RuntimeError(f"{server.name}: {status!r}")
    return found
