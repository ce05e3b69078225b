"""Predict what a configuration needs: memory part by part, and time, from a step that was only gone through."""

from collections import Counter
from dataclasses import dataclass

import torch

from metier.core.errors import SettingsError
from metier.forest.arrange import Arrangement
from metier.forest.way import Way
from metier.model.adapt import adapt, count_parameters
from metier.model.find import Base
from metier.model.quiet import LIBRARY_FAULTS
from metier.model.settings import ModelSettings
from metier.model.shapes import outline, sizes
from metier.train.planning.rates import Rates, measure
from metier.train.planning.simulate import Product, Trace, Work, go_through, largest

_FEW, _MORE = 2, 4
"""Decoder layers that are gone through: what a layer adds is their difference, and every further one adds the same."""
_HELD_BY_LIBRARIES = 70 << 20
"""Bytes that a process grows by beside tensors once it computes: code and scratch memory of kernels. An allowance, not
measured on its own."""
_HOLES = {False: 0.25, True: 1.8}
"""Memory that the C library keeps in holes between tensors, as a share of activations, without and with checkpointing.
Fitted on three runs of the 15M shape (docs/results/2026-11-21-plan.md); with every block given back at once, what was
gone through came within 5 % of the peak."""
_STATE_BYTES = 8
"""Bytes of AdamW's two averages for a number that trains."""
_TILE_BYTES = 4 << 18
"""Logits that exist at once; those that a head that trains keeps are seen as activations."""
_STORED = {"nf4": 0.5 + 4 / 64, "int8": 1.0}
"""Bytes of a number of a quantised base, with its scales (nf4: a float32 for every 64)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One way of training: `method` as in `model.method`, at most `micro_batch_tokens` computed at once."""

    method: str
    checkpointing: bool
    micro_batch_tokens: int
    quantise: str | None = None

    @property
    def name(self) -> str:
        """What a person calls it."""
        method = f"QLoRA ({self.quantise})" if self.quantise else {"lora": "LoRA"}.get(self.method, self.method)
        return method + (", checkpointing" if self.checkpointing else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes at the worst moment of a step; `process` is what the program holds before it has loaded anything."""

    weights: int
    gradients: int
    optimiser: int
    activations: int
    logits: int
    process: int

    @property
    def total(self) -> int:
        """Bytes in all."""
        return self.weights + self.gradients + self.optimiser + self.activations + self.logits + self.process


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """A configuration gone through: its memory, and the work of the trunk and of one forest of `forest_tokens`."""

    configuration: Configuration
    memory: Memory
    trained: int
    trunk: Work
    forest: Work
    forest_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all configurations of a run have in common."""

    base: Base
    model: ModelSettings
    process: int
    device: str = "cpu"
    bfloat16: bool = False


def simulate(setting: Setting, configuration: Configuration, work: Arrangement) -> Simulation:
    """Go through a step in a configuration.

    Args:
        setting: the base and what is adapted.
        configuration: what to try.
        work: the heaviest step, arranged for its `micro_batch_tokens`.

    Raises:
        SettingsError: the architecture does not let itself be gone through.
    """
    whole = outline(setting.base.folder)
    count = sizes(whole)
    adapted = _adapted(setting, configuration, None)
    trained, held = count_parameters(adapted, trained_only=True), count_parameters(adapted)
    shortened = count.layers > _MORE and configuration.method != "layers"
    if shortened:
        few, more = (_trace(setting, configuration, work, layers) for layers in (_FEW, _MORE))
        trace = _extended(few, more, count.layers)
    else:
        trace = _trace(setting, configuration, work, None)
    logits = min(_TILE_BYTES, 4 * count.head)
    weights = 4 * held
    if configuration.quantise is not None:
        weights -= round(count.linear * (4 - _STORED[configuration.quantise]))
    if setting.bfloat16:
        weights += 2 * count.parameters  # autocast's copies
    gradients = 4 * trained
    activations = max(0, trace.peak - gradients - logits)
    memory = Memory(
        weights=weights,
        gradients=gradients,
        optimiser=_STATE_BYTES * trained,
        activations=round(activations * (1 + _HOLES[configuration.checkpointing])),
        logits=logits,
        process=setting.process + _HELD_BY_LIBRARIES,
    )
    return Simulation(
        configuration=configuration, memory=memory, trained=trained, trunk=trace.trunk, forest=trace.forest,
        forest_tokens=largest(work).tokens,
    )  # fmt: skip


def _adapted(setting: Setting, configuration: Configuration, layers: int | None) -> torch.nn.Module:
    model = outline(setting.base.folder, layers=layers)
    adapted = adapt(model, setting.base, configuration.method, setting.model, seed=0)
    if configuration.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    return adapted.train()


def _trace(setting: Setting, configuration: Configuration, work: Arrangement, layers: int | None) -> Trace:
    model = _adapted(setting, configuration, layers)
    try:
        try:
            return go_through(model, work, Way())
        except LIBRARY_FAULTS:
            return go_through(model, work, Way(labels_only=False, plain_head=False))
    except LIBRARY_FAULTS as error:
        raise SettingsError(f"{setting.base.name}: a step cannot be gone through ({error})", "another base") from error


def _extended(few: Trace, more: Trace, layers: int) -> Trace:
    """Carry what two lengths of a model needed on to its own: every layer adds the same."""
    steps = (layers - _MORE) / (_MORE - _FEW)
    return Trace(
        peak=round(more.peak + steps * (more.peak - few.peak)),
        trunk=_extended_work(few.trunk, more.trunk, steps),
        forest=_extended_work(few.forest, more.forest, steps),
    )


def _extended_work(few: Work, more: Work, steps: float) -> Work:
    products: Counter[Product] = Counter()
    for shape in more.products:
        products[shape] = round(more.products[shape] + steps * (more.products[shape] - few.products[shape]))
    return Work(
        products=products,
        attention_flops=more.attention_flops + steps * (more.attention_flops - few.attention_flops),
        attention_calls=round(more.attention_calls + steps * (more.attention_calls - few.attention_calls)),
        moved=more.moved + steps * (more.moved - few.moved),
        calls=round(more.calls + steps * (more.calls - few.calls)),
    )


def step_seconds(simulation: Simulation, work: Arrangement, rates: Rates) -> float:
    """Return how long one step of the arrangement takes: its trunk, its forests, the optimiser."""
    forests = sum(forest.tokens for _, forest in work.forests) / simulation.forest_tokens
    # AdamW reads a weight, its gradient and two averages, and writes all but the gradient; the norm reads once more
    updates = simulation.trained * 4 * 8 / rates.bytes
    return rates.seconds(simulation.trunk) + forests * rates.seconds(simulation.forest) + updates


def measured_rates(simulation: Simulation, setting: Setting, device: torch.device) -> Rates:
    """Measure the products of a configuration on this machine."""
    config = outline(setting.base.folder, layers=1).config.get_text_config()
    width = config.hidden_size // config.num_attention_heads
    dtype = torch.bfloat16 if setting.bfloat16 else torch.float32
    return measure(simulation.forest, device=device, dtype=dtype, width=width)
