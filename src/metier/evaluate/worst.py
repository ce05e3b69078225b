"""The rows that the tuned model does worst, each with the reason why it stands there; imports no torch."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from metier.evaluate.metrics import Side
from metier.evaluate.questions import Question
from metier.evaluate.task import Task
from metier.score import calls, structured
from metier.score.exact import exact_match
from metier.score.overlap import word_f1

_FIELDS_NAMED = 4


def worst(questions: Sequence[Question], base: Side, tuned: Side, *, task: Task, most: int) -> list[dict[str, Any]]:
    """Return the places of the worst rows and what is wrong with each, worst first.

    Wrong answers come first, those that the base had right before others; then right ones, by how surprising the right
    answer was to the tuned model (nats per token).

    Returns:
        Up to `most` of {"row": place among the questions, "row_id", "note"}.
    """
    ranks = []
    for place, question in enumerate(questions):
        surprise = float(tuned.nats[place] / tuned.tokens[place]) if tuned.tokens[place] else 0.0
        good = [_goodness(question, side.outputs[place], task) for side in (base, tuned)]
        ranks.append(((good[1], -good[0], -surprise, place), place))
    chosen = [place for _, place in sorted(ranks)[:most]]
    return [
        {"row": place, "row_id": questions[place].row_id, "note": _note(questions[place], base, tuned, place, task)}
        for place in chosen
    ]


def _goodness(question: Question, output: str | None, task: Task) -> float:
    """Return how right an answer is, in [0, 1]; 1 where nothing was asked."""
    if question.reference is None:
        return 1.0
    said = output or ""
    if exact_match(said, question.reference):
        return 1.0
    if task == "text":
        return min(word_f1(said, question.reference), 0.99)
    if task == "calls":
        match = calls.compare(said, question.reference)
        hits, alarms, misses = (sum(pair) for pair in zip(match.names, match.arguments, strict=True))
        return 1.0 if match.same else min(2 * hits / max(1, 2 * hits + alarms + misses), 0.99)
    if structured.parse(question.reference) is None:
        return 0.0
    match = structured.compare(said, question.reference)
    return min(len(match.right) / max(1, len(match.right) + len(match.wrong)), 0.99)


def _note(question: Question, base: Side, tuned: Side, place: int, task: Task) -> str:
    """Say why a row is among the worst."""
    parts = []
    said = tuned.outputs[place]
    if question.reference is not None:
        right = _goodness(question, said, task) == 1.0
        if right:
            parts.append("right, but among the least sure")
        elif _goodness(question, base.outputs[place], task) == 1.0:
            parts.append(f"{base.name} had this right")
        if not right and task == "calls":
            parts += _calls(said or "", question.reference)
        elif not right and task != "text":
            parts += _fields(said or "", question.reference)
        if not tuned.ended[place]:
            parts.append("cut off at the limit")
    if tuned.tokens[place]:
        losses = [side.nats[place] / side.tokens[place] for side in (base, tuned) if side.tokens[place]]
        parts.append("loss " + " to ".join(f"{loss:.2f}" for loss in losses) + " nats per token")
    return "; ".join(parts)


def _calls(output: str, reference: str) -> list[str]:
    """Name what is wrong with the calls of an answer."""
    said, wanted = calls.parse(output), calls.parse(reference)
    names = [", ".join(call.name for call in side) or "nothing" for side in (said, wanted)]
    if names[0] != names[1]:
        return [f"calls {names[0]} instead of {names[1]}"]
    differing = [
        f"{call.name}: {name} = {_value(call.arguments, name)} instead of {_value(right.arguments, name)}"
        for call, right in zip(said, wanted, strict=True)
        for name in sorted(call.arguments.keys() | right.arguments.keys())
        if _value(call.arguments, name) != _value(right.arguments, name)
    ]
    return _at_most(differing)


def _value(arguments: Mapping[str, Any], name: str) -> str:
    return json.dumps(arguments[name], ensure_ascii=False) if name in arguments else "nothing"


def _at_most(told: list[str]) -> list[str]:
    left_out = len(told) - _FIELDS_NAMED
    return told[:_FIELDS_NAMED] + ([f"and {left_out} more"] if left_out > 0 else [])


def _fields(output: str, reference: str) -> list[str]:
    """Name the wrong fields of a structured answer with what was said and what was wanted."""
    wanted = structured.leaves(structured.parse(reference))
    if wanted is None:
        return []
    found = structured.leaves(structured.parse(output))
    if found is None:
        return ["no JSON"]
    match = structured.compare(output, reference)
    told = [
        f"{path}: {structured.value_at(found, path) or 'nothing'} instead of {structured.value_at(wanted, path)}"
        for path in match.wrong
    ]
    told += [f"{path}: invented" for path in match.extra]
    return _at_most(told)
