"""Many adapters of one base: 32 in one batch, against one adapter for all, and against PEFT with a lock.

python -m bench.serve_adapters [--model S] [--rounds 3]

All in one process, in turns. Prompts are random tokens and never come twice. PEFT answers one request after another
and switches to its adapter before each, as a server with a lock around the model would.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

from bench import machine, serve_models, shapes
from metier.engine.decoder import Engine, opened
from metier.engine.limits import Limits
from metier.engine.request import Event, Piece, Request
from metier.model.load import load_folder

ADAPTERS, PROMPT, ANSWER, RANK = 32, 64, 32, 8
LOCKED = 8
"""Requests that PEFT answers in a round: its tokens a second do not depend on how many wait."""


def write_adapters(model: PreTrainedModel, folder: Path) -> list[Path]:
    """Write adapters on every linear layer, with matrices that change something."""
    adapted = get_peft_model(model, LoraConfig(r=RANK, target_modules="all-linear", task_type="CAUSAL_LM"))
    for number in range(ADAPTERS):
        torch.manual_seed(number)
        with torch.no_grad():
            for name, weight in adapted.named_parameters():
                if "lora_B" in name:
                    weight.normal_(0, 0.02)
        adapted.save_pretrained(str(folder / str(number)))
    return [folder / str(number) for number in range(ADAPTERS)]


def ours(engine: Engine, prompts: Sequence[list[int]], names: Sequence[str | None]) -> float:
    """Return tokens a second of the engine with one adapter for each prompt."""
    written = 0

    def listen(event: Event) -> None:
        nonlocal written
        written += isinstance(event, Piece)

    started = time.perf_counter()
    for ids, name in zip(prompts, names, strict=True):
        engine.submit(Request(ids=ids, listen=listen, most_tokens=ANSWER, adapter=name))
    while engine.busy():
        engine.step()
    return written / (time.perf_counter() - started)


def locked(model: PeftModel, prompts: Sequence[list[int]], names: Sequence[str]) -> float:
    """Return tokens a second of PEFT, one request after another."""
    started = time.perf_counter()
    for ids, name in zip(prompts, names, strict=True):
        model.set_adapter(name)
        chosen = {"max_new_tokens": ANSWER, "min_new_tokens": ANSWER, "do_sample": False, "pad_token_id": 0}
        model.generate(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), **chosen)
    return len(prompts) * ANSWER / (time.perf_counter() - started)


def measure(name: str, rounds: int, folder: Path) -> dict[str, list[float]]:
    """Return tokens a second of each contender in each round."""
    place, random = serve_models.folder(name), np.random.default_rng(1)
    paths = write_adapters(load_folder(place), folder)
    peft = PeftModel.from_pretrained(load_folder(place), str(paths[0]), adapter_name="0").eval()
    for path in paths[1:]:
        peft.load_adapter(str(path), adapter_name=path.name)
    names = [path.name for path in paths]

    def prompts(count: int) -> list[list[int]]:
        return random.integers(5, shapes.SHAPES[name].vocabulary, (count, PROMPT)).tolist()

    found: dict[str, list[float]] = {}
    with opened(load_folder(place), Limits(together=ADAPTERS)) as engine:
        for path in paths:
            engine.adapters.know(path.name, path)
        turns: dict[str, Callable[[], float]] = {
            "the base alone": lambda: ours(engine, prompts(ADAPTERS), [None] * ADAPTERS),
            "one adapter": lambda: ours(engine, prompts(ADAPTERS), names[:1] * ADAPTERS),
            "32 adapters": lambda: ours(engine, prompts(ADAPTERS), names),
            "PEFT with a lock": lambda: locked(peft, prompts(LOCKED), names[:LOCKED]),
        }
        for turn in turns.values():
            turn()
        for _ in range(rounds):
            for title, turn in turns.items():
                found.setdefault(title, []).append(turn())
    return found


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("S", "M"), default="S")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(chosen.model, chosen.rounds, Path(folder))
    print(json.dumps(machine.describe() | {"model": chosen.model, "threads": chosen.threads}), "", sep="\n")
    print(f"| {ADAPTERS} requests, prompts of {PROMPT}, answers of {ANSWER} tokens | tokens/s | 32 adapters over it |")
    print("|---|--:|--:|")
    for title, rates in found.items():
        over = [mine / other for mine, other in zip(found["32 adapters"], rates, strict=True)]
        print(f"| {title} | {statistics.median(rates):.0f} | {statistics.median(over):.2f} |")


if __name__ == "__main__":
    main()
