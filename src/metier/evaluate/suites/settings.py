"""Which suites are asked, and what counts as forgetting; imports no torch."""

from typing import Literal

from pydantic import Field

from metier.core.settings import Settings
from metier.evaluate.probes.settings import ProbeSettings

Shipped = Literal[
    "all", "facts", "arithmetic", "grammar", "instructions", "reading", "json", "turns", "refusals"
]  # fmt: skip
Benchmark = Literal["mmlu", "gsm8k", "lambada", "blimp", "ifeval", "truthfulqa", "crows", "bbq", "winogender", "xstest"]


class SuiteSettings(Settings):
    """What else the model should still be able to do; asked of base and tuned model alike."""

    names: tuple[Shipped, ...] = ()
    """Suites that come with metier, or `all` of them. Empty: none; each takes a few seconds to a minute on a CPU."""

    benchmarks: dict[Benchmark, str] = Field(default_factory=dict)
    """Public benchmarks that you have, by their file or folder as it was published, relative to metier.yaml:
    `{mmlu: data/mmlu, blimp: data/BLiMP.zip}`. Asked in the way of lm-evaluation-harness."""

    most_items: int | None = Field(None, ge=1)
    """At most this many items of each suite, chosen by their id and so always the same. null: all."""

    shots: int = Field(0, ge=0, le=5)
    """Solved examples before each question of MMLU (from its dev files) and GSM8K (from its train file)."""

    margin: float = Field(0.05, ge=0, le=1)
    """The largest loss of a suite that is acceptable, as a share: 0.05 is five points."""

    loss_margin: float = Field(0.05, ge=0)
    """The largest acceptable rise of the loss on general text, in nats per token; 0.05 is five per cent of
    perplexity."""

    probes: ProbeSettings = ProbeSettings()
    """Probes of bias, obedience to rows, and memory, on your own rows."""

    harness: tuple[str, ...] = ()
    """Tasks of lm-evaluation-harness, by name; needs `pip install lm-eval` and the tasks' data on this machine."""

    harness_folder: str | None = None
    """A folder with more task files of lm-evaluation-harness, relative to metier.yaml. null: its own tasks only."""
