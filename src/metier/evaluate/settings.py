"""How base and tuned model are compared; imports no torch."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from metier.core.settings import Settings
from metier.evaluate.production.settings import ProductionSettings
from metier.evaluate.suites.settings import SuiteSettings
from metier.score.graders.settings import Grader, JudgeSettings


class ResamplingSettings(Settings):
    """The bootstrap behind intervals."""

    samples: int = Field(10_000, ge=100)
    """Resamples of the rows behind each bootstrap interval."""

    seed: int = Field(0, ge=0)
    """Where their random numbers start."""


class EvaluateSettings(Settings):
    """One evaluation: which rows, how answers are made, and what counts as a difference."""

    moved: ClassVar[Mapping[str, str]] = {
        "samples": "resampling.samples",
        "seed": "resampling.seed",
        "retention_margin": "suites.loss_margin",
    }

    split: Literal["test", "validation"] = "test"
    """Which held-out rows are asked. Each evaluation on `test` is counted: what is looked at often is no test."""

    max_rows: int | None = Field(None, ge=1)
    """At most this many rows, chosen by their content and so always the same. null: all rows."""

    max_new_tokens: int | None = Field(None, ge=1)
    """Longest answer, in tokens. null: a quarter more than the longest right answer, at most 512."""

    task: Literal["auto", "label", "calls", "json", "text"] = "auto"
    """What a right answer is: one of a set of labels, function calls, a JSON value, or free text. `auto`: as the rows
    show. A model with a head answers as it was trained to."""

    metric: str = "auto"
    """The one metric that gives the verdict: one of those measured (`exact_match`, `accuracy`, `macro_f1`, `micro_f1`,
    `field_accuracy`, `field_f1`, `calls_right`, `call_order`, `function_f1`, `argument_f1`, `word_f1`, `brier`, `ece`,
    `mae`, `rmse`, `spearman`, `loss`), or what a grader measures, by its name in the table. `auto`: accuracy for
    labels, micro-F1 for lists of labels, mean absolute error for numbers, right calls for function calls, F1 of the
    fields for JSON, exact match for short answers, loss for free text."""

    graders: tuple[Grader, ...] = ()
    """What else answers are measured by, see docs/evaluation.md: schema, tolerances, spans, function calls, style,
    BLEU, chrF, ROUGE, your own function, a judge, code; and OpenAI's graders as they are written there."""

    judge: JudgeSettings = JudgeSettings()
    """Where the judge is that graders ask."""

    margin: float = Field(0.01, ge=0)
    """The largest difference that does not matter, in the metric's unit (0.01 = one point of a share, or 0.01 nats per
    token): if the interval lies within it, the models are equivalent. 0: never equivalent."""

    retention: bool = True
    """Measure what was forgotten: the loss on general text that has nothing to do with the task."""

    suites: SuiteSettings = SuiteSettings()
    """What else the model should still be able to do: suites that come with metier, and benchmarks that you have."""

    against: tuple[str, ...] = ()
    """Who else it is compared with, beside its base, on the same rows: `prompt:FILE` (the base with your best prompt),
    `remote:MODEL` (at `evaluate.judge.url`), `classifier:logistic`, another run, or a version such as `support@3`."""

    confidence: float = Field(0.95, gt=0.5, lt=1)
    """How often intervals hold the truth."""

    resampling: ResamplingSettings = ResamplingSettings()
    """The bootstrap behind intervals."""

    production: ProductionSettings = ProductionSettings()
    """What the models need as a service: time to answer, memory, cost."""

    worst: int = Field(20, ge=0)
    """How many of the tuned model's worst rows the report shows."""
