"""Answers drawn from a model as it is, with their rewards."""

from collections.abc import Sequence as Many
from dataclasses import dataclass

import numpy as np
import torch

from metier.core.progress import Silent
from metier.engine.request import Sampling
from metier.engine.several import Drawing, Written, several
from metier.score.graders.settings import Grader
from metier.score.graders.values import Bench, rewards
from metier.text.tokenizer import Tokenizer
from metier.train.quiz import judging
from metier.train.reinforcing.questions import Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """An answer to a question; `reward` in [0, 1], or in words why there is none."""

    question: Question
    written: Written
    text: str
    reward: float | str

    @property
    def tokens(self) -> int:
        """Tokens that were drawn, with the stop token."""
        return len(self.written.ids) + (self.written.stop is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How answers are drawn and graded: at temperature 1 and uncut, so that they are the model's own distribution."""

    tokenizer: Tokenizer
    grader: Grader
    bench: Bench
    most_tokens: int

    def groups(
        self, model: torch.nn.Module, asked: Many[Question], *, answers: int, seeds: Many[int]
    ) -> list[list[Graded]]:
        """Draw and grade some answers to each question; every draw is a function of the question's seed alone.

        Raises:
            NonFiniteError: the model's logits are not numbers.
            SettingsError: the grader cannot be used.
        """
        how = Drawing(
            sampling=Sampling(temperature=1.0), most_tokens=self.most_tokens,
            stop_ids=tuple(self.tokenizer.stop_ids), seeds=tuple(seeds),
        )  # fmt: skip
        with judging(model):
            drawn = several(model, [each.ids for each in asked], tries=answers, how=how, progress=Silent())
        flat = [(question, each) for question, group in zip(asked, drawn, strict=True) for each in group]
        texts = [self.tokenizer.said(each.ids) for _, each in flat]
        shown = [question.shown(text) for (question, _), text in zip(flat, texts, strict=True)]
        values = rewards(self.grader, shown, self.bench)
        graded = [
            Graded(question=question, written=each, text=text, reward=value)
            for (question, each), text, value in zip(flat, texts, values, strict=True)
        ]
        return [graded[start : start + answers] for start in range(0, len(graded), answers)]


def figures(groups: Many[Many[Graded]]) -> dict[str, float]:
    """Return what is told of drawn answers; without rewards where not one could be graded.

    `reward` and its standard deviation `reward_spread`; `answer_tokens` in the mean; the shares of `ended` answers and
    of `even_groups`, whose rewards do not differ; how many answers were `ungraded`.
    """
    flat = [each for group in groups for each in group]
    values = np.array([each.reward for each in flat if not isinstance(each.reward, str)], np.float64)
    told = {
        "answer_tokens": float(np.mean([each.tokens for each in flat])),
        "ended": float(np.mean([each.written.stop is not None for each in flat])),
        "even_groups": float(np.mean([len({each.reward for each in usable(group)}) < 2 for group in groups])),
        "ungraded": float(len(flat) - len(values)),
    }
    if not len(values):
        return told
    return {"reward": float(values.mean()), "reward_spread": float(values.std())} | told


def usable(group: Many[Graded]) -> list[Graded]:
    """Return the answers that could be graded."""
    return [each for each in group if not isinstance(each.reward, str)]
