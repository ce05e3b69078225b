"""Items as a model reads them, and what a model's surprise and words make of them; imports no torch.

A choice is as many sequences as it has options; they share their beginning, which the forest reads once.
"""

from collections.abc import Sequence as Many
from dataclasses import dataclass

import numpy as np

from metier.core.errors import DataError
from metier.core.types import ChatRow, Message, Sequence
from metier.evaluate.suites import items
from metier.evaluate.suites.items import Item, Suite
from metier.text.asking import prompt
from metier.text.render import Renderer, render


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """A suite as ids.

    `prompts` [I]: what a `write` or `cloze` item begins with, None for a choice. `options`: for each item its
    sequences, labelled at the option. `targets` [I]: the ids that a cloze must continue with. `left_out`: items that
    this model cannot read.
    """

    suite: Suite
    items: tuple[Item, ...]
    prompts: tuple[list[int] | None, ...]
    options: tuple[tuple[Sequence, ...], ...]
    targets: tuple[tuple[int, ...], ...]
    left_out: int

    @property
    def most_tokens(self) -> int:
        """Longest answer."""
        return max([self.suite.most_tokens, *(len(target) for target in self.targets)])

    @property
    def seen(self) -> list[object]:
        """Everything that a model gets to see, for a digest."""
        return [list(self.prompts), [[each.ids.tolist() for each in part] for part in self.options], self.most_tokens]


def asked(suite: Suite, renderer: Renderer) -> Asked:
    """Turn a suite into ids; an item that this base's template refuses or that is too long is left out and counted.

    Raises:
        DataError: not one item is left.
    """
    kept: list[tuple[Item, list[int] | None, tuple[Sequence, ...], tuple[int, ...]]] = []
    for item in suite.items:
        made = _raw(item, renderer) if not item.turns else _turned(item, renderer)
        if made is not None:
            kept.append((item, *made))
    if not kept:
        raise DataError(f"suite {suite.name}: not one of {len(suite.items)} items can be asked of this base")
    return Asked(
        suite=suite,
        items=tuple(entry[0] for entry in kept),
        prompts=tuple(entry[1] for entry in kept),
        options=tuple(entry[2] for entry in kept),
        targets=tuple(entry[3] for entry in kept),
        left_out=suite.left_out + len(suite.items) - len(kept),
    )


_Made = tuple[list[int] | None, tuple[Sequence, ...], tuple[int, ...]]


def _turned(item: Item, renderer: Renderer) -> _Made | None:
    """Return an item that goes through the chat template."""
    try:
        if item.kind == "write":
            row = ChatRow(id=item.id, source=item.id, messages=(*item.turns, Message(role="assistant", content="-")))
            ids = prompt(row, renderer).ids
            return (ids, (), ()) if len(ids) < renderer.limit else None
        options = []
        for option in item.options:
            turns = (*item.turns, Message(role="assistant", content=option))
            rendered = render(ChatRow(id=item.id, source=item.id, messages=turns), renderer)
            if not isinstance(rendered, tuple):
                return None
            options.append(rendered[-1])
    except DataError:
        return None
    return None, tuple(options), ()


def _raw(item: Item, renderer: Renderer) -> _Made | None:
    """Return an item that is plain text: what precedes an option is context, however long, cut on the left."""
    if item.kind == "write":
        ids = encoded(item.text, renderer)
        return ids[-(renderer.limit - 1) :], (), ()
    pairs = [divided(item.text, option, renderer) for option in item.options]
    if item.kind == "cloze":
        context, target = pairs[0]
        room = renderer.limit - len(target)
        return (context[-room:], (), tuple(target)) if room > 0 else None
    return None, tuple(labelled(*pair, item.id, renderer) for pair in pairs), ()


def encoded(text: str, renderer: Renderer) -> list[int]:
    """Encode a text as the base's own tokenizer does by default: with a BOS where it puts one."""
    tokenizer = renderer.tokenizer
    ids = tokenizer.encode(text, special=True)
    return [tokenizer.bos_id, *ids] if tokenizer.adds_bos and tokenizer.bos_id is not None else ids


def divided(context: str, continuation: str, renderer: Renderer) -> tuple[list[int], list[int]]:
    """Return the ids of a context and of what follows, divided as lm-evaluation-harness does.

    Both are encoded together and cut where the context alone ends; spaces at its end belong to what follows. An empty
    context is the base's first token, BOS or else the end of text.
    """
    tokenizer = renderer.tokenizer
    if not context:
        first = tokenizer.bos_id if tokenizer.bos_id is not None else tokenizer.end_of_text_id
        ids = encoded(continuation, renderer)
        if first is not None and ids[:1] == [first]:
            return ids[:1], ids[1:]
        return ([] if first is None else [first]), ids
    spaces = len(context) - len(context.rstrip())
    if spaces:
        context, continuation = context[:-spaces], context[-spaces:] + continuation
    whole, start = encoded(context + continuation, renderer), len(encoded(context, renderer))
    return whole[:start], whole[start:]


def labelled(context: Many[int], continuation: Many[int], name: str, renderer: Renderer) -> Sequence:
    """Return context and continuation as one sequence that is measured at the continuation."""
    ids = [*context, *continuation][-(renderer.limit + 1) :]
    weights = np.zeros(len(ids), np.float32)
    weights[max(1, len(ids) - len(continuation)) :] = 1.0
    return Sequence(ids=np.asarray(ids, np.int32), weights=weights, row_id=name)


def values(question: Asked, nats: np.ndarray, said: Many[tuple[tuple[int, ...], str] | None]) -> np.ndarray:
    """Return how right a model is on each item, float64 [I].

    Args:
        question: what was asked.
        nats: float64 [sum of options], the surprise of every option in order.
        said: [I], the ids and the text that the model wrote; None where it was to choose.
    """
    found, place = np.zeros(len(question.items)), 0
    for number, item in enumerate(question.items):
        count = len(question.options[number])
        own = nats[place : place + count].tolist()
        place += count
        ids, text = said[number] or ((), "")
        if item.kind == "cloze":
            target = question.targets[number]
            found[number] = float(tuple(ids[: len(target)]) == target)
        else:
            found[number] = items.value(item, own, text)
    return found
