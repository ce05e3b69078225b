"""Serving, side by side: our server, the library's own with continuous batching, and llama.cpp's, all in float32.

python -m bench.serve_speed [--model S] [--threads 1] [--rounds 3] [--contenders metier transformers ...]

All servers stand ready; in every round each takes its turn, in an order that turns, so that a busy machine slows all
alike. CPU seconds are those of the server's process, so they mean something on a busy machine too.
`transformers-plain` is the library's without continuous batching.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch

from bench import machine, serve_models
from bench.serve_contenders import CONTENDERS, STREAMS, Server, running
from bench.serve_load import Load, first_token, round_trips, saturate
from metier.engine.decoder import Engine, opened
from metier.engine.limits import Limits
from metier.engine.request import Request
from metier.model.load import load_folder
from metier.serve.prompts import chat_ids
from metier.serve.wire.inference import ChatMessage
from metier.text.render import open_renderer
from metier.text.settings import TextSettings

PROMPT, ANSWER, LONG, SHARED = 64, 64, 1000, 512
REQUESTS = 2 * STREAMS
SMALL = 40
"""Requests for one token by which the server's own cost is told."""


def throughput(servers: Sequence[Server], model: str, rounds: int, shared: int) -> dict[str, list[Load]]:
    """Return what each server did in each round; `shared`: tokens with which all prompts of a round begin."""
    found: dict[str, list[Load]] = {server.name: [] for server in servers}
    for number in range(rounds):
        (beginning,) = serve_models.prompts(model, 1, max(1, shared), seed=1000 + number)
        own = serve_models.prompts(model, REQUESTS, PROMPT, seed=number)
        asked = [f"{beginning} {text}" for text in own] if shared else own
        for server in turned(servers, number):
            found[server.name].append(saturate(server, asked, streams=STREAMS, tokens=ANSWER))
    return found


def beginnings(servers: Sequence[Server], model: str, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return seconds until the first token of a long prompt: never seen, and seen but for its end."""
    found: dict[str, list[tuple[float, float]]] = {server.name: [] for server in servers}
    for number in range(rounds):
        (long,) = serve_models.prompts(model, 1, LONG, seed=2000 + number)
        for server in turned(servers, number):
            cold = first_token(server, f"{long} one")
            found[server.name].append((cold, first_token(server, f"{long} two")))
    return found


def turned(servers: Sequence[Server], number: int) -> list[Server]:
    """Return the servers, beginning with another in each round."""
    start = number % len(servers)
    return [*servers[start:], *servers[:start]]


def overhead(server: Server, model: str) -> tuple[float, float]:
    """Return the medians, in seconds, of a request for one token: over HTTP, and of the engine alone for the same."""
    folder = serve_models.folder(model)
    renderer = open_renderer(folder, TextSettings())
    prompts = serve_models.prompts(model, SMALL, 8, seed=3000)
    alone: list[float] = []
    with opened(load_folder(folder), Limits(together=STREAMS)) as engine:
        for prompt in prompts:
            ids = chat_ids([ChatMessage(role="user", content=prompt)], (), renderer)
            alone.append(_timed(lambda ids=ids: _one_token(engine, ids)))
    return statistics.median(round_trips(server, prompts)), statistics.median(alone)


def _one_token(engine: Engine, ids: list[int]) -> None:
    engine.submit(Request(ids=ids, listen=lambda event: None, most_tokens=1))
    while engine.busy():
        engine.step()


def _timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def as_markdown(loads: dict[str, list[Load]], title: str) -> list[str]:
    """Return a table of tokens a second, by the clock and by the server's CPU, and ours over each."""
    ours = loads["metier"]
    lines = ["", f"**{title}**", "", "| server | tokens/s | tokens a CPU second | metier is faster by | by CPU |"]
    lines.append("|---|---|---|---|---|")
    for name, rounds in loads.items():
        wall = [mine.tokens / mine.seconds / (his.tokens / his.seconds) for mine, his in zip(ours, rounds, strict=True)]
        spent = [mine.tokens / mine.cpu / (his.tokens / his.cpu) for mine, his in zip(ours, rounds, strict=True)]
        rate = statistics.median(load.tokens / load.seconds for load in rounds)
        thrift = statistics.median(load.tokens / load.cpu for load in rounds)
        lines.append(f"| {name} | {rate:.0f} | {thrift:.0f} | {_ratio(wall)} | {_ratio(spent)} |")
    return lines


def _ratio(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def main() -> None:
    """Measure and print Markdown, the machine's facts first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("tiny", "S", "M"), default="S")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    with ExitStack() as stack:
        servers = [stack.enter_context(running(name, chosen.model, chosen.threads)) for name in chosen.contenders]
        throughput(servers, chosen.model, 1, 0)  # warms up
        print(json.dumps(machine.describe() | {"model": chosen.model, "threads": chosen.threads}))
        asked = f"{STREAMS} streams, prompts of {PROMPT} tokens, answers of {ANSWER}"
        print(*as_markdown(throughput(servers, chosen.model, chosen.rounds, 0), f"{asked}, nothing shared"), sep="\n")
        shared = throughput(servers, chosen.model, chosen.rounds, SHARED)
        print(*as_markdown(shared, f"{asked}, behind {SHARED} tokens that all share"), sep="\n")
        print(
            "",
            f"**First token of a prompt of {LONG} tokens**",
            "",
            "| server | cold s | warm s | warm / cold |",
            sep="\n",
        )
        print("|---|---|---|---|")
        for name, pairs in beginnings(servers, chosen.model, chosen.rounds).items():
            cold, warm = (statistics.median(times) for times in zip(*pairs, strict=True))
            print(f"| {name} | {cold:.3f} | {warm:.3f} | {_ratio([after / before for before, after in pairs])} |")
        served, alone = overhead(next(server for server in servers if server.name == "metier"), chosen.model)
        print(
            "",
            f"A request for one token: {1000 * served:.1f} ms over HTTP, {1000 * alone:.1f} ms of the engine.",
            sep="\n",
        )


if __name__ == "__main__":
    main()
