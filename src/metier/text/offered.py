"""Answers on offer as a model would write them behind a prompt, for everything that asks how likely each one is."""

from collections.abc import Sequence

from metier.core.errors import DataError, ProofError
from metier.core.types import Dropped, LabelledRow
from metier.text.render import Renderer, render

_ASKED = "Which one?"


def continuations(options: Sequence[str], renderer: Renderer) -> list[list[int]]:
    """Return the ids of each option as it would be learnt behind a question, with the end of the answer behind it.

    The end tells "bill" from "bill paid", which begins with it; and with it the chance of the ids, as a product, is
    that of exactly this answer, however many tokens it has. So nothing is divided by its length. What the template
    writes between prompt and answer, such as a thought that is empty, stands before each of them.
    """
    return [_learnt(option, renderer) or _spelt(option, renderer) for option in options]


def _learnt(option: str, renderer: Renderer) -> list[int]:
    """Return the learnt ids of a row whose label the option is; none where there can be no such row."""
    try:
        found = render(LabelledRow(id="", source="", text=_ASKED, label=option), renderer)
    except (DataError, ProofError):
        return []
    return [] if isinstance(found, Dropped) else found[-1].ids[found[-1].weights > 0].tolist()


def _spelt(option: str, renderer: Renderer) -> list[int]:
    tokenizer = renderer.tokenizer
    ending = [tokenizer.eos_id] if tokenizer.eos_id is not None else list(tokenizer.stop_ids[:1])
    return [*tokenizer.encode(renderer.lead + option, special=False), *ending]
