"""How the loop runs; imports no torch."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from metier.core.settings import Settings
from metier.train.reinforcing.settings import ReinforceSettings


class ScheduleSettings(Settings):
    """The learning rate over the run, as a share of its peak."""

    shape: Literal["cosine", "linear", "constant"] | None = None
    """How the rate falls from its peak after the warm-up: to `final_rate` times the peak, or not at all. null: cosine;
    constant with the optimiser `schedule-free`, which averages the weights instead and takes no other."""

    final_rate: float = Field(0.1, ge=0, le=1)
    """Rate at the last step as a share of the peak (cosine and linear)."""

    warmup: float = Field(0.05, ge=0, lt=1)
    """Share of all steps over which the rate rises from 0 to its peak."""

    multiplier: float = Field(1.0, gt=0)
    """Factor on the peak rate, however it came about: set, by the rule, or found by `learning_rate: auto`, which
    searches without it."""


class OptimiserSettings(Settings):
    """How a gradient becomes an update."""

    name: Literal["adamw", "adamw-8bit", "muon", "adafactor", "sgd", "schedule-free"] = "adamw"
    """`adamw-8bit` keeps its averages in a quarter of the memory, `adafactor` in hardly any, `sgd` in half. `muon`
    orthogonalises the updates of the matrices in hidden layers (AdamW takes the rest). `schedule-free` is AdamW that
    averages the weights instead of lowering the rate."""

    weight_decay: float = Field(0.01, ge=0)
    """Decay, per step and rate, of matrices (not of norms and biases). With `sgd` it is an L2 penalty."""

    betas: tuple[float, float] = (0.9, 0.99)
    """AdamW and schedule-free: averages of the gradient and of its square."""

    momentum: float | None = Field(None, ge=0, lt=1)
    """Muon and SGD: average of the gradient. null: 0.95 for Muon, 0.9 for SGD."""

    clip: float = Field(1.0, ge=0)
    """Largest gradient norm; longer gradients are scaled down to it. 0: never."""

    lora_plus_ratio: float | None = Field(None, gt=0)
    """LoRA+: the matrices B, which start from zero, get this many times the rate of the matrices A; 16 is usual, with a
    lower `learning_rate`. null: one rate for all."""


class RegulariseSettings(Settings):
    """What keeps the training from fitting too closely and from forgetting, beside the dropout in `model`."""

    neftune_alpha: float | None = Field(None, gt=0)
    """NEFTune: uniform noise on the embedded tokens while training, of size alpha / √(tokens × width), tokens being the
    mean length of the training rows; 5 is usual. A token that several rows share gets one draw. null: no noise."""

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of each label's weight that is spread evenly over the vocabulary."""

    ema: float | None = Field(None, gt=0, lt=1)
    """Measure and save an average over the steps instead of the last weights: this much of it stays at each step (less
    in the first steps). 0.99 is usual; costs a copy of the trained weights. null: no average."""

    l2_to_base: float = Field(0.0, ge=0)
    """Pull of trained weights towards where they started, per step and rate, as weight decay pulls towards zero.
    Methods `full` and `layers`; costs a copy of the trained weights."""

    kl_to_base: float = Field(0.0, ge=0)
    """Weight of KL(base ‖ tuned) in nats, added to the loss at every label: what the base would say stays likely. An
    adapter is switched off for it (a second forward pass); other methods keep a frozen copy of the base in memory."""

    replay: float = Field(0.0, ge=0, lt=1)
    """Share of the rows of every step that is drawn from general rows; `rows_per_step` includes them, and an epoch
    counts the project's own rows only."""

    replay_file: str | None = None
    """General rows as JSON Lines, in any form that `data.train` takes, relative to metier.yaml. null: the bundled
    ones, which are few and in English."""


