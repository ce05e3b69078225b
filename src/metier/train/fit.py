"""The loop around the step: order, rate, checks, checkpoints, stopping; nothing here knows a method."""

import dataclasses
import time
from collections.abc import Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter

import torch

from metier.core.errors import InterruptedRun, NonFiniteError
from metier.core.progress import Progress
from metier.core.types import Sequence
from metier.forest.arrange import Arrangement
from metier.forest.way import Way
from metier.model.lora import packed_frozen
from metier.train import checkpoint, guard
from metier.train.batches import Numbered, Ordered
from metier.train.calendar import Calendar
from metier.train.checkpoint import Place
from metier.train.checks import Found, judge
from metier.train.frozen import Frozen
from metier.train.log import StepLogFile
from metier.train.loop import Arithmetic, StepLog, gradient, measured, seed_step
from metier.train.making import Made, Maker
from metier.train.memory import memory_bytes
from metier.train.objectives.regularised import Attention
from metier.train.objectives.supervised import Objective
from metier.train.optimisers.build import build
from metier.train.optimisers.optimiser import Optimiser
from metier.train.overfitting import explained
from metier.train.quiz import Computing, Quiz
from metier.train.schedule import rate
from metier.train.settings import TrainSettings
from metier.train.stop import StopRequest, listening

