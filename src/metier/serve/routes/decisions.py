"""POST /v1/decisions: yes or no, one of several, how much; with probabilities that add up to one.

A model with a head answers with the head's own probabilities. One that writes is asked how likely each answer would
be as its next turn, end of turn included, and the answers on offer share the whole. Where `metier calibrate` has
fitted how sure the model should be of these answers, that is taken into account, and `calibrated` says so.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response

from metier.engine.request import End
from metier.engine.request import Request as Asked
from metier.score.temperature import shares
from metier.serve import deciding
from metier.serve.asking import asking_of, conversation
from metier.serve.calibrated import Calibration
from metier.serve.desk import Desk, desk_of
from metier.serve.generation import Generation, beside, check_end
from metier.serve.pool import Open
from metier.serve.prompts import chat_ids, deadline
from metier.serve.refusal import Refusal
from metier.serve.routes.streams import as_json, while_heard
from metier.serve.wire.decisions import ChoiceQuestion, DecisionBody, Predicate, ScoreQuestion, said
from metier.serve.wire.inference import ChatMessage
from metier.text import targets
from metier.text.targets import Targets

ROUTER = APIRouter()

Question = Predicate | ChoiceQuestion | ScoreQuestion
_YES, _NO = "yes", "no"
_MOST_TOKENS = 1 << 22
"""Of the prompts of one request, an answer on offer each: they are written out before the engine is asked."""


@ROUTER.post("/decisions", tags=["infer"])
async def decisions(body: DecisionBody, request: Request) -> Response:
    """Answer typed questions about an input."""
    desk = desk_of(request)
    chosen = desk.choose(body.model, conversation(body.safety_identifier, lambda: _beginning(body)))
    asking = asking_of(request, "decisions", "decision", body.safety_identifier)
    generation = Generation(desk, asking, chosen)
    generation.ended = beside(desk, asking, chosen, lambda other: _decided(desk, body, other))
    answers = await while_heard(request, _decided(desk, body, generation))
    usage = {"input_tokens": generation.prompt_tokens, "output_tokens": 0, "total_tokens": generation.prompt_tokens}
    return as_json({"id": asking.id, "object": "decision", "model": body.model, "answers": answers, "usage": usage})


def _beginning(body: DecisionBody) -> list[Any]:
    """Return what all requests of a conversation begin with."""
    return [body.input] if isinstance(body.input, str) else [turn.model_dump() for turn in body.input[:1]]


def _options(question: Question) -> list[str]:
    """Return the answers on offer, as a model would write them."""
    if isinstance(question, Predicate):
        return [_YES, _NO]
    if isinstance(question, ChoiceQuestion):
        return [said(choice.value) for choice in question.choices]
    return [level.label for level in question.levels]


def answer_of(question: Question, shares: Sequence[float]) -> dict[str, Any]:
    """Write probabilities as the API does."""
    if isinstance(question, Predicate):
        answer: dict[str, Any] = {"type": "predicate", "probability": shares[0]}
    elif isinstance(question, ChoiceQuestion):
        best = int(np.argmax(shares))
        values = [choice.value for choice in question.choices]
        listed = [{"value": value, "probability": share} for value, share in zip(values, shares, strict=True)]
        answer = {"type": "choice", "choice": values[best], "confidence": shares[best], "probabilities": listed}
    else:
        listed = [
            {"label": level.label, "value": number, "probability": share}
            for number, (level, share) in enumerate(zip(question.levels, shares, strict=True))
        ]
        mean = sum(number * share for number, share in enumerate(shares))
        answer = {"type": "score", "score": mean, "confidence": max(shares), "probabilities": listed}
    return answer | ({"name": question.name} if question.name is not None else {})


def decided_of(answer: Mapping[str, Any]) -> str:
    """Return what an answer comes down to: yes or no, the value chosen, or the likeliest level's label."""
    if answer["type"] == "predicate":
        return said(answer["probability"] >= 0.5)
    if answer["type"] == "choice":
        return said(answer["choice"])
    return str(max(answer["probabilities"], key=itemgetter("probability"))["label"])


def _messages(body: DecisionBody, instructions: str) -> list[ChatMessage]:
    """Return the conversation that is decided about; instructions stand below the input."""
    if isinstance(body.input, str):
        turns = [ChatMessage(role="user", content=body.input)]
    else:
        turns = [
            ChatMessage(
                role=turn.role,
                content=turn.content if isinstance(turn.content, str) else "".join(part.text for part in turn.content),
            )
            for turn in body.input
        ]
    if not instructions.strip():
        return turns
    last = turns[-1] if turns else None
    if last is not None and last.role == "user":
        return [*turns[:-1], ChatMessage(role="user", content=f"{last.content}\n\n{instructions}")]
    return [*turns, ChatMessage(role="user", content=instructions)]


async def _decided(desk: Desk, body: DecisionBody, generation: Generation) -> list[dict[str, Any]]:
    answer = _headed if generation.served.kind == "head" else _written
    return await answer(desk, body, generation)


