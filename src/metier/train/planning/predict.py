"""Predict what memory a configuration needs, part by part, from a step that was only gone through."""

from collections.abc import Sequence as Many
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import PreTrainedModel

from metier.core.errors import SettingsError
from metier.core.types import Sequence
from metier.forest.arrange import Arrangement
from metier.forest.way import ALONE, Way
from metier.model.adapt import adapt, count_parameters, stays_as_stored
from metier.model.configuration import read_config
from metier.model.find import Base
from metier.model.head import give_head
from metier.model.lora import packed_bytes
from metier.model.product import is_wide
from metier.model.quantise.freeze import Quantisation, quantise
from metier.model.quiet import LIBRARY_FAULTS, quiet
from metier.model.settings import ModelSettings
from metier.model.shapes import Sizes, outline, sizes
from metier.model.stored import is_in_bfloat16
from metier.model.ways.virtual import stands_in_front
from metier.text.targets import Targets
from metier.train.objectives.classify import Headed
from metier.train.objectives.distil import Distil
from metier.train.objectives.prefer import TOGETHER, Prefer
from metier.train.objectives.regularised import BaseModel, Regularised
from metier.train.objectives.supervised import Objective, Supervised
from metier.train.optimisers.build import state_bytes
from metier.train.planning.simulate import go_through
from metier.train.settings import OptimiserSettings, PreferSettings, RegulariseSettings

