"""Greedy decoding: prompts in, completions out, as many together as there is room for."""

import time
from collections.abc import Iterator
from collections.abc import Sequence as Many
from functools import partial

import torch

from metier.core.errors import DataError, NonFiniteError
from metier.core.progress import Progress
from metier.engine.decoder import Engine, opened
from metier.engine.limits import Limits
from metier.engine.padded import Completion, padded
from metier.engine.recall import text_config
from metier.engine.request import Event, Piece, Request
from metier.engine.way import Together, fact

__all__ = ["Completion", "complete"]

_TOGETHER = 64
_READ_TOKENS = 2048


def complete(
    model: torch.nn.Module,
    prompts: Many[Many[int]],
    *,
    stop_ids: Many[int],
    max_new_tokens: int,
    pad_id: int | None,
    progress: Progress,
) -> list[Completion]:
    """Continue every prompt with the likeliest token, again and again, until a stop token or the limit.

    Args:
        model: a causal language model of `transformers`, in evaluation mode.
        prompts: token ids, at least one each. A prompt that already fills the context gets an empty answer.
        stop_ids: tokens that end an answer.
        max_new_tokens: most tokens of an answer.
        pad_id: any token for the places before a shorter prompt, where a model has to be padded; None: 0.
        progress: told of every finished answer.

    Returns:
        One completion for each prompt, in the order of the prompts.

    Raises:
        DataError: a prompt is empty.
        NonFiniteError: the model's logits are not numbers.
    """
    empty = next((place for place, prompt in enumerate(prompts) if not len(prompt)), None)
    if empty is not None:
        raise DataError(f"prompt {empty} has no token", "at least one token to continue")
    if not len(prompts):
        return []
    context = fact(text_config(model), "max_position_embeddings")
    results = [Completion(ids=(), finish="length")] * len(prompts)
    asked = [place for place, prompt in enumerate(prompts) if (not context or len(prompt) < context) and max_new_tokens]
    written, start = 0, time.monotonic()
    with progress.task("answer", len(prompts)) as bar, opened(model, _limits()) as engine:
        bar.advance(len(prompts) - len(asked))
        chosen = [list(prompts[place]) for place in asked]
        if isinstance(engine.way, Together):
            ended = _ended(engine, chosen, stop_ids, max_new_tokens)
        else:
            ended = padded(model, chosen, stop_ids=stop_ids, max_new_tokens=max_new_tokens, pad_id=pad_id)
        for index, completion in ended:
            results[asked[index]] = completion
            written += len(completion.ids)
            bar.advance(1, {"tokens/s": written / max(time.monotonic() - start, 1e-9)})
    return results


def _limits() -> Limits:
    return Limits(together=_TOGETHER, read_tokens=_READ_TOKENS)


def _ended(
    engine: Engine, prompts: Many[list[int]], stop_ids: Many[int], most_tokens: int
) -> Iterator[tuple[int, Completion]]:
    """Let an engine write all answers; longest prompts first, so that those of a kind stand beside each other."""
    written: list[list[int]] = [[] for _ in prompts]
    done: list[tuple[int, Completion]] = []

    def listen(index: int, event: Event) -> None:
        if isinstance(event, Piece):
            written[index].append(event.token)
        elif event.finish in ("stop", "length"):
            finish = "stop" if event.finish == "stop" else "length"
            done.append((index, Completion(ids=tuple(written[index]), finish=finish)))
        else:
            raise NonFiniteError("logits are not numbers while decoding", "finite weights", "check the model's weights")

    for index in sorted(range(len(prompts)), key=lambda place: -len(prompts[place])):
        engine.submit(
            Request(
                ids=prompts[index],
                listen=partial(listen, index),
                most_tokens=most_tokens,
                stop_ids=frozenset(stop_ids),
            )
        )
    while engine.busy():
        engine.step()
        yield from done
        done.clear()
