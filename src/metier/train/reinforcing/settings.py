"""How a model learns from rewards; imports no torch."""

from typing import Literal

from pydantic import Field

from metier.core.settings import Settings
from metier.score.graders.settings import Grader, JudgeSettings


class ReinforceSettings(Settings):
    """Learning from rewards: what gives them, how many answers are drawn, and what one is compared with."""

    grader: Grader | None = None
    """What gives an answer its reward, a number from 0 to 1: any grader of `evaluate.graders` that looks at one answer,
    `multi` for several together. null: none, which the objective `reinforce` refuses."""

    judge: JudgeSettings = JudgeSettings()
    """Where the judge is that `score_model` and `label_model` ask."""

    advantage: Literal["grpo", "dr-grpo", "rloo"] = "grpo"
    """What an answer counts. `grpo`: its reward less the mean of its group, over their standard deviation, spread over
    its tokens. `dr-grpo`: without that division, and every token alike, so that neither easy prompts nor short answers
    count more. `rloo`: its reward less the mean of the others', whole answers alike."""

    answers: int = Field(8, ge=2)
    """Answers that are drawn to each prompt of a step: its group."""

    max_new_tokens: int = Field(256, ge=1)
    """Longest answer in tokens; one that is cut off there is graded as it stands."""

    held_out_answers: int = Field(1, ge=1)
    """Answers that are drawn to each held-out prompt at a check; more make their mean reward less noisy."""