class GuardSettings(Settings):
    """What happens when a loss or gradient is not finite, or a loss leaps; each event stands in metrics.jsonl."""

    on_spike: Literal["skip", "roll_back", "lower_rate", "stop"] = "skip"
    """`skip` leaves the step's update out, `lower_rate` also multiplies the rate by `lower_by` from then on,
    `roll_back` puts weights and optimiser back to the last scheduled checkpoint and goes on with the next rows."""

    threshold: float | None = Field(10.0, gt=0)
    """A loss is a leap when it is this many robust deviations (1.48 × median distance from the median, at least 0.1
    nats) above the median of the last steps. null: only what is not finite counts."""

    window: int = Field(50, ge=5)
    """Steps whose losses are compared with; no leap is found in the first fifth of that many steps."""

    lower_by: float = Field(0.5, gt=0, lt=1)
    """lower_rate: factor on the learning rate after each event."""

    most_in_a_row: int = Field(5, ge=1)
    """Events in successive steps after which training stops, whatever `on_spike` says."""


ObjectiveName = Literal["auto", "chat", "classify", "multilabel", "regress", "distil", "prefer", "reinforce"]


class PreferSettings(Settings):
    """How the better of two answers is learnt; docs/objectives.md has the formulas."""

    loss: Literal["sigmoid", "ipo", "hinge"] = "sigmoid"
    """`sigmoid`: DPO. `ipo` stops where the two answers are far enough apart, so that certain preferences are not
    learnt without end. `hinge` does so too, and gives nothing to pairs that are that far apart already."""

    beta: float = Field(0.1, gt=0)
    """How far from the base a preference may lead: smaller values lead further."""

    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    """sigmoid: share of the rows whose answers may stand the wrong way round."""

    likelihood: float = Field(0.0, ge=0)
    """How much the mean negative log-likelihood of the better answer counts beside: 1 keeps it from becoming less
    likely together with the worse one, where answers must be exact."""

    @model_validator(mode="after")
    def _asked_of_the_right_one(self) -> "PreferSettings":
        if self.label_smoothing and self.loss != "sigmoid":
            raise ValueError(f"label_smoothing only matters with loss: sigmoid (found loss: {self.loss})")
        return self


class ObjectiveSettings(Settings):
    """What is learnt from the rows. A plain name stands for `{name: <name>}`; docs/objectives.md compares them."""

    name: ObjectiveName = "auto"
    """`chat`: to write the answer (plain text: to go on). With a head that is read at the last token of the prompt:
    `classify` one label of several, `multilabel` any number of labels, `regress` a number. `distil`: to answer without
    the long prompt as the base does with it. `prefer`: to find the better of two answers likelier. `reinforce`: to give
    answers that a grader rewards. `auto`: regress for rows with a score, prefer for rows with a better and a worse
    answer, reinforce for tasks, else chat."""

    drop: Literal["system", "examples", "all"] = "system"
    """distil: what the student does not see: the `system` turn, the `examples` (turns before the last question), or
    `all` of both."""

    answers: Literal["given", "generated"] = "given"
    """distil: the answers at which teacher and student are compared: those of the rows, or what the teacher itself
    says with the long prompt (greedily; rows then need no answer worth learning)."""

    prefer: PreferSettings = PreferSettings()
    """prefer: which loss, and how far from the base it may lead."""

    reinforce: ReinforceSettings = ReinforceSettings()
    """reinforce: what gives rewards, and how answers are compared by them."""

    @model_validator(mode="after")
    def _asked_of_the_right_one(self) -> "ObjectiveSettings":
        fields = type(self).model_fields
        changed = [name for name, value in self if name != "name" and value != fields[name].default]
        sections = ("prefer", "reinforce")
        idle = [name for name in changed if name not in sections]
        if idle and self.name != "distil":
            raise ValueError(f"{', '.join(idle)} only matter with name: distil (found name: {self.name})")
        for section in sections:
            if section in changed and self.name not in (section, "auto"):
                raise ValueError(f"{section} only matters with name: {section} (found name: {self.name})")
        return self


def _as_objective(value: Any) -> Any:
    """Take `objective: classify` for `objective: {name: classify}`."""
    return {"name": value} if isinstance(value, str) else value


Answered = Literal[
    "accuracy", "exact_match", "macro_f1", "micro_f1", "label_known", "json_valid", "field_accuracy", "field_f1",
    "calls_right", "call_order", "function_f1", "argument_f1", "word_f1", "ended", "brier", "ece", "mae", "rmse",
    "spearman",
]  # fmt: skip
"""Metrics of answers, as `metier evaluate` measures them."""


