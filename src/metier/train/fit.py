"""The loop around the step: order, rate, checks, checkpoints, stopping; nothing here knows a method."""

import dataclasses
import resource
from collections.abc import Sequence as Many
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import psutil
import torch

from metier.core.errors import InterruptedRun, NonFiniteError
from metier.core.progress import Progress
from metier.core.types import Sequence
from metier.forest.arrange import Arrangement
from metier.forest.way import Way
from metier.text.rendered import Rendered
from metier.train import checkpoint
from metier.train.batches import Order
from metier.train.checkpoint import Place
from metier.train.log import StepLogFile
from metier.train.loop import Arithmetic, StepLog, seed_step, step, validation_loss
from metier.train.objectives.supervised import Objective
from metier.train.optimiser import adamw, set_rate
from metier.train.schedule import rate
from metier.train.settings import TrainSettings
from metier.train.stop import StopRequest, listening

_HELD_OUT_AT_ONCE = 64
"""Held-out rows whose common beginnings are looked for together."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One run of the loop; `run` is its only verb. `way` is how the model is computed."""

    run_folder: Path
    model: torch.nn.Module
    objective: Objective
    rendered: Rendered
    validation: Many[Sequence]
    order: Order
    settings: TrainSettings
    peak_rate: float
    seed: int
    arithmetic: Arithmetic
    way: Way

    def run(self, progress: Progress) -> Place:
        """Train to the end (or to an early stop) from the newest checkpoint.

        Raises:
            InterruptedRun: asked to stop; a checkpoint was published.
            NonFiniteError: with the step and the rows that were in it.
        """
        optimiser = adamw(self.model, self.settings)
        newest = checkpoint.newest(self.run_folder)
        place = checkpoint.load(newest, self.model, optimiser) if newest else Place()
        log = StepLogFile(self.run_folder / "metrics.jsonl", exact=self.arithmetic.device.type == "cpu")
        if place.step:
            progress.say(f"going on after step {place.step} of {self.order.steps}")
        validation = self._validation_batches()
        self.model.train()
        with (
            self.way.attention(self.model),
            listening() as request,
            progress.task("train", self.order.steps, place.step) as bar,
        ):
            try:
                while place.step < self.order.steps and not place.stopped:
                    started = perf_counter()
                    record = self._step(place.step, optimiser)
                    seconds = perf_counter() - started
                    place = dataclasses.replace(
                        place, step=place.step + 1, tokens=place.tokens + record.tokens, seconds=place.seconds + seconds
                    )
                    figures = self._write(log, place, record, seconds)
                    place = self._check(log, place, validation, figures)
                    self._publish_if_due(log, place, optimiser, request)
                    bar.advance(1, figures)
            finally:
                log.close()
        return place

    def _step(self, number: int, optimiser: torch.optim.Optimizer) -> StepLog:
        rows = self.order.step(number)
        work = self._arrange([self.rendered.sequence(row) for row in rows])
        set_rate(optimiser, rate(number, self.order.steps, self.peak_rate, self.settings))
        seed_step(self.seed, number)
        try:
            return step(
                self.model, self.objective, work, optimiser, clip=self.settings.clip, arithmetic=self.arithmetic
            )
        except NonFiniteError as error:
            sources = ", ".join(self.rendered.sequence(row).source for row in rows[:4])
            raise NonFiniteError(
                f"step {number + 1}: {error.found} (rows {sources}{', …' if len(rows) > 4 else ''})",
                error.wanted,
                "lower train.learning_rate, or look at these rows; the last checkpoint is intact",
            ) from error

    def _write(self, log: StepLogFile, place: Place, record: StepLog, seconds: float) -> dict[str, float]:
        learning_rate = rate(place.step - 1, self.order.steps, self.peak_rate, self.settings)
        entry = {
            "step": place.step,
            "epoch": self.order.epoch(place.step - 1),
            "loss": record.loss,
            "gradient_norm": record.gradient_norm,
            "learning_rate": learning_rate,
            "tokens": record.tokens,
            "computed": record.computed,
            "seconds": seconds,
            "tokens_per_second": record.tokens / seconds,
            "memory_bytes": memory_bytes(),
        }
        log.write(entry)
        return {"loss": record.loss, "tokens/s": place.tokens / place.seconds, "GB": entry["memory_bytes"] / 1e9}

    def _check(self, log: StepLogFile, place: Place, validation: Many[Arrangement], figures: dict[str, float]) -> Place:
        """Measure the validation loss when it is due, remember the best, and stop when it has long been worse."""
        if not self._is_check(place.step) or not validation:
            return place
        loss = validation_loss(self.model, self.objective, validation, self.arithmetic)
        log.write({"step": place.step, "epoch": self.order.epoch(place.step - 1), "validation_loss": loss})
        figures["validation"] = loss
        if place.best_loss is None or loss < place.best_loss:
            return dataclasses.replace(place, best_loss=loss, best_step=place.step, worse_checks=0)
        worse = place.worse_checks + 1
        stopped = self.settings.patience is not None and worse >= self.settings.patience
        return dataclasses.replace(place, worse_checks=worse, stopped=stopped)

    def _publish_if_due(
        self, log: StepLogFile, place: Place, optimiser: torch.optim.Optimizer, request: StopRequest
    ) -> None:
        every = self.settings.checkpoint_every
        due = self._is_check(place.step) or (every is not None and place.step % every == 0)
        if due or request.asked:
            log.sync()
            checkpoint.save(self.run_folder, self.model, optimiser, place)
        if request.asked and place.step < self.order.steps:
            raise InterruptedRun(
                f"stopped on request after step {place.step} of {self.order.steps}", do="run the same command to go on"
            )

    def _is_check(self, done: int) -> bool:
        """Tell whether a check falls after `done` steps: `checks` of them, evenly spread, one at the end."""
        steps, checks = self.order.steps, min(self.settings.checks, self.order.steps)
        return done * checks // steps > (done - 1) * checks // steps

    def _arrange(self, sequences: Many[Sequence]) -> Arrangement:
        assert self.settings.micro_batch_tokens is not None  # the planner has chosen
        return self.way.arrange(list(sequences), self.settings.micro_batch_tokens)

    def _validation_batches(self) -> list[Arrangement]:
        starts = range(0, len(self.validation), _HELD_OUT_AT_ONCE)
        return [self._arrange(self.validation[start : start + _HELD_OUT_AT_ONCE]) for start in starts]


def memory_bytes() -> int:
    """Return the memory in use now: of the GPU when there is one, else resident in this process."""
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated()
    return psutil.Process().memory_info().rss


def peak_memory_bytes() -> int:
    """Return the most memory used so far: of the GPU when there is one, else resident in this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
