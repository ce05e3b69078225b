"""Several drawn answers to each prompt, each a function of its seed and number alone."""

from collections.abc import Sequence as Many
from dataclasses import dataclass, field, replace
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
    """How answers are drawn; the number of a try is the `stream` of its sampling.

    `seeds`: one for the answers to each prompt; None: that of `sampling` for all.
    """

    sampling: Sampling
    most_tokens: int
    stop_ids: tuple[int, ...]
    seeds: tuple[int, ...] | None = None


@dataclass(slots=True, kw_only=True)
class Written:
    """An answer: its tokens, and the stop token that ended it; None: it was cut off where it became too long."""

    ids: list[int] = field(default_factory=list)
    stop: int | None = None


def several(
    model: torch.nn.Module, prompts: Many[Many[int]], *, tries: int, how: Drawing, progress: Progress
) -> list[list[Written]]:  # fmt: skip
    """Draw `tries` answers to each prompt.

    Args:
        model: in evaluation mode.
        prompts: token ids, at least one each; their beginnings are read once for all tries.
        tries: answers to each.
        how: tokens are drawn, and answers end.
        progress: told of every answer.

    Returns:
        For each prompt its answers.

    Raises:
        DataError: a prompt is empty, or leaves no room for an answer.
        NonFiniteError: the model's logits are not numbers.
    """
    found = [[Written() for _ in range(tries)] for _ in prompts]
    seeds = how.seeds or (how.sampling.seed,) * len(prompts)
    engine_limits = Limits(together=_TOGETHER, read_tokens=_READ_TOKENS)
    with progress.task(f"{tries} answers each", tries * len(prompts)) as bar, opened(model, engine_limits) as engine:

        def listen(written: Written, event: Event) -> None:
            if not isinstance(event, End):
                written.ids.append(event.token)
                return
            if event.finish not in ("stop", "length"):
                raise NonFiniteError(f"an answer was not written ({event.found})", "finite weights", "check the model")
            written.stop = event.stop
            bar.advance(1)

        for prompt, seed, answers in zip(prompts, seeds, found, strict=True):
            for number, written in enumerate(answers):
                engine.submit(
                    Request(
                        ids=list(prompt), listen=partial(listen, written), most_tokens=how.most_tokens,
                        stop_ids=frozenset(how.stop_ids), sampling=replace(how.sampling, seed=seed, stream=number),
                    )
                )  # fmt: skip
        while engine.busy():
            engine.step()
    return found
