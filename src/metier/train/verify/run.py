"""Verify: the whole proof on a user's own model and rows, from what trains to a table of checks."""

import dataclasses
import gc
from collections.abc import Sequence as Many
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers.modeling_layers import GradientCheckpointingLayer

from metier.core.errors import SettingsError
from metier.core.progress import Progress, Silent
from metier.core.report import Cell
from metier.core.types import Sequence
from metier.forest.arrange import Arrangement
from metier.forest.grow import needed
from metier.model.find import Base
from metier.model.quantise.freeze import dequantise
from metier.train import choices
from metier.train.assemble import objective
from metier.train.fit import Fit
from metier.train.loop import Arithmetic
from metier.train.material import Material, gather
from metier.train.optimisers.groups import trained_parameters
from metier.train.plan import TrainingPlan
from metier.train.run import ready
from metier.train.verify import pairs
from metier.train.verify.contamination import at_labels, contamination, furthest, unit_of
from metier.train.verify.exact import Exactly, has_experts, nudge, require_memory, widen
from metier.train.verify.gradient import (
    Gradients,
    apart,
    budgets,
    forest_gradients,
    judged,
    plain_gradients,
)
from metier.train.verify.plain import PlainStep, distilled, headed, likelihood, words
from metier.train.verify.repetition import resumed, twice
from metier.train.verify.rows import choose, columns
from metier.train.verify.settings import VerifySettings
from metier.train.verify.taught import taught
from metier.train.verify.verdicts import Check, Verified
from metier.train.views import View

GRADIENT, ROUNDED, COPY, ACCUMULATION = (
    "forest = plain padded step",
    "the same as it trains",
    "the float64 model is this model",
    "accumulation = one big batch",
)
_EXACT = 1e-9
_COPY = 1e-3
_KNOWN = ("none", "bfloat16")
"""Formats of a base that lose nothing: its weights have a float64 self."""
_BOUNDS = {"float32": 1e-3, "bfloat16": 0.2}
"""Relative difference allowed in training precision: sums are added in another order, and roundings carry through all
layers. bfloat16 keeps 8 bits, so a hundredth is the rounding of a single product."""


