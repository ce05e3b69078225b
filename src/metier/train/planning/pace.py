"""How long a step takes here: a model of the same shape, but with few layers, is trained for a moment."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from time import perf_counter, process_time

import torch
from transformers import PreTrainedModel

from metier.core.errors import MissingExtraError, ModelError
from metier.forest import score
from metier.forest.arrange import Arrangement
from metier.model.adapt import count_parameters
from metier.model.linear import summed
from metier.model.lora import packed_frozen
from metier.model.quiet import LIBRARY_FAULTS
from metier.model.shapes import outline, sizes
from metier.train.loop import Arithmetic
from metier.train.objectives.supervised import Objective
from metier.train.optimisers.build import build
from metier.train.optimisers.optimiser import Optimiser
from metier.train.planning.predict import Configuration, Setting, adapted
from metier.train.planning.simulate import held, largest

_FEW, _MORE = 1, 2
"""Decoder layers that are trained for a moment: what a layer adds is their difference."""
_GOES = 4
"""How often a moment is repeated; the shortest counts."""
_MOST_NUMBERS = 5e8
"""Numbers in the largest model that is tried on a CPU; a larger one would make the plan dearer than the answer is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds of a step's parts: trunks of `held` tokens, a `forest` of `tokens`, the `update` of the weights.

    `reading`: those of the forest's way forwards alone.
    """

    trunk: float
    held: int
    forest: float
    tokens: int
    update: float
    reading: float

    def seconds(self, work: Arrangement) -> float:
        """Return how long a step takes."""
        tokens = sum(forest.tokens for _, forest in work.forests)
        above = self.trunk * (work.computed - tokens) / self.held if self.held else 0.0
        return above + self.forest * tokens / self.tokens + self.update


def measure(setting: Setting, configuration: Configuration, work: Arrangement) -> Pace | None:
    """Train a short model of a configuration's shape for a moment.

    Args:
        setting: the base and what is adapted.
        configuration: what to try.
        work: a step, arranged for its `micro_batch_tokens`.

    Returns:
        None: the model is too large to be tried, or does not let itself be trained with random numbers; or it would
        be rounded to what cannot be computed here.
    """
    layers = sizes(outline(setting.base.folder)).layers
    # what "the top third" of few layers is differs: such a model is tried whole
    lengths = (layers,) if configuration.method == "layers" or layers <= _MORE else (_FEW, _MORE)
    try:
        short = [outline(setting.base.folder, layers=length) for length in lengths]
        if setting.device == "cpu" and count_parameters(short[-1]) > _MOST_NUMBERS:
            return None
        found = _timed(short, setting, configuration, work)
    except (MissingExtraError, ModelError, *LIBRARY_FAULTS):
        return None
    few, more = found[0], found[-1]
    steps = layers - _MORE if len(lengths) > 1 else 0
    trunk, reading, back, update = (
        last + steps * max(0.0, last - first) for first, last in zip(few, more, strict=True)
    )  # fmt: skip
    forest = largest(work)
    return Pace(
        trunk=trunk, held=held(forest), forest=reading + back, tokens=forest.tokens, update=update, reading=reading
    )  # fmt: skip


def _timed(
    models: list[PreTrainedModel], setting: Setting, configuration: Configuration, work: Arrangement
) -> list[list[float]]:
    """Return for each model the seconds of trunk, largest forest (forwards, backwards) and update.

    They take turns, so that a machine that is slower for a while is so for all: their difference is what counts.
    """
    with ExitStack() as computing:
        goes = [_prepared(model, setting, configuration, work, computing) for model in models]
        for go in goes:
            go()  # the first is slower: memory is new, kernels are chosen
        turns = [[go() for go in goes] for _ in range(_GOES)]
    return [[min(seconds) for seconds in zip(*turn, strict=True)] for turn in zip(*turns, strict=True)]


def _prepared(
    model: PreTrainedModel, setting: Setting, configuration: Configuration, work: Arrangement, computing: ExitStack
) -> Callable[[], tuple[float, float, float, float]]:
    """Return how to go through a step of a model once."""
    device = torch.device(setting.device)
    model.to_empty(device=device)
    model.tie_weights()
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.fill_(0.01)  # what stands in new memory may be slow to compute with
    trained = adapted(model, setting, configuration)
    way = setting.way(configuration.method)
    optimiser = build(trained, setting.optimiser, setting.regularise)
    arithmetic = Arithmetic(device=device, bfloat16=setting.bfloat16)
    objective = setting.objective(way, setting.asked(trained, way), configuration.micro_batch_tokens)
    computing.enter_context(way.attention(trained))
    computing.enter_context(packed_frozen(trained, arithmetic.dtype))
    computing.enter_context(summed(trained))
    return partial(_go, trained, objective, optimiser, work, arithmetic)


def _go(
    model: torch.nn.Module, objective: Objective, optimiser: Optimiser, work: Arrangement, arithmetic: Arithmetic
) -> tuple[float, float, float, float]:
    forest = largest(work).to(arithmetic.device)
    clock = _Clock(arithmetic.device)
    with arithmetic.autocast():
        for trunk in forest.trunks:
            score.read_trunk(model, trunk)
        down = clock.lap()
        loss = objective.loss(model, forest)
        read = clock.lap()
    (loss.total / loss.weight).backward()
    learnt = clock.lap()
    for trunk in reversed(forest.trunks):
        trunk.backward()
    back = clock.lap()
    torch.nn.utils.clip_grad_norm_([weight for weight in model.parameters() if weight.requires_grad], 1.0)
    optimiser.step()
    update = clock.lap()
    if len(work.forests) == 1:  # else all but the first add to the gradients of those before
        optimiser.zero_grad(set_to_none=True)
    return down + back, read, learnt, update


class _Clock:
    """Tells seconds since it was last asked; on one thread those of this process, so that nobody else counts."""

    def __init__(self, device: torch.device) -> None:
        self._gpu = device.type == "cuda"
        self._now = perf_counter if self._gpu or torch.get_num_threads() > 1 else process_time
        self._last = self._now()

    def lap(self) -> float:
        """Return the seconds since the last lap."""
        if self._gpu:
            torch.cuda.synchronize()
        last, self._last = self._last, self._now()
        return self._last - last
