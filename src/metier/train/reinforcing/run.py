"""A run of the loop that learns from rewards, and what its model is asked when it is done."""

from collections.abc import Sequence as Many
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from metier.core.progress import Silent
from metier.core.types import Sequence
from metier.engine.request import Sampling
from metier.engine.several import Drawing, several
from metier.score.graders.openai import LabelModel, Multi, ScoreModel
from metier.score.graders.settings import Grader
from metier.score.graders.values import Bench
from metier.train.fit import Fit
from metier.train.material import Material
from metier.train.quiz import judging
from metier.train.reinforcing.answers import Asking
from metier.train.reinforcing.questions import Question
from metier.train.reinforcing.source import Rewarded

_CERTIFIED = 16
"""Prompts whose answers say what the trained model is, for the certificate that what is served is the same."""


def rewarded(fit: Fit, material: Material, *, folder: Path) -> Fit:
    """Return a run of the loop whose sequences are the model's own graded answers.

    Args:
        fit: the run.
        material: what is asked; at most `train.check.rows` held-out prompts, evenly spread, are asked at checks.
        folder: what paths of graders are relative to.
    """
    assert material.questions is not None
    settings, train = material.view.objective.reinforce, fit.settings
    assert settings.grader is not None  # required where the objective was chosen
    asked, held_out = (part.asked for part in material.questions)
    asking = Asking(
        tokenizer=material.renderer.tokenizer,
        grader=settings.grader,
        bench=Bench(folder=folder, judge=settings.judge, progress=Silent()),
        most_tokens=settings.max_new_tokens,
    )
    maker = Rewarded(
        settings=settings,
        asking=asking,
        train=asked,
        held_out=tuple(_spread(held_out, train.check.rows)),
        seed=fit.seed,
        keeps_even=bool(train.regularise.kl_to_base),
        repeats=not _asks_a_judge(settings.grader),
    )
    guard = train.guard.model_copy(update={"threshold": None})  # told among the run's choices
    return replace(fit, maker=maker, validation=[], settings=train.model_copy(update={"guard": guard}))


@torch.no_grad()
def certified(model: torch.nn.Module, material: Material) -> list[Sequence]:
    """Return what a trained model says, greedily, to some prompts: every token of its answers weighs 1."""
    assert material.questions is not None
    asked = _spread(material.questions[1].asked or material.questions[0].asked, _CERTIFIED)
    tokenizer = material.renderer.tokenizer
    how = Drawing(
        sampling=Sampling(), most_tokens=material.view.objective.reinforce.max_new_tokens,
        stop_ids=tuple(tokenizer.stop_ids),
    )  # fmt: skip
    with judging(model):
        said = several(model, [each.ids for each in asked], tries=1, how=how, progress=Silent())
    made = []
    for question, (answer,) in zip(asked, said, strict=True):
        ids = [*question.ids, *answer.ids, *([] if answer.stop is None else [answer.stop])]
        weights = np.ones(len(ids), np.float32)
        weights[: len(question.ids)] = 0
        made.append(
            Sequence(ids=np.array(ids, np.int32), weights=weights, row_id=question.row_id, source=question.source)
        )
    return made


def _spread(asked: Many[Question], most: int) -> list[Question]:
    """Return at most so many questions, evenly spread."""
    count = min(most, len(asked))
    return [asked[place * len(asked) // count] for place in range(count)]


def _asks_a_judge(grader: Grader) -> bool:
    """Tell whether another model gives rewards, which may judge the same answer otherwise the next time."""
    parts = grader.graders.values() if isinstance(grader, Multi) else (grader,)
    return any(isinstance(part, ScoreModel | LabelModel) for part in parts)
