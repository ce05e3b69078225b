"""What a run is put together from: its order of rows, its objective, the context that the model computes in."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from metier.core.progress import Progress
from metier.core.types import Reasoned
from metier.forest.frozen import above
from metier.forest.way import Way
from metier.text.rendered import Rendered
from metier.train import frozen
from metier.train.batches import Curriculum, Order
from metier.train.fit import Fit
from metier.train.noise import noisy
from metier.train.objectives.classify import Headed
from metier.train.objectives.distil import Distil
from metier.train.objectives.prefer import Prefer
from metier.train.objectives.regularised import Attention, BaseModel, Regularised
from metier.train.objectives.reinforce import Reinforce
from metier.train.objectives.supervised import Objective, Supervised
from metier.train.replay import MixedOrder, count_per_step
from metier.train.settings import RegulariseSettings, TrainSettings
from metier.train.views import View


def order(
    settings: TrainSettings, rows: tuple[int, int], epochs: float, seed: int, *, curriculum: Curriculum | None = None
) -> Order | MixedOrder:
    """Return which rows each step trains on.

    Args:
        settings: rows a step, steps, replay.
        rows: number of the project's own rows, and of general rows.
        epochs: passes over the project's own rows.
        seed: of the permutations.
        curriculum: of the project's own rows.
    """
    own_rows, general_rows = rows
    general_per_step = count_per_step(settings.regularise, settings.rows_per_step)
    own_per_step = settings.rows_per_step - general_per_step
    total_rows = max(1, round(epochs * own_rows))
    if settings.max_steps is not None:
        total_rows = min(total_rows, settings.max_steps * own_per_step)
    own = Order(own_rows, own_per_step, total_rows, seed, curriculum=curriculum)
    return MixedOrder(own, general_rows, general_per_step, seed) if general_per_step else own


def objective(model: torch.nn.Module, train: TrainSettings, way: Way, *, view: View, progress: Progress) -> Objective:
    """Return the objective of a run; call before the model takes a step, since the base may have to be copied."""
    settings = train.regularise
    if view.targets is not None:
        return Headed(view.targets.kind, way)
    if view.prefers:
        return Prefer(view.objective.prefer, way)
    if view.rewards:
        pull = settings.kl_to_base
        base = _base(model, way, "regularise.kl_to_base", progress) if pull else None
        return Reinforce(way, base=base, pull=pull)
    if view.distils:
        assert train.micro_batch_tokens is not None  # chosen by then
        return Distil(_base(model, way, "objective distil", progress), way, budget=train.micro_batch_tokens)
    plain = Supervised(way)
    if not settings.label_smoothing and not settings.kl_to_base:
        return plain
    base = _base(model, way, "regularise.kl_to_base", progress) if settings.kl_to_base else None
    return Regularised(plain, settings, way, base=base)


def _base(model: torch.nn.Module, way: Way, wanted_by: str, progress: Progress) -> BaseModel:
    base = BaseModel(model, way)
    if base.copied_bytes:
        progress.say(f"train.{wanted_by}: a frozen copy of the base takes {base.copied_bytes / 1e6:.1f} MB")
    return base


def disturbed(attention: Attention, settings: RegulariseSettings, rows: Rendered) -> Attention:
    """Return the context that the model computes in, with noise on its embeddings where that is wanted."""
    if settings.neftune_alpha is None:
        return attention

    @contextmanager
    def both(model: torch.nn.Module) -> Iterator[None]:
        with attention(model), noisy(model, settings.neftune_alpha, float(rows.lengths().mean())):
            yield

    return both


def without_states(fit: Fit, progress: Progress, reason: str) -> Fit:
    """Return a run as it is, and say why its frozen lowest layers are computed at every pass, if it has any."""
    if frozen.lowest_trained(fit.model):
        progress.chose(Reasoned(name=frozen.CHOICE, value=0, reason=reason))
    return fit


def with_states(fit: Fit, bound_gb: float, progress: Progress, *, folder: Path) -> Fit:
    """Return a run that computes its frozen lowest layers once, where that is possible, pays and is exact.

    Args:
        fit: the run without.
        bound_gb: most gigabytes on disk.
        progress: told of the choice.
        folder: where the states are kept, or were kept by another run with the same frozen layers and rows.
    """
    if not frozen.lowest_trained(fit.model):
        return fit
    trained = [fit.rendered.sequence(number) for number in range(len(fit.rendered))]
    sequences = [*trained, *fit.validation]
    passes = fit.order.steps * fit.settings.rows_per_step / len(trained)
    choice = frozen.worth(fit.model, sequences, passes=passes, bound_gb=bound_gb)
    if not choice.value:
        progress.chose(choice)
        return fit
    kept = frozen.keep(folder, fit.model, fit.way, sequences, arithmetic=fit.arithmetic, progress=progress)
    rows = fit.order.step(0)
    assert fit.settings.micro_batch_tokens is not None  # chosen by then
    work = fit.way.arrange([trained[row] for row in rows], fit.settings.micro_batch_tokens)
    error = frozen.check(fit.model, fit.way, work, kept, rows)
    if error > frozen.TOLERANCE:
        reason = f"losses from kept states differ by {error:.1e} nats on this base"
        progress.chose(Reasoned(name=choice.name, value=0, reason=reason))
        return fit
    progress.chose(choice)

    @contextmanager
    def from_there(model: torch.nn.Module) -> Iterator[None]:
        with fit.attention(model), above(model, kept.layer):
            yield

    return replace(fit, frozen=kept, attention=from_there)