class CheckSettings(Settings):
    """What the checks during training measure beside the validation loss, and which step they call the best.

    Answers are written as `metier evaluate` has them written, and scored by the same code.
    """

    metrics: tuple[Answered, ...] = ()
    """Metrics of answers to some validation rows, by their names in evaluation.json: exact_match, field_f1, … Empty:
    only the loss is measured (and `best`), and nothing is answered."""

    best: Literal["loss"] | Answered = "loss"
    """What says which step's weights are kept, and when `patience` is at its end. A metric is measured even where
    `metrics` does not name it; of equal values the first counts."""

    rows: int = Field(64, ge=1)
    """Validation rows that are answered at a check, at most, evenly spread."""

    every: int = Field(1, ge=1)
    """Let rows be answered at every so many checks, counted from the last one. Where a metric is `best`, the checks
    between decide nothing."""

    loss_rows: int | None = Field(None, ge=1)
    """Validation rows whose loss a check measures, at most, evenly spread. null: 256, or in a short run, from 64 on,
    as many as keep all checks below a tenth of its cost."""

    steps: int | None = Field(None, ge=1)
    """Steps from one check to the next; the last one comes at the end. null: `train.checks` of them, evenly spread."""

    max_new_tokens: int | None = Field(None, ge=1)
    """Longest answer in tokens. null: a quarter more than the longest right answer, at most 512."""

    keep_epochs: int = Field(0, ge=0, le=100)
    """Models of the last so many epochs that are kept in `epochs/` beside the best one, each as it was when its epoch
    ended; a check falls there, too, unless `steps` says where checks are. Each takes the disk of what is trained."""


class TrainSettings(Settings):
    """One training run. Steps count optimiser updates; rows are sequences after rendering."""

    moved: ClassVar[Mapping[str, str]] = {
        "schedule": "schedule.shape",
        "final_rate": "schedule.final_rate",
        "warmup": "schedule.warmup",
        "weight_decay": "optimiser.weight_decay",
        "betas": "optimiser.betas",
        "clip": "optimiser.clip",
    }

    epochs: float | None = Field(None, gt=0)
    """Passes over the training rows. null: 3, or 1 for plain text."""

    max_steps: int | None = Field(None, ge=1)
    """Stop after this many steps, whatever `epochs` says. null: no such limit."""

    rows_per_step: int = Field(16, ge=1)
    """Rows in one optimiser step: what is averaged, however it is computed."""

    micro_batch_tokens: int | None = Field(None, ge=1)
    """Most tokens computed at once; a step is split into as many parts as needed, with exactly the same gradient.
    null: what is fast here and fits into memory."""

    learning_rate: Annotated[float, Field(gt=0)] | Literal["auto"] | None = None
    """Peak learning rate. null: 1e-3 below 20 million parameters, 1e-4 for larger full models, 2e-4 for LoRA, times
    what the optimiser needs beside AdamW. `auto`: short runs at rates around that one, for at most a tenth of
    the run's cost; the rule is left as far as they insist. The choice is printed with its reason."""

    schedule: ScheduleSettings = ScheduleSettings()
    """How the learning rate moves over the run."""

    optimiser: OptimiserSettings = OptimiserSettings()
    """How a gradient becomes an update."""

    regularise: RegulariseSettings = RegulariseSettings()
    """What keeps the training from fitting too closely, and from forgetting."""

    guard: GuardSettings = GuardSettings()
    """What happens when a loss leaps or is not finite."""

    objective: Annotated[
        ObjectiveSettings, BeforeValidator(_as_objective, json_schema_input_type=ObjectiveSettings | ObjectiveName)
    ] = ObjectiveSettings()
    """What is learnt: to write the answer, to choose labels or numbers through a head, or to do without a prompt."""

    checks: int = Field(10, ge=1)
    """How many times in the run the validation loss is measured and a checkpoint published."""

    patience: int | None = Field(3, ge=1)
    """Stop after this many checks without a better validation loss (or `check.best`). null: never stop early."""

    check: CheckSettings = CheckSettings()
    """What a check measures beside the validation loss, and what it decides."""

    checkpoint_every: int | None = Field(None, ge=1)
    """Steps between checkpoints. null: at every check."""

    threads: int | None = Field(None, ge=1)
    """CPU threads of the arithmetic; results are bit-identical for the same number. null: all cores."""
