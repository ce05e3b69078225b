"""Ours: the real loop (`train.fit`) over the micro-batches that it makes itself, logging included."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from bench import rows, shapes
from bench.contenders import hand
from bench.gate import Gate, Job
from metier.core.progress import Silent
from metier.forest.way import probe
from metier.model.adapt import adapt, count_parameters
from metier.model.find import Base, find, find_config
from metier.model.load import load_base
from metier.model.quantise.freeze import dequantise, narrow, quantise
from metier.model.settings import ModelSettings
from metier.text.rendered import Rendered
from metier.train.fit import Fit
from metier.train.loop import Arithmetic
from metier.train.objectives.supervised import Supervised
from metier.train.planning.choose import UNPLANNED_TOKENS, fastest_tokens
from metier.train.settings import TrainSettings

TOKENS = "METIER_BENCH_TOKENS"
"""Micro-batches of ours other than the planner's, for a search."""
QUANTISE, BFLOAT16 = "METIER_BENCH_QUANTISE", "METIER_BENCH_BFLOAT16"
"""A frozen base as `model.quantise` has it, and products in bfloat16 on a CPU too: other ways than the table's."""


def run(job: Job, gate: Gate) -> None:
    """Train through `Fit`, rows in the order given; its progress bar is the gate."""
    vocabulary = shapes.SHAPES[job.model].vocabulary
    steps = rows.steps(job.work, vocabulary, job.steps, job.rows_per_step)
    base, model = _load(job)
    way = probe(model)
    if not way.packed:
        raise RuntimeError("this base cannot be a forest: not what is to be timed")
    made = rendered([example for each in steps for example in each])
    width = model.config.get_text_config().hidden_size
    step = way.arrange([made.sequence(number) for number in range(job.rows_per_step)], UNPLANNED_TOKENS)
    repeated = 1 - step.computed / step.given
    tokens = int(os.environ.get(TOKENS, fastest_tokens(job.method, job.device, width, repeated)))
    settings = TrainSettings.model_validate(
        {"rows_per_step": job.rows_per_step, "checks": 1, "threads": job.threads, "micro_batch_tokens": tokens}
    )
    adapters = ModelSettings.model_validate({"quantise": os.environ.get(QUANTISE, "none")})
    if job.method == "full":
        dequantise(model)
    model = quantise(adapt(model, base, job.method, adapters, seed=0), adapters.quantise, torch.device(job.device))
    with tempfile.TemporaryDirectory() as folder:
        fit = Fit(
            run_folder=Path(folder),
            model=model,
            objective=Supervised(way),
            way=way,
            attention=way.attention,
            rendered=made,
            validation=[],
            order=InOrder(job),
            settings=settings,
            peak_rate=2e-5,
            seed=0,
            arithmetic=Arithmetic(
                device=torch.device(job.device), bfloat16=job.device == "cuda" or BFLOAT16 in os.environ
            ),
        )
        facts = {"rows": rows.digest(steps[0]), "trained": count_parameters(model, trained_only=True)}
        fit.run(AtTheGate(gate, facts))


def _load(job: Job) -> tuple[Base, PreTrainedModel]:
    """Load a shape from its folder; on a GPU make its random weights there, in bfloat16 as the peers have them.

    Then its layers stay so and the rest is in float32, as `metier train` has a base that is stored in bfloat16.
    """
    if job.device == "cuda":
        model = hand.load(job)
        narrow(model)
        return find_config(str(shapes.folder(job.model, weights=False)), Path.cwd()), model
    base = find(str(shapes.folder(job.model)), Path.cwd())
    return base, load_base(base, device=torch.device("cpu"))


class InOrder:
    """Rows in the order given, where a run would permute them: every contender trains on the same rows in a step."""

    def __init__(self, job: Job) -> None:
        self.steps = job.steps
        self.rows_per_step = job.rows_per_step

    def step(self, step: int) -> list[int]:
        """Return the row indices of a step."""
        return list(range(step * self.rows_per_step, (step + 1) * self.rows_per_step))

    def epoch(self, step: int) -> float:
        """Return how much of the rows lies behind us after a step."""
        return (step + 1) / self.steps


class AtTheGate(Silent):
    """A listener that lets the loop go on only when the driver says so."""

    def __init__(self, gate: Gate, facts: Mapping[str, object]) -> None:
        self.gate = gate
        self.facts = facts

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator["AtTheGate"]:
        """Say that everything is loaded."""
        self.gate.ready(**self.facts)
        yield self

    def advance(self, count: int = 1, facts: Mapping[str, float] | None = None) -> None:
        """End the step, its line in the log included."""
        self.gate.done(loss=dict(facts or {})["loss"])


def rendered(examples: list[rows.Example]) -> Rendered:
    """Return the rows as `text.render` would leave them."""
    return Rendered(
        ids=np.concatenate([np.asarray(example.ids, np.int32) for example in examples]),
        weights=np.concatenate([np.asarray(example.weights, np.float32) for example in examples]),
        offsets=np.cumsum([0, *(len(example.ids) for example in examples)], dtype=np.int64),
        row_ids=tuple(f"row-{number}" for number in range(len(examples))),
        sources=tuple(f"bench:{number}" for number in range(len(examples))),
    )