async def _written(desk: Desk, body: DecisionBody, generation: Generation) -> list[dict[str, Any]]:
    sizes: list[int] = []
    sums: dict[int, float] = {}
    async with generation.opened() as model:
        asked = await asyncio.to_thread(_asked, desk, body, model, sizes=sizes, owner=generation.owner)
        async with aclosing(generation.answers(model, asked)) as events:
            async for number, event in events:
                if isinstance(event, End):
                    check_end(event)
                    sums[number] = sum(chance.logprob for chance in event.prompt)
        answers = _shared(body, sizes, sums, _calibration(desk, generation))
        generation.decided([decided_of(answer) for answer in answers])
    return answers


def _shared(
    body: DecisionBody, sizes: Sequence[int], sums: Mapping[int, float], known: Calibration | None
) -> list[dict[str, Any]]:
    """Let the answers on offer to each question share the whole, by how likely the model would write each."""
    answers, place = [], 0
    for question, size in zip(body.questions, sizes, strict=True):
        logs = np.array([sums[number] for number in range(place, place + size)])
        fitted = known if known is not None and known.covers(_options(question)) else None
        told = shares(logs, fitted.temperature if fitted is not None else 1.0)
        answers.append(answer_of(question, told.tolist()) | {"calibrated": fitted is not None})
        place += size
    return answers


def _calibration(desk: Desk, generation: Generation) -> Calibration | None:
    served = generation.served
    return desk.calibrations.of(served.digest, served.folder.parent if served.folder is not None else None)


def _asked(desk: Desk, body: DecisionBody, model: Open, *, sizes: list[int], owner: str) -> list[Asked]:
    renderer, limits = model.text.renderer, desk.settings.limits
    made: list[Asked] = []
    until = deadline(limits.deadline_seconds)
    offered = [_options(question) for question in body.questions]
    count, most = sum(map(len, offered)), limits.together + limits.waiting
    if count > most:
        raise Refusal(400, f"questions: {count:,} answers on offer; wanted: at most {most:,}", param="questions")
    for question, options in zip(body.questions, offered, strict=True):
        prompt = chat_ids(_messages(body, question.guidance), (), renderer)
        if len(set(options)) < len(options):
            raise Refusal(400, "questions: two answers on offer are the same", param="questions")
        if len(prompt) * count > _MOST_TOKENS:
            found = f"{len(prompt):,} tokens of input for each of {count:,} answers on offer"
            raise Refusal(400, f"{found}; wanted: at most {_MOST_TOKENS:,} in all", param="input")
        sizes.append(len(options))
        made += deciding.requests(prompt, options, renderer, adapter=model.adapter, deadline=until, owner=owner)
    return made


async def _headed(desk: Desk, body: DecisionBody, generation: Generation) -> list[dict[str, Any]]:
    """Let a head of classes answer. Its labels are what may be asked for; it reads no instructions."""
    async with generation.opened() as model:
        for question in body.questions:
            _check_unread(question)
        head = targets.read(model.served.tokenizer_folder)
        assert head is not None
        prompt = await asyncio.to_thread(chat_ids, _messages(body, ""), (), model.text.renderer)
        generation.reserve(len(prompt))
        (values,) = await generation.computed(model, [partial(deciding.head_values, head=head, ids=prompt)])
        known = _calibration(desk, generation) if head.kind == "classify" else None
        values = known.of(values) if known is not None else values
        facts = {"calibrated": known is not None}
        answers = [answer_of(question, _of_head(question, head, values)) | facts for question in body.questions]
        generation.decided([decided_of(answer) for answer in answers])
    return answers


def _check_unread(question: Question) -> None:
    """Refuse what a head would have to ignore: it reads the input alone."""
    if isinstance(question, Predicate) and not question.name:  # then its instructions are the label
        return
    if question.guidance.strip():
        raise Refusal(
            400, "questions: a head of classes reads no instructions and no descriptions; wanted: none, and its labels "
            "as 'choices', as a predicate's 'name', or as its 'instructions' where it has no name", param="questions",
        )  # fmt: skip


def _of_head(question: Question, head: Targets, values: np.ndarray) -> list[float]:
    """Return the shares of the answers on offer among a head's labels."""
    if head.kind == "regress":
        raise Refusal(400, "questions: this model says a number, which is no decision", param="questions")
    if isinstance(question, Predicate):
        share = float(values[_place(question.name or question.instructions, head)])
        return [share, 1 - share]
    chosen = np.array([values[_place(option, head)] for option in _options(question)])
    return (chosen / chosen.sum()).tolist()


def _place(label: str, head: Targets) -> int:
    if label not in head.labels:
        raise Refusal(
            400, f"questions: {label[:80]!r} is no label of this model; wanted: {', '.join(head.labels[:20])}",
            param="questions",
        )  # fmt: skip
    return head.labels.index(label)
