"""Answers on offer as a model would write them behind a prompt, for everything that asks how likely each one is."""

from collections.abc import Sequence

from metier.text.render import Renderer


def continuations(options: Sequence[str], renderer: Renderer) -> list[list[int]]:
    """Return the ids of each option with the end of the answer behind it.

    The end tells "bill" from "bill paid", which begins with it; and with it the chance of the ids, as a product, is
    that of exactly this answer, however many tokens it has. So nothing is divided by its length. What the template
    writes between prompt and answer, such as a thought that is empty, stands before each of them.
    """
    tokenizer = renderer.tokenizer
    ending = [tokenizer.eos_id] if tokenizer.eos_id is not None else list(tokenizer.stop_ids[:1])
    return [[*tokenizer.encode(renderer.lead + option, special=False), *ending] for option in options]
