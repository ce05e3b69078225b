"""Conversations of the reference rows as a server is asked them, and what the trained model would answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metier.core.types import Row
from metier.promote.reference import Reference
from metier.promote.wording import Wording
from metier.text.asking import prompt, question_of
from metier.text.render import Renderer, open_renderer
from metier.text.tasks import ASKING

MOST_CONVERSATIONS = 8
_ROOM = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A row as a server is asked it.

    `prompt`: the tokens before the answer. `reference`: the row's own answer. `known`: the trained model writes exactly
    that and stops, which its recorded answers show. `most_tokens`: room for it.
    """

    source: str
    messages: Sequence[Mapping[str, Any]]
    prompt: tuple[int, ...]
    reference: str
    known: bool
    most_tokens: int


def conversations(folder: Path, wording: Wording, reference: Reference) -> list[Conversation]:
    """Return up to eight rows that are conversations without tools; `folder` holds the tokenizer and template."""
    renderer = open_renderer(folder, wording.settings)
    found = []
    for index, sequence in enumerate(reference.sequences):
        row, ids = wording.rows[sequence.row_id], reference.prompt_ids[index]
        if ids is None or not isinstance(row, ASKING) or not reference.worded:
            continue
        talk, last = question_of(row, renderer)
        if talk.tools or any("tool_calls" in turn for turn in talk.messages):
            continue
        found.append(
            Conversation(
                source=sequence.source,
                messages=[dict(turn) for turn in talk.messages[:last]],
                prompt=ids,
                reference=_said(row, reference, index, renderer),
                known=_is_known(reference, index, len(ids)),
                most_tokens=len(sequence.ids) - min(len(ids), len(sequence.ids)) + _ROOM,
            )
        )
    return found[:MOST_CONVERSATIONS]


def _said(row: Row, reference: Reference, index: int, renderer: Renderer) -> str:
    """Return the row's own answer, or the model's where that is what was recorded."""
    if not reference.own_answers:
        return prompt(row, renderer).reference
    ids = reference.sequences[index].ids[len(reference.prompt_ids[index] or ()) :].tolist()
    return renderer.tokenizer.decode(ids[:-1] if ids[-1] in reference.stop_ids else ids)


def _is_known(reference: Reference, index: int, start: int) -> bool:
    """Tell whether the recorded answers are a row's own last turn, to the stop token that ends it."""
    sequence = reference.sequences[index]
    places = (sequence.weights != 0).nonzero()[0]
    is_last = places >= start
    if not is_last.any() or tuple(sequence.ids[:start].tolist()) != reference.prompt_ids[index]:
        return False
    labels = reference.labels(index)
    same = reference.logprobs(index).argmax(-1) == labels
    return bool(same[is_last.tolist()].all()) and int(labels[-1]) in reference.stop_ids