_FEW, _MORE = 2, 4
"""Decoder layers that are gone through: what a layer adds is their difference, and every further one adds the same."""
_HELD_BY_LIBRARIES, _HELD_BY_ONEDNN = 70 << 20, 60 << 20
"""Bytes that a process grows by beside tensors once it computes: code and scratch memory of kernels; and of oneDNN,
where it multiplies everything. Allowances, not measured on their own."""
_TILE_BYTES = 4 << 18
"""Logits that exist at once; those that a head that trains keeps are seen as activations."""
_MISSED = 1.15
"""Of what the heap is gone through to hold, real runs keep up to a third more on wider models, and a little less on
narrow ones. Set so that 13 configurations of two shapes come within 15 % (docs/results/2026-11-21-plan.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One way of training: `method` as in `model.method`, at most `micro_batch_tokens` computed at once."""

    method: str
    checkpointing: bool
    micro_batch_tokens: int
    quantise: Quantisation = "none"

    @property
    def name(self) -> str:
        """What a person calls it."""
        method = {"lora": "LoRA"}.get(self.method, self.method)
        if self.quantise != "none":
            method = f"{method} (bfloat16)" if self.quantise == "bfloat16" else f"Q{method} ({self.quantise})"
        return method + (", checkpointing" if self.checkpointing else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes at the worst moment of a step; `process` is what the program holds before it has loaded anything.

    `loading`: what a base takes while it is read, before it is put into fewer bits; given back by the first step.
    """

    weights: int
    gradients: int
    optimiser: int
    activations: int
    logits: int
    process: int
    loading: int = 0

    @property
    def total(self) -> int:
        """Bytes in all."""
        step = self.weights + self.gradients + self.optimiser + self.activations + self.logits
        return self.process + max(step, self.loading)


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """A configuration gone through: what memory it takes, and how many numbers it trains."""

    configuration: Configuration
    memory: Memory
    trained: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all configurations of a run have in common; `process`: bytes that the program holds already.

    `targets`: what a head is to say; None: the model learns words. `prefers`: rows are pairs, and this is their loss.
    `distils`: what it learns is what its base says behind longer prompts.
    """

    base: Base
    model: ModelSettings
    process: int
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    regularise: RegulariseSettings = field(default_factory=RegulariseSettings)
    device: str = "cpu"
    bfloat16: bool = False
    targets: Targets | None = None
    prefers: PreferSettings | None = None
    distils: bool = False

    @property
    def width(self) -> int:
        """Hidden size of the base."""
        return read_config(self.base.folder).get_text_config().hidden_size

    def bits(self, configuration: Configuration) -> Quantisation:
        """Return the number format of the frozen base: what is stored in bfloat16 stays so where products are."""
        kind = configuration.quantise
        if kind != "none" or not self.bfloat16 or not is_in_bfloat16(self.base.folder):
            return kind
        settings = self.model.model_copy(update={"quantise": kind})
        stays = stays_as_stored(configuration.method, settings, bfloat16=True)
        return "bfloat16" if stays and self.targets is None else "none"

    @property
    def together(self) -> int:
        """How many sequences a row is, which have to be computed in one forest."""
        return 1 if self.prefers is None else TOGETHER

    def way(self, method: str) -> Way:
        """Return how a run computes a model that a method has adapted, if its base can lie in a forest."""
        return ALONE if stands_in_front(method, self.model) else Way()

    def arrange(self, sequences: Many[Sequence], budget: int, method: str) -> Arrangement:
        """Arrange a step as a run would."""
        return self.way(method).arrange(list(sequences), budget, together=self.together)

    def asked(self, model: torch.nn.Module, way: Way) -> BaseModel | None:
        """Return the base that a step asks, inside an adapted model or as a copy of it; None: it asks none."""
        return BaseModel(model, way) if self.distils or self.regularise.kl_to_base else None

    def objective(self, way: Way, base: BaseModel | None, tokens: int) -> Objective:
        """Return what a step computes: the loss on words, of pairs, of a head, or beside what the base says.

        Args:
            way: how the model is computed.
            base: as `asked` returns it.
            tokens: of a micro-batch.
        """
        if self.prefers is not None:
            return Prefer(self.prefers, way)
        if self.targets is not None:
            return Headed(self.targets.kind, way)
        if self.distils:
            assert base is not None
            return Distil(base, way, budget=tokens)
        plain, settings = Supervised(way), self.regularise
        return Regularised(plain, settings, way, base=base) if base or settings.label_smoothing else plain


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
    adapted = adapted_outline(setting, configuration, None)
    rounded = setting.bits(configuration) != "none"
    trained = count_parameters(adapted, trained_only=True)
    if count.layers > _MORE and configuration.method != "layers":
        few, more = (_peak(setting, configuration, work, layers) for layers in (_FEW, _MORE))
        peak = more + round((count.layers - _MORE) / (_MORE - _FEW) * (more - few))
    else:
        peak = _peak(setting, configuration, work, None)
    logits = min(_TILE_BYTES, 4 * count.head)
    weights = sum(weight.nbytes for weight in adapted.parameters())
    base = setting.asked(adapted, setting.way(configuration.method))
    weights += 0 if base is None else base.copied_bytes
    if setting.device == "cpu":
        weights += packed_bytes(adapted, torch.bfloat16 if setting.bfloat16 else torch.float32)
    if setting.bfloat16:  # autocast's copies; of a base in fewer bits it sees the rest alone
        weights += 2 * (count.parameters - (count.linear if rounded else 0))
    gradients = 4 * trained
    memory = Memory(
        weights=weights,
        gradients=gradients,
        optimiser=round(state_bytes(setting.optimiser, setting.regularise) * trained),
        activations=round(_MISSED * max(0, peak - gradients - logits)),
        logits=logits,
        process=setting.process + _held(setting),
        loading=_loaded(setting.base.folder, count) if rounded and setting.device == "cpu" else 0,
    )
    return Simulation(configuration=configuration, memory=memory, trained=trained)


def _loaded(folder: Path, count: Sizes) -> int:
    """Return the bytes of a base as it is read, before its layers are put into fewer bits."""
    return 4 * count.parameters - (2 * count.linear if is_in_bfloat16(folder) else 0)


def _held(setting: Setting) -> int:
    """Return what libraries hold beside tensors."""
    by_onednn = setting.device == "cpu" and not setting.bfloat16 and is_wide()
    return _HELD_BY_LIBRARIES + (_HELD_BY_ONEDNN if by_onednn else 0)


def adapted_outline(setting: Setting, configuration: Configuration, layers: int | None) -> torch.nn.Module:
    """Return the model of a configuration on the meta device, in training mode; `layers`: only the first so many."""
    return adapted(outline(setting.base.folder, layers=layers), setting, configuration)


def adapted(model: PreTrainedModel, setting: Setting, configuration: Configuration) -> torch.nn.Module:
    """Return a model as a configuration trains it, where it is.

    Raises:
        SettingsError: the settings do not go with a base in fewer bits.
        MissingExtraError: NF4 without bitsandbytes, of a model that has numbers.
    """
    if setting.targets is not None:
        model = give_head(model, setting.targets)
    settings = setting.model.model_copy(update={"quantise": configuration.quantise})
    changed = quantise(
        adapt(model, setting.base, configuration.method, settings, seed=0), setting.bits(configuration), model.device
    )
    if configuration.checkpointing:
        with quiet():
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    return changed.train()


def _peak(setting: Setting, configuration: Configuration, work: Arrangement, layers: int | None) -> int:
    model, way = adapted_outline(setting, configuration, layers), setting.way(configuration.method)

    def gone(way: Way) -> int:
        base = setting.asked(model, way)
        objective = setting.objective(way, base, configuration.micro_batch_tokens)
        return go_through(model, work, way, objective, beside=() if base is None else base.copied)

    try:
        try:
            return gone(way)
        except LIBRARY_FAULTS:
            if not way.packed:
                raise
            return gone(Way(labels_only=False, plain_head=False))
    except LIBRARY_FAULTS as error:
        raise SettingsError(f"{setting.base.name}: a step cannot be gone through ({error})", "another base") from error
