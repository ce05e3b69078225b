"""The hop of a head to our server: what it decides over HTTP beside what the trained head said, label by label."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from metier.core.errors import RunError
from metier.core.types import Row
from metier.promote.distance import compared
from metier.promote.evidence import Evidence
from metier.promote.far.own import Own
from metier.promote.hops import Hop, Limits, weighed
from metier.promote.wording import Wording
from metier.text import targets
from metier.text.asking import question_of
from metier.text.render import Renderer, open_renderer
from metier.text.rows import load_split
from metier.text.targets import Targets
from metier.text.tasks import ASKING

_NAME = "served"
_TINY = float(np.finfo(np.float64).tiny)
_REFUSES = "says a number"


def judge_head(evidence: Evidence, far: Own, words: Wording, limits: Limits) -> Hop:
    """Ask for decisions about the reference rows, and compare their probabilities with the recorded ones.

    The labels are those of the training rows in their own order, not those of the file beside the head: so a file
    whose labels changed places is found.

    Args:
        evidence: the run and the trained head's answers.
        far: the running server.
        words: how the reference rows were rendered.
        limits: beyond them the hop is broken.

    Raises:
        RunError: the server does not answer.
    """
    head = targets.read(evidence.run / "model")
    assert head is not None
    renderer = open_renderer(evidence.run / "model", words.settings)
    talks = dict(_talks(evidence, words, renderer))
    if not talks:
        return Hop(name=_NAME, ok=False, detail="no reference row is a question without tools: nothing can be compared")
    if head.kind == "regress":
        return _of_number(far, next(iter(talks.values())), head)
    true = targets.fit(load_split(words.snapshot, "train"), head.kind)
    answers: dict[int, torch.Tensor] = {}
    wrong = ""
    for index, messages in talks.items():
        shares, read = far.decide(messages, true.labels)
        answers[index] = _as_recorded(np.array(shares), true)
        trained = len(evidence.known.prompt_ids[index] or ())
        if read != trained and not wrong:
            source = evidence.known.sequences[index].source
            wrong = f"{source}: its prompt is {read} tokens there, {trained} in training"
    found = compared(answers.items(), evidence.known)
    return weighed(_NAME, found, evidence.known, limits=limits, from_base=evidence.from_base, more=wrong)


def _talks(evidence: Evidence, words: Wording, renderer: Renderer) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Yield (place, messages) of the reference rows that are questions without tools."""
    for index, sequence in enumerate(evidence.known.sequences):
        row: Row = words.rows[sequence.row_id]
        if evidence.known.prompt_ids[index] is None or not isinstance(row, ASKING):
            continue
        talk, last = question_of(row, renderer)
        turns = talk.messages[:last]
        if not talk.tools and all(turn["role"] != "tool" and "tool_calls" not in turn for turn in turns):
            yield index, [{"role": turn["role"], "content": turn["content"]} for turn in turns]


def _as_recorded(shares: np.ndarray, head: Targets) -> torch.Tensor:
    """Return log-probabilities as training recorded them: over the classes [1, K], or of each yes and no [K, 2]."""
    pairs = shares[None, :] if head.kind == "classify" else np.stack([shares, 1 - shares], axis=1)
    return torch.from_numpy(np.log(np.maximum(pairs, _TINY)))


def _of_number(far: Own, messages: list[dict[str, Any]], head: Targets) -> Hop:
    """See that a number is not passed off as a decision: the server refuses, which is all it can rightly do."""
    try:
        far.decide(messages, head.labels)
    except RunError as error:
        refused = _REFUSES in str(error)
        detail = "it refuses to decide, as a number is no decision" if refused else str(error)
        return Hop(name=_NAME, ok=refused, detail=detail)
    return Hop(name=_NAME, ok=False, detail="it decides by a head whose answer is a number")
