"""Several drawn answers to each prompt, each a function of its seed and number alone."""

from collections.abc import Sequence as Many
from dataclasses import dataclass, replace
from functools import partial

import torch

from metier.core.errors import NonFiniteError
from metier.core.progress import Progress
from metier.engine.decoder import opened
from metier.engine.limits import Limits
from metier.engine.request import End, Event, Request, Sampling

_TOGETHER = 32
_READ_TOKENS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """How answers are drawn; the number of a try is the `stream` of its sampling."""

    sampling: Sampling
    most_tokens: int
    stop_ids: tuple[int, ...]


def several(
    model: torch.nn.Module, prompts: Many[Many[int]], *, tries: int, how: Drawing, progress: Progress
) -> list[list[tuple[int, ...]]]:  # fmt: skip
    """Draw `tries` answers to each prompt.

    Args:
        model: in evaluation mode.
        prompts: token ids, at least one each; their beginnings are read once for all tries.
        tries: answers to each.
        how: tokens are drawn, and answers end.
        progress: told of every answer.

    Returns:
        For each prompt the token ids of its answers, without the stop token.

    Raises:
        NonFiniteError: the model's logits are not numbers.
    """
    found: list[list[list[int]]] = [[[] for _ in range(tries)] for _ in prompts]
    engine_limits = Limits(together=_TOGETHER, read_tokens=_READ_TOKENS)
    with progress.task(f"{tries} answers each", tries * len(prompts)) as bar, opened(model, engine_limits) as engine:

        def listen(written: list[int], event: Event) -> None:
            if not isinstance(event, End):
                written.append(event.token)
                return
            if event.finish not in ("stop", "length"):
                raise NonFiniteError(f"an answer was not written ({event.found})", "finite weights", "check the model")
            bar.advance(1)

        for prompt, answers in zip(prompts, found, strict=True):
            for number, written in enumerate(answers):
                engine.submit(
                    Request(
                        ids=list(prompt), listen=partial(listen, written), most_tokens=how.most_tokens,
                        stop_ids=frozenset(how.stop_ids), sampling=replace(how.sampling, stream=number),
                    )
                )  # fmt: skip
        while engine.busy():
            engine.step()
    return [[tuple(written) for written in answers] for answers in found]
