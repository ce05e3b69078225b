"""Where the sequences of a step come from when a model learns from rewards: from the model itself."""

from collections.abc import Sequence as Many
from dataclasses import dataclass

import numpy as np
import torch

from metier.core import seeds
from metier.core.errors import DataError
from metier.core.types import Sequence
from metier.train.making import Made
from metier.train.reinforcing.advantages import advantages, token_weight
from metier.train.reinforcing.answers import Asking, Graded, figures, usable
from metier.train.reinforcing.questions import Question
from metier.train.reinforcing.settings import ReinforceSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewarded:
    """Makes a step's sequences of graded answers: label weights c, targets (A, answers stood for).

    `held_out` are the questions of checks. `keeps_even`: answers that nothing can be learnt from by their reward are
    kept, for a pull to the base. `repeats`: whether the same answers are always graded alike.
    """

    settings: ReinforceSettings
    asking: Asking
    train: tuple[Question, ...]
    held_out: tuple[Question, ...]
    seed: int
    keeps_even: bool
    repeats: bool

    def make(self, model: torch.nn.Module, step: int, rows: Many[int]) -> Made:
        """Draw a group of answers to each prompt, grade them, and say what each counts.

        Raises:
            DataError: not one answer could be graded.
        """
        asked = [self.train[row] for row in rows]
        keys = [seeds.key("reinforce", self.seed, step, row) for row in rows]
        groups = self.asking.groups(model, asked, answers=self.settings.answers, seeds=keys)
        _require_rewards(groups)
        learnt = [each for group in groups for each in self._learnt(usable(group))]
        graded = sum(each.question.weight for group in groups for each in usable(group))
        share = graded / sum(answer.question.weight for answer, _ in learnt) if learnt else 0.0
        idle = "" if learnt else "nothing to learn: no answer is better than another to its prompt"
        return Made(sequences=[self._sequence(*each, share) for each in learnt], told=figures(groups), idle=idle)

    def judge(self, model: torch.nn.Module) -> dict[str, float]:
        """Return the mean reward of held-out prompts, and what else is told of their answers.

        The same random numbers at every check: what differs is the model.

        Raises:
            DataError: not one answer could be graded.
        """
        keys = [seeds.key("held out", self.seed, place) for place in range(len(self.held_out))]
        groups = self.asking.groups(model, self.held_out, answers=self.settings.held_out_answers, seeds=keys)
        _require_rewards(groups)
        return {name: value for name, value in figures(groups).items() if name != "even_groups"}

    def _learnt(self, group: Many[Graded]) -> list[tuple[Graded, float]]:
        """Return the answers of a group that something is learnt from, with their advantages."""
        rewards = np.array([each.reward for each in group], np.float64)
        worth = advantages(rewards, self.settings.advantage)
        return [(each, float(value)) for each, value in zip(group, worth, strict=True) if value or self.keeps_even]

    def _sequence(self, answer: Graded, advantage: float, share: float) -> Sequence:
        """Return the very tokens that were drawn behind their prompt, with the stop token where there is one.

        It stands for `share` answers like it: a step is divided by all that were graded, not by those that are learnt.
        """
        question, written = answer.question, answer.written
        said = [*written.ids, *([] if written.stop is None else [written.stop])]
        weights = np.zeros(len(question.ids) + len(said), np.float32)
        each = token_weight(self.settings.advantage, tokens=len(said), most_tokens=self.settings.max_new_tokens)
        weights[len(question.ids) :] = question.weight * each
        target = np.array([advantage, question.weight * share], np.float32)
        return Sequence(
            ids=np.array([*question.ids, *said], np.int32), weights=weights, row_id=question.row_id,
            source=question.source, target=target,
        )  # fmt: skip


def _require_rewards(groups: Many[Many[Graded]]) -> None:
    answers = [each for group in groups for each in group]
    if answers and not any(usable(group) for group in groups):
        first = answers[0]
        raise DataError(
            f"no reward for any of {len(answers)} answers (first: {first.question.source}: {first.reward})",
            "a grader that works", "try it on rows of yours: evaluate.graders takes the same",
        )  # fmt: skip
