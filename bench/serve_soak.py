"""Our server at saturation for a long time: `python -m bench.serve_soak --minutes 30`.

More clients than the server takes on ask, stream, hang up in the middle, ask for schemas, vectors and decisions, and
for what is wrong. Every few seconds the memory of the server is noted; at the end its slope over the second half, what
was answered, and whether every answered request left a trace.
"""

import argparse
import asyncio
import collections
import json
import random
import sqlite3
import time
from dataclasses import dataclass, field

import httpx2
import numpy as np

from bench import machine, serve_models
from bench.places import cache
from bench.serve_contenders import Server, running
from bench.serve_load import body

CLIENTS, WAITING = 48, 16
_EVERY_SECONDS = 5.0
_VECTORS, _DECISIONS = 0.15, 0.15
"""Shares of the requests that ask for vectors and for decisions."""
_OPTIONS = [{"value": value} for value in ("card", "loan", "account")]
_QUESTIONS = [{"type": "choice", "instructions": "What is it about?", "choices": _OPTIONS}]
_PLACE = {"type": "object", "properties": {"open": {"type": "boolean"}}, "required": ["open"]}


@dataclass(slots=True)
class Tally:
    """What happened: answers by path and status, requests that were hung up on, memory (seconds, MiB)."""

    statuses: collections.Counter[str] = field(default_factory=collections.Counter)
    hung_up: int = 0
    memory: list[tuple[float, float]] = field(default_factory=list)


async def soak(server: Server, model: str, seconds: float) -> Tally:
    """Keep the server busy for so long."""
    tally, until = Tally(), time.monotonic() + seconds
    texts = serve_models.prompts(model, 500, 100, seed=0)
    limits = httpx2.Limits(max_connections=CLIENTS)
    async with httpx2.AsyncClient(base_url=server.url, timeout=600, limits=limits) as client:
        tasks = [_visit(client, server, tally, until=until, texts=texts, seed=number) for number in range(CLIENTS)]
        await asyncio.gather(_watch(server, tally, until), *tasks)
    return tally


async def _visit(
    client: httpx2.AsyncClient, server: Server, tally: Tally, *, until: float, texts: list[str], seed: int
) -> None:
    chance = random.Random(seed)
    while time.monotonic() < until:
        path, asked, leaves = _request(server, texts, chance)
        async with client.stream("POST", path, json=asked) as answer:
            if leaves and answer.status_code == httpx2.codes.OK:
                async for _ in answer.aiter_lines():
                    break
                tally.hung_up += 1
                continue
            await answer.aread()
        tally.statuses[f"{path} {answer.status_code}"] += 1
        if answer.status_code == httpx2.codes.TOO_MANY_REQUESTS:
            await asyncio.sleep(float(answer.headers["retry-after"]))


def _request(server: Server, texts: list[str], chance: random.Random) -> tuple[str, dict[str, object], bool]:
    """Return the path and body of a request, and whether its client hangs up in the middle."""
    route, kind, text = chance.random(), chance.random(), chance.choice(texts)
    if route < _VECTORS:
        many = [chance.choice(texts) for _ in range(chance.randint(1, 4))]
        return "/embeddings", {"model": server.model, "input": many if kind < 0.95 else ""}, False
    if route < _VECTORS + _DECISIONS:
        questions = _QUESTIONS if kind < 0.95 else []
        return "/decisions", {"model": server.model, "input": text, "questions": questions}, False
    asked = body(server, text, chance.randint(1, 48), stream=kind < 0.4)
    if kind > 0.95:
        asked["temperature"] = 9  # refused
    elif kind > 0.9:
        asked["response_format"] = {"type": "json_schema", "json_schema": {"name": "place", "schema": _PLACE}}
    return "/chat/completions", asked, kind < 0.1


async def _watch(server: Server, tally: Tally, until: float) -> None:
    started = time.monotonic()
    while time.monotonic() < until:
        tally.memory.append((time.monotonic() - started, server.memory() / 2**20))
        await asyncio.sleep(_EVERY_SECONDS)


def slope(memory: list[tuple[float, float]]) -> float:
    """Return MiB an hour over the second half, by least squares."""
    half = np.array(memory[len(memory) // 2 :])
    return float(np.polyfit(half[:, 0], half[:, 1], 1)[0] * 3600)


def traces(model: str) -> int:
    """Return how many requests the server has recorded."""
    with sqlite3.connect(cache() / "serve" / model / ".metier" / "metier.db") as database:
        return int(database.execute("select count(*) from traces").fetchone()[0])


def main() -> None:
    """Soak and print what was found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("tiny", "S", "M"), default="S")
    parser.add_argument("--minutes", type=float, default=30)
    chosen = parser.parse_args()
    with running("metier", chosen.model, 1, f"--serve.limits.waiting={WAITING}") as server:
        before = traces(chosen.model)
        tally = asyncio.run(soak(server, chosen.model, 60 * chosen.minutes))
        time.sleep(10)  # what is being written is written
        recorded = traces(chosen.model) - before
    memory = tally.memory
    found = {
        "minutes": chosen.minutes,
        "clients": CLIENTS,
        "statuses": dict(sorted(tally.statuses.items())),
        "hung_up": tally.hung_up,
        "recorded": recorded,
        "memory_mib": [
            round(tally.memory[0][1]),
            round(tally.memory[len(tally.memory) // 2][1]),
            round(tally.memory[-1][1]),
        ],
        "every_half_minute_mib": [round(mib) for _, mib in tally.memory[:: round(30 / _EVERY_SECONDS)]],
        "slope_mib_per_hour": round(slope(memory), 1),
    }
    print(json.dumps(machine.describe() | found, indent=1))


if __name__ == "__main__":
    main()
