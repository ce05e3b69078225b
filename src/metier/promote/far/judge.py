"""One hop to a model behind HTTP: its distance, its prompts, its answers, and the tokens at which it stops."""

import dataclasses
from collections.abc import Sequence

from metier.promote.distance import Distance
from metier.promote.far.answers import Far, Said, distance
from metier.promote.far.sample import Conversation
from metier.promote.hops import Hop, Limits, weighed
from metier.promote.reference import Reference
from metier.score.exact import exact_match

_ENOUGH_FOR_A_TIE = 4
"""Known answers from which on one may differ: two tokens as likely as each other."""


def judge_far(
    name: str,
    far: Far,
    reference: Reference,
    talks: Sequence[Conversation],
    *,
    limits: Limits,
    from_base: Distance | None,
) -> Hop:
    """Ask a model behind HTTP what the trained one was asked.

    Args:
        name: of the hop.
        far: the model.
        reference: the trained model's answers.
        talks: conversations to be answered whole.
        limits: beyond them the hop is broken.
        from_base: how far the trained model is from its base.

    Raises:
        RunError: the server does not answer.
    """
    said = [far.converse(talk.messages, talk.most_tokens) for talk in talks]
    found = dataclasses.replace(
        distance(far, reference),
        right=_share([exact_match(each.text, talk.reference) for talk, each in zip(talks, said, strict=True)]),
    )
    wrong = [_prompts(talks, said), _stops(far, reference), _answers(talks, said, limits)]
    more = "; ".join(words for words in wrong if words)
    compared = dataclasses.replace(found, right=None)  # of other rows than the reference counts
    hop = weighed(name, compared, reference, limits=limits, from_base=from_base, more=more)
    detail = hop.detail if not hop.ok else f"{hop.detail}; {len(talks)} prompts and the stop tokens equal"
    return dataclasses.replace(hop, right=found.right, stops=found.stops, detail=detail)


def _share(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None


def _prompts(talks: Sequence[Conversation], said: Sequence[Said]) -> str:
    """Say which conversation becomes other tokens there: the template or the first token is not the trained one."""
    for talk, each in zip(talks, said, strict=True):
        if isinstance(each.prompt, int) and each.prompt != len(talk.prompt):
            return f"{talk.source}: its prompt is {each.prompt} tokens there, {len(talk.prompt)} in training"
        if not isinstance(each.prompt, int) and each.prompt != talk.prompt:
            pairs = list(zip(each.prompt, talk.prompt, strict=False))
            place = next((n for n, (there, here) in enumerate(pairs) if there != here), len(pairs))
            there, here = list(each.prompt[place : place + 3]), list(talk.prompt[place : place + 3])
            return f"{talk.source}: its prompt is other tokens there from place {place}: {there}, trained {here}"
    return ""


def _stops(far: Far, reference: Reference) -> str:
    """Say which stop token does not end an answer there, or whether one that is none does."""
    start = next((ids for ids in reference.prompt_ids if ids), None)
    if start is None:
        start = tuple(reference.sequences[0].ids[:1].tolist())
    idle = [token for token in reference.stop_ids if not far.stops_at(start, token)]
    if idle:
        return f"stop token {idle[0]} does not end an answer there"
    words = {int(token) for row in range(len(reference.sequences)) for token in reference.labels(row)}
    word = min(words - set(reference.stop_ids), default=None)
    if word is not None and far.stops_at(start, word):
        return f"token {word}, which is an ordinary one, ends an answer there"
    return ""


def _answers(talks: Sequence[Conversation], said: Sequence[Said], limits: Limits) -> str:
    """Say where an answer differs that the trained model is known to give."""
    known = [(talk, each) for talk, each in zip(talks, said, strict=True) if talk.known]
    wrong = [(talk, each) for talk, each in known if not each.stopped or not exact_match(each.text, talk.reference)]
    may_differ = max(int(len(known) >= _ENOUGH_FOR_A_TIE), int((1 - limits.least_agreement) * len(known)))
    if len(wrong) <= may_differ:
        return ""
    talk, each = wrong[0]
    ending = "" if each.stopped else ", and does not stop"
    return (
        f"{len(wrong)} of {len(known)} answers that the trained model is known to give are others, such as"
        f" {each.text[:60]!r}{ending} instead of {talk.reference[:60]!r} ({talk.source})"
    )
