"""Questions as prompts: as they are, with an instruction, with examples, with passages of documents."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from metier.advise.task import HIDDEN, Known, Question
from metier.core.errors import DataError
from metier.core.types import ChatRow, Message
from metier.score import calls, structured
from metier.score.classify import labels_of
from metier.score.kinds import Kind
from metier.text.asking import prompt
from metier.text.render import Renderer

_MOST_SHOWN = 60
_MOST_FIELD_VALUES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What stands before a question: an instruction, places of training rows as examples (nearest first), passages."""

    instruction: str | None = None
    examples: tuple[int, ...] = ()
    passages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Posed:
    """The token ids of a prompt, and how many examples and passages had to go because it was too long."""

    ids: list[int]
    cut: int = 0


def pose(question: Question, recipe: Recipe, known: Known, renderer: Renderer, room: int) -> Posed | str:
    """Render a question for a model; what is added is left out piece by piece until the prompt fits.

    Args:
        question: without its answer.
        recipe: what is added; the farthest examples and the last passages go first.
        known: the training rows that examples are taken from.
        renderer: of the base.
        room: tokens that the answer needs.

    Returns:
        The prompt, or why there is none.
    """
    examples, passages = list(recipe.examples), list(recipe.passages)
    while True:
        row = _row(question, recipe.instruction, [_pair(known, place) for place in examples], passages)
        try:
            ids = prompt(row, renderer).ids
        except DataError as error:
            return str(error)
        if len(ids) + room <= renderer.limit:
            return Posed(ids=ids, cut=len(recipe.examples) + len(recipe.passages) - len(examples) - len(passages))
        if len(passages) > 1 or (passages and not examples):
            passages.pop()
        elif examples:
            examples.pop()
        else:
            return f"{question.source}: {len(ids):,} tokens and an answer of {room:,} exceed {renderer.limit:,}"


def instructions(kind: Kind, known: Known, own: Sequence[str]) -> list[str]:
    """Return the instructions to try: the user's, then ours for this kind of answer, made from training rows alone."""
    makers = {"label": _for_labels, "calls": _for_calls, "json": _for_objects, "short": _for_short, "text": _for_text}
    return list(dict.fromkeys([*own, *makers[kind](known)]))


def fixed_examples(kind: Kind, known: Known, count: int) -> tuple[int, ...]:
    """Return the places of training rows that serve as examples for every question: of labels, one each while it goes.

    The rest is drawn evenly from all rows.
    """
    places: list[int] = []
    if kind == "label":
        first = {answer: place for place, answer in reversed(list(enumerate(known.answers)))}
        places = sorted(first.values())
    spread = [place * len(known.answers) // max(1, count) for place in range(count)]
    return tuple(dict.fromkeys([*places, *spread]))[:count]


def _row(
    question: Question, instruction: str | None, examples: Sequence[tuple[Message, Message]], passages: Sequence[str]
) -> ChatRow:
    """Put a prompt together: system turn, examples, the question; the answer is hidden."""
    own = [message for message in question.messages if message.role == "system"]
    rest = [message for message in question.messages if message.role != "system"]
    parts = [message.content for message in own] + ([instruction] if instruction else [])
    if passages:
        parts.append("Passages that may help:\n\n" + "\n\n".join(passages))
    system = [Message(role="system", content="\n\n".join(parts))] if parts else []
    turns = [turn for pair in reversed(examples) for turn in pair]  # the nearest stands next to the question
    return ChatRow(
        id=question.row_id,
        source=question.source,
        messages=(*system, *turns, *rest, Message(role="assistant", content=HIDDEN)),
        tools=question.tools,  # type: ignore[arg-type]
    )


def _pair(known: Known, place: int) -> tuple[Message, Message]:
    question = Message(role="user", content=known.questions[place].text)
    return question, Message(role="assistant", content=known.answers[place])


def _for_labels(known: Known) -> list[str]:
    labels = labels_of(known.answers)
    listed = ", ".join(labels[:_MOST_SHOWN])
    lines = "\n".join(labels[:_MOST_SHOWN])
    return [
        f"Answer with exactly one of these and nothing else: {listed}.",
        f"Choose the category of the message. The categories are:\n{lines}\nWrite the category only, as it stands.",
    ]


def _for_calls(known: Known) -> list[str]:
    names = dict.fromkeys(call.name for answer in known.answers for call in calls.parse(answer))
    form = 'one JSON object a call, {"name": the function, "arguments": {its arguments}}'
    plain = f"Call the function that does what is asked: {form}, and nothing else."
    return [plain, f"{plain} The functions: {', '.join(list(names)[:_MOST_SHOWN])}."] if names else [plain]


def _for_objects(known: Known) -> list[str]:
    values: dict[str, list[str]] = {}
    for answer in known.answers:
        found = structured.parse(answer)
        for name, value in found.items() if isinstance(found, dict) else ():
            text = json.dumps(value, ensure_ascii=False)
            if text not in values.setdefault(str(name), []):
                values[str(name)].append(text)
    names = ", ".join(values)
    closed = [
        f"{name}: one of {', '.join(sorted(seen))}" if len(seen) <= _MOST_FIELD_VALUES else f"{name}: as in the message"
        for name, seen in values.items()
    ]
    plain = f"Answer with one JSON object and nothing else. Its fields: {names}."
    return [plain, plain + "\n" + "\n".join(closed)] if values else [plain]


def _for_short(known: Known) -> list[str]:
    longest = max(len(answer.split()) for answer in known.answers)
    return [
        "Answer with the answer alone: no sentence around it, no explanation.",
        f"Give the answer in at most {longest} words and write nothing else.",
    ]


def _for_text(known: Known) -> list[str]:
    words = sorted(len(answer.split()) for answer in known.answers)
    return [
        f"Answer in about {words[len(words) // 2]} words.",
        "Answer the message directly. Do not repeat it, do not add anything about yourself.",
    ]
