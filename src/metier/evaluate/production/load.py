"""Put a model under a steady load by our own engine, the one that serves, and time every answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter

import torch

from metier.core.errors import NonFiniteError
from metier.core.memory import resident
from metier.core.progress import Progress
from metier.engine.decoder import opened
from metier.engine.limits import Limits
from metier.engine.request import End, Event, Request


@dataclass(slots=True, kw_only=True)
class Load:
    """What a model did under load: for each answer the seconds to its first token and to its end.

    `written`: tokens in all; `seconds`: from the first request to the last answer; `memory_bytes`: the most that this
    process held meanwhile (of the GPU where the model is on one).
    """

    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    written: int = 0
    seconds: float = 0.0
    memory_bytes: int = 0


def put_under_load(
    model: torch.nn.Module,
    prompts: Sequence[list[int]],
    *,
    together: int,
    most_tokens: int,
    stop_ids: Sequence[int],
    progress: Progress,
) -> Load:
    """Keep so many requests on their way until every prompt is answered.

    The cache of beginnings is empty at first: what prompts share is read once, as in a service.

    Args:
        model: in evaluation mode.
        prompts: each is asked once.
        together: requests on their way at once.
        most_tokens: of an answer.
        stop_ids: tokens that end an answer.
        progress: told of each answer.

    Raises:
        NonFiniteError: the model's logits are not numbers.
    """
    load, waiting, device = Load(), list(reversed(prompts)), next(model.parameters()).device
    with progress.task(f"{together} at once", len(prompts)) as bar, opened(model, Limits(together=together)) as engine:
        started, ended = perf_counter(), 0

        def listen(begun: float, seen: list[float], event: Event) -> None:
            nonlocal ended
            now = perf_counter() - begun
            if isinstance(event, End):
                if event.finish == "fault":
                    raise NonFiniteError("logits are not numbers under load", "finite weights", "check the model")
                load.first.append(seen[0] if seen else now)
                load.whole.append(now)
                ended += 1
                bar.advance(1)
                return
            seen.append(now)
            load.written += 1

        begun = 0
        while waiting or engine.busy():
            while waiting and begun - ended < together:
                heard = partial(listen, perf_counter(), [])
                stops = frozenset(stop_ids)
                engine.submit(Request(ids=waiting.pop(), listen=heard, most_tokens=most_tokens, stop_ids=stops))
                begun += 1
            engine.step()
            load.memory_bytes = max(load.memory_bytes, _held(device))
        load.seconds = perf_counter() - started
    return load


def _held(device: torch.device) -> int:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else resident()