_HELD_OUT_AT_ONCE = 64
"""Held-out rows whose common beginnings are looked for together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ahead:
    """The step to be taken: its rows, the sequences made of them, and when it was begun."""

    rows: list[int]
    made: Made
    started: float


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One run of the loop; `run` is its only verb. `way` is how the model is computed, `attention` its context.

    `frozen` holds the states of all sequences where the lowest layers never change: first those of `rendered`, then
    those of `validation`. `until`: the step after which `run` returns with a checkpoint published; None: the last one.
    `quiz`: validation rows that are answered at checks; None: the loss alone is measured, and decides. `together`: so
    many sequences that follow each other are computed in one forest. `maker` makes the sequences of a step from its
    rows, and judges the model in the place of a validation loss; None: they are those of `rendered`.
    """

    run_folder: Path
    model: torch.nn.Module
    objective: Objective
    rendered: Numbered
    validation: Many[Sequence]
    order: Ordered
    settings: TrainSettings
    peak_rate: float
    seed: int
    arithmetic: Arithmetic
    way: Way
    attention: Attention
    frozen: Frozen | None = None
    until: int | None = None
    quiz: Quiz | None = None
    together: int = 1
    maker: Maker | None = None

    def run(self, progress: Progress) -> Place:
        """Train to the end (or to an early stop) from the newest checkpoint.

        Raises:
            InterruptedRun: asked to stop; a checkpoint was published.
            NonFiniteError: with the step and the rows that were in it, when the guard does not leave it out.
            LossSpikeError: a loss leapt and the guard was told to stop.
        """
        optimiser = build(self.model, self.settings.optimiser, self.settings.regularise)
        place = self._start(optimiser)
        exact = self.arithmetic.device.type == "cpu" and (self.maker is None or self.maker.repeats)
        log = StepLogFile(self.run_folder / "metrics.jsonl", exact=exact)
        if place.step:
            progress.say(f"going on after step {place.step} of {self.order.steps}")
        validation = self._validation_batches()
        self.model.train()
        with (
            Computing(self.attention, self.model) as computing,
            packed_frozen(self.model, self.arithmetic.dtype),
            listening() as request,
            progress.task("train", self.order.steps, place.step) as bar,
        ):
            try:
                while place.step < self._end and not place.stopped:
                    ahead = self._ahead(place, computing)
                    place, figures = self._advance(log, place, optimiser, progress, ahead)
                    found = self._check(place, validation, optimiser, computing)
                    place = self._judge(log, place, found, figures, progress)
                    place = self._publish_if_due(log, place, optimiser, request)
                    bar.advance(1, figures)
            finally:
                log.close()
        return place

    @property
    def _end(self) -> int:
        return self.order.steps if self.until is None else min(self.until, self.order.steps)

    @cached_property
    def _calendar(self) -> Calendar:
        return Calendar(self.order, self.settings)

    def _start(self, optimiser: Optimiser) -> Place:
        """Load the newest checkpoint; a guard that rolls back needs one from the very start."""
        newest = checkpoint.newest(self.run_folder)
        if newest:
            return checkpoint.load(newest, optimiser)
        if self.settings.guard.on_spike != "roll_back":
            return Place()
        place = Place(scheduled_step=0)
        checkpoint.save(self.run_folder, optimiser, place)
        return place

    def _ahead(self, place: Place, computing: Computing) -> _Ahead:
        """Return the next step: the sequences of its rows, or what the model makes of them."""
        started, rows = perf_counter(), self.order.step(place.step)
        if self.maker is None:
            made = Made(sequences=[self.rendered.sequence(row) for row in rows], told={})
        else:
            with computing.left():
                made = self.maker.make(self.model, place.step, rows)
        return _Ahead(rows=rows, made=made, started=started)

    def _advance(
        self, log: StepLogFile, place: Place, optimiser: Optimiser, progress: Progress, ahead: _Ahead
    ) -> tuple[Place, dict[str, float]]:
        """Take a step, or refuse it; returns the place after it and the figures to show.

        Where nothing was made that teaches anything, the step changes nothing.
        """
        if ahead.made.sequences:
            record, found = self._gradient(place, ahead, optimiser)
            if record is None or found:
                return self._refuse(log, place, optimiser, f"{found} ({self._sources(ahead.rows)})", progress), {}
            optimiser.step()
        else:
            record = StepLog(loss=0.0, gradient_norm=0.0, tokens=0, computed=0)
            progress.say(f"step {place.step + 1}: {ahead.made.idle}")
        seconds = perf_counter() - ahead.started
        tokens = place.tokens + record.tokens
        after = guard.remember(record.loss, place, self.settings.guard)
        after = dataclasses.replace(after, step=place.step + 1, tokens=tokens, seconds=place.seconds + seconds)
        return after, self._write(log, after, record, seconds=seconds, told=ahead.made.told)

    def _gradient(self, place: Place, ahead: _Ahead, optimiser: Optimiser) -> tuple[StepLog | None, str]:
        """Compute a step's gradient; returns what the guard has to say against it ("": nothing)."""
        work = self._arrange(ahead.made.sequences, ahead.rows)
        optimiser.set_rate(self._rate(place, place.step))
        seed_step(self.seed, place.step)
        clip = self.settings.optimiser.clip
        try:
            record = gradient(self.model, self.objective, work, optimiser, clip=clip, arithmetic=self.arithmetic)
        except NonFiniteError as error:
            return None, error.found
        return record, guard.spike(record.loss, place, self.settings.guard)

    def _refuse(self, log: StepLogFile, place: Place, optimiser: Optimiser, found: str, progress: Progress) -> Place:
        """Do what the guard's settings say, and tell."""
        settings = self.settings.guard
        after = guard.refuse(f"step {place.step + 1}: {found}", place, settings)
        if settings.on_spike == "roll_back" and place.scheduled_step is not None:
            earlier = checkpoint.load(checkpoint.folder(self.run_folder, place.scheduled_step), optimiser)
            after = dataclasses.replace(after, recent_losses=earlier.recent_losses)  # those that its weights had
        after = dataclasses.replace(after, step=place.step + 1)
        did = guard.describe(settings, after)
        log.write({"step": after.step, "guard": settings.on_spike, "found": found, "did": did})
        progress.say(f"step {after.step}: {found}: {did}")
        return after

    def _sources(self, rows: list[int]) -> str:
        named = ", ".join(self.rendered.sequence(row).source for row in rows[:4])
        return f"rows {named}{', …' if len(rows) > 4 else ''}"

    def _rate(self, place: Place, step: int) -> float:
        return place.rate_share * rate(step, self.order.steps, self.peak_rate, self.settings.schedule)

    def _write(
        self, log: StepLogFile, place: Place, record: StepLog, *, seconds: float, told: Mapping[str, float]
    ) -> dict[str, float]:
        entry = {
            "step": place.step,
            "epoch": self.order.epoch(place.step - 1),
            "loss": record.loss,
            **({} if record.accuracy is None else {"accuracy": record.accuracy}),
            "gradient_norm": record.gradient_norm,
            "learning_rate": self._rate(place, place.step - 1),
            "tokens": record.tokens,
            "computed": record.computed,
            "seconds": seconds,
            "time": round(time.time(), 3),
            "tokens_per_second": record.tokens / seconds,
            "memory_bytes": memory_bytes(),
        }
        log.write(entry | dict(told))
        shown = {name: value for name, value in told.items() if name == "reward"} or {"loss": record.loss}
        return shown | {"tokens/s": place.tokens / place.seconds, "GB": entry["memory_bytes"] / 1e9}

    def _check(
        self, place: Place, validation: Many[Arrangement], optimiser: Optimiser, computing: Computing
    ) -> Found | None:
        """Measure the validation loss when it is due, and let rows be answered when that is."""
        held_out = validation if self.maker is None else self.maker.held_out
        if not self._calendar.is_check(place.step) or not held_out:
            return None
        with optimiser.judged():
            found = self._judged(validation, computing)
            if self.quiz is None or not self._calendar.is_answered(place.step):
                return found
            with computing.left():
                return dataclasses.replace(found, answers=self.quiz.measure(self.model), answered=self.quiz.rows)

    def _judged(self, validation: Many[Arrangement], computing: Computing) -> Found:
        if self.maker is None:
            loss, accuracy = measured(self.model, self.objective, validation, self.arithmetic)
            return Found(loss=loss, beside={} if accuracy is None else {"validation_accuracy": accuracy})
        with computing.left():
            told = self.maker.judge(self.model)
        return Found(reward=told.pop("reward"), beside=told)

    def _judge(
        self, log: StepLogFile, place: Place, found: Found | None, figures: dict[str, float], progress: Progress
    ) -> Place:
        """Log what a check found, remember the best, and stop when it has long been worse."""
        if found is None:
            return place
        log.write({"step": place.step, "epoch": self.order.epoch(place.step - 1)} | found.as_dict())
        figures.update({"validation": found.value, **(found.answers or {})})
        after = judge(place, found, self.settings, answered=self.quiz is not None)
        if (told := explained(log.path, self.settings.patience, until=place.step)) and told.is_new:
            progress.say(told.text)
        return after

    def _publish_if_due(self, log: StepLogFile, place: Place, optimiser: Optimiser, request: StopRequest) -> Place:
        due = self._calendar.is_published(place.step)
        if due:
            place = dataclasses.replace(place, scheduled_step=place.step)
        if self._calendar.ends_epoch(place.step):
            ended = (*place.ended_epochs, place.step)[-self.settings.check.keep_epochs :]
            place = dataclasses.replace(place, ended_epochs=ended)
        if due or request.asked or place.step == self._end:
            log.sync()
            checkpoint.save(self.run_folder, optimiser, place)
        if request.asked and place.step < self.order.steps:
            raise InterruptedRun(
                f"stopped on request after step {place.step} of {self.order.steps}", do="run the same command to go on"
            )
        return place

    def _arrange(self, sequences: Many[Sequence], numbers: Many[int]) -> Arrangement:
        assert self.settings.micro_batch_tokens is not None  # chosen by the planner
        work = self.way.arrange(list(sequences), self.settings.micro_batch_tokens, together=self.together)
        return work if self.frozen is None else self.frozen.give(work, numbers)

    def _validation_batches(self) -> list[Arrangement]:
        trained, total = len(self.rendered), len(self.validation)
        groups = [range(start, min(start + _HELD_OUT_AT_ONCE, total)) for start in range(0, total, _HELD_OUT_AT_ONCE)]
        return [self._arrange([self.validation[i] for i in group], [trained + i for i in group]) for group in groups]