def verify(
    snapshot: Path, base: Base, *, run: Path, plan: TrainingPlan, settings: VerifySettings, progress: Progress
) -> Verified:
    """Prove on a few training rows that the engine computes what the plain step computes.

    Args:
        snapshot: a prepared snapshot.
        base: as found by `model.find`.
        run: where the run of this plan would stand; only rendered rows are kept beside it.
        plan: what would be trained, and how.
        settings: how much is looked at.
        progress: who listens.

    Raises:
        InputError: the float64 model does not fit into memory.
        SettingsError: rewards, which have no plain step.
    """
    torch.set_num_threads(choices.threads(plan.train).value)
    material = gather(snapshot, base, run, plan, progress)
    view = material.view
    _require_plain_form(view)
    rows = choose(material.train, settings.rows, settings.tokens, together=view.together)
    few = dataclasses.replace(material, train=columns(rows), validation=columns(rows))
    with progress.task("verify", 3) as bar, TemporaryDirectory(prefix="metier-verify-") as folder:
        fit = ready(Path(folder), base, plan, few, progress)
        require_memory(fit.model, len(rows), max(len(side) for row in rows for side in (row, row.partner or row)))
        facts = _facts(fit, base, rows, material.trained_rows)
        bound = _BOUNDS["float32" if plan.model.quantise in _KNOWN and not fit.arithmetic.bfloat16 else "bfloat16"]
        if view.prefers:
            rows = [fit.rendered.sequence(number) for number in range(len(fit.rendered))]  # with what the base says
        checks = _of_the_base(fit, rows, view, bound=bound)
        nudge(fit.model, plan.seed)
        proof = _Proof(rows=rows, view=view)
        checks += _as_it_trains(fit, proof, bound=bound)
        bar.advance()
        checks += _in_float64(fit, proof) if plan.model.quantise in _KNOWN else _quantised()
        bar.advance()
        precision = "bfloat16" if fit.arithmetic.bfloat16 else "float32"
        del fit
        gc.collect()
        same = plan.model.model_copy(update={"precision": precision})  # not measured anew at every start
        checks.append(_resume(base, dataclasses.replace(plan, model=same), few, settings.steps))
        bar.advance()
    return Verified(checks=tuple(checks), facts=facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Proof:
    """The rows that are looked at, and what an objective makes of them."""

    rows: list[Sequence]
    view: View

    @property
    def step(self) -> PlainStep:
        """The objective's step, written out a second time."""
        if self.view.targets is not None:
            return headed(self.view.targets.kind)
        if self.view.distils:
            return distilled
        return words(pairs.loss_of(self.view.objective.prefer) if self.view.prefers else likelihood)

    def of(self, fit: Fit) -> Fit:
        """Return a run whose teacher is the base inside its model as that is now."""
        if not self.view.distils:
            return fit
        anew = objective(fit.model, fit.settings, fit.way, view=self.view, progress=Silent())
        return dataclasses.replace(fit, objective=anew)


def _require_plain_form(view: View) -> None:
    """Check that there is a second way to compute an objective.

    Raises:
        SettingsError: rewards, which every step draws anew.
    """
    if view.rewards:
        raise SettingsError(
            f"metier verify with train.objective {view.objective.name}",
            "an objective whose rows say what is learnt: answers, preferences, a head or distillation",
            "verify a project whose rows have answers, with the same base and model settings: the engine is the same",
        )


def _of_the_base(fit: Fit, rows: Many[Sequence], view: View, *, bound: float) -> list[Check]:
    """Look at what a run takes from its base; the model must be as before the first step."""
    if view.prefers:
        return [pairs.asked(fit, rows, bound=bound)]
    return [taught(fit, rows, bound=bound)] if view.distils else []


def _as_it_trains(fit: Fit, proof: _Proof, *, bound: float) -> list[Check]:
    """Look at the model in the precision that it trains in."""
    fit, rows = proof.of(fit), proof.rows
    halves = budgets(rows)[1]
    checks = [twice(fit, lambda: _arranged(fit, rows, halves))]
    _still(fit.model)
    if not has_experts(fit.model):
        checks.append(contamination(fit.model, fit.way, rows, fit.arithmetic, together=fit.together))
    plain = plain_gradients(fit.model, rows, fit.arithmetic, proof.step)
    checks.append(_against(plain, ROUNDED, fit, rows, fit.arithmetic, bound=bound))
    return checks


def _quantised() -> list[Check]:
    """Say what cannot be looked at where the base has no float64 self."""
    detail = "a quantised base has no float64 weights; look at the same run with --model.quantise none"
    return [
        Check(name=name, found=None, bound=_EXACT, unit="relative", detail=detail)
        for name in (COPY, GRADIENT, ACCUMULATION)
    ]


def _in_float64(fit: Fit, proof: _Proof) -> list[Check]:
    """Turn the model into its float64 self, show that it is still the same, and look at it."""
    rows, arithmetic = proof.rows, Arithmetic(device=fit.arithmetic.device)
    before = torch.cat(at_labels(fit.model, fit.way, rows, budgets(rows)[0], arithmetic))
    dequantise(fit.model)
    widen(fit.model)
    fit = proof.of(fit)
    fit.model.eval()  # a mode of torch does not reach what a backward pass computes again
    with Exactly():
        after = torch.cat(at_labels(fit.model, fit.way, rows, budgets(rows)[0], arithmetic))
        difference = furthest(after, before)
        detail = f"{len(after)} labels, float32 against float64; the proofs below are about the latter"
        checks = [Check(name=COPY, found=difference, bound=_COPY, unit=unit_of(fit.model), detail=detail)]
        plain = plain_gradients(fit.model, rows, arithmetic, proof.step)
        checks.append(_against(plain, GRADIENT, fit, rows, arithmetic, bound=_EXACT))
        checks.append(_accumulation(fit, rows, arithmetic))
        if has_experts(fit.model):  # what one row says regroups the experts' products: equal, but not bit for bit
            alone = contamination(fit.model, fit.way, rows, arithmetic, bound=_EXACT, together=fit.together)
            checks.append(alone)
    return checks


def _arranged(fit: Fit, rows: Many[Sequence], budget: int) -> Arrangement:
    return fit.way.arrange(list(rows), budget, together=fit.together)


def _against(
    plain: Gradients, name: str, fit: Fit, rows: Many[Sequence], arithmetic: Arithmetic, *, bound: float
) -> Check:
    """Compare the training step, in one forest and cut, with the plain padded step of the libraries."""
    found, told = [], []
    with fit.way.attention(fit.model):
        for budget in budgets(rows)[:2]:
            work = _arranged(fit, rows, budget)
            told.append(_told(work))
            found.append(apart(forest_gradients(fit.model, fit.objective, work, arithmetic), plain))
    return judged(name, found, bound=bound, detail=f"{len(plain)} weights; {'; '.join(told)}")


def _told(work: Arrangement) -> str:
    """Say how rows are arranged."""
    count = len(work.forests)
    shared = sum(trunk.forest.tokens for trunk in work.trunks)
    above = f" on a trunk of {shared} tokens" if shared else ""
    return f"{count} forest{'s' * (count > 1)}{above}"


def _accumulation(fit: Fit, rows: Many[Sequence], arithmetic: Arithmetic) -> Check:
    """Compare every budget with everything at once: whatever the parts, the step's weight divides once."""
    with fit.way.attention(fit.model):
        works = [_arranged(fit, rows, budget) for budget in budgets(rows)]
        whole, *parts = (forest_gradients(fit.model, fit.objective, work, arithmetic) for work in works)
    numbers = ", ".join(str(len(work.forests)) for work in works[1:])
    found = [apart(part, whole) for part in parts]
    return judged(ACCUMULATION, found, bound=_EXACT, detail=f"parts: {numbers} against {len(works[0].forests)}")


def _resume(base: Base, plan: TrainingPlan, few: Material, steps: int) -> Check:
    """Train a few steps with the user's settings, on more than one epoch where there are enough steps."""
    rows = [few.train.sequence(number) for number in range(len(few.train))]
    count = few.trained_rows
    rows_per_step = max(1, -(-count * 2 // (steps + 1)))
    changes = {
        "epochs": 1000.0, "max_steps": steps, "rows_per_step": min(rows_per_step, count), "checks": 1,
        "checkpoint_every": max(1, steps // 2),
        "micro_batch_tokens": min(plan.train.micro_batch_tokens or 4096, max(1, sum(map(needed, rows)) // 4)),
    }  # fmt: skip
    short = dataclasses.replace(plan, train=plan.train.model_copy(update=changes))
    return resumed(lambda folder: ready(folder, base, short, few, Silent()), steps)


def _still(model: torch.nn.Module) -> None:
    """Switch dropout off, and leave recomputing of activations on where the run asks for it."""
    model.eval()
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer) and module.gradient_checkpointing:
            module.training = True


def _facts(fit: Fit, base: Base, rows: Many[Sequence], of: int) -> tuple[tuple[str, Cell], ...]:
    work = _arranged(fit, rows, budgets(rows)[0])
    count = len(rows) // fit.together
    padded = len(rows) * max(len(row) for row in rows)
    how = fit.way.reasoned()
    return (
        ("base", base.name),
        ("rows", f"{count} of {of:,}, the longest with {max(len(row) for row in rows)} tokens"),
        ("tokens", f"{padded:,} padded, {work.given:,} given, {work.computed:,} computed"),
        ("computed as", str(how.value)),
        ("trained weights", len(trained_parameters(fit.model))),
        ("precision", "bfloat16" if fit.arithmetic.bfloat16 else "float32"),
        ("device", fit.arithmetic.device.type),
    )
