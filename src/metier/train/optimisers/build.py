"""The optimisers by name, each from torch or from a kept library.

AdamW: Loshchilov & Hutter 2019, algorithm 2. 8-bit AdamW: Dettmers et al. 2022, by bitsandbytes. Muon: Jordan 2024,
with the update scaled to the size of AdamW's (Liu et al. 2025), so that rates carry over. Adafactor: Shazeer & Stern
2018; its rate is relative to the size of each weight. Schedule-free: Defazio et al. 2024.
"""

from collections.abc import Callable

import torch

from metier.core import extras
from metier.core.errors import SettingsError
from metier.core.table import find
from metier.train.optimisers.average import Average
from metier.train.optimisers.groups import Weight, classify, groups, trained_parameters
from metier.train.optimisers.optimiser import Optimiser, Pull
from metier.train.settings import OptimiserSettings, RegulariseSettings

_MUON_MOMENTUM = 0.95
_SGD_MOMENTUM = 0.9

Parts = tuple[torch.optim.Optimizer, ...]


def build(model: torch.nn.Module, settings: OptimiserSettings, regularise: RegulariseSettings) -> Optimiser:
    """Make the optimiser of a run; rates are set at every step.

    Args:
        model: as it starts: what `l2_to_base` pulls towards is copied here.
        settings: which optimiser, and how.
        regularise: whether weights are averaged or pulled.

    Raises:
        SettingsError: settings that contradict each other or the method.
        MissingExtraError: the library of this optimiser is not installed.
    """
    averages = settings.name == "schedule-free"
    if averages and (regularise.ema is not None or regularise.l2_to_base):
        raise SettingsError(
            "train.optimiser.name schedule-free with train.regularise.ema or l2_to_base",
            "one of them: schedule-free keeps an average of its own",
        )
    weights = classify(model, settings)
    named = trained_parameters(model)
    if regularise.l2_to_base and any(".lora_" in name for name in named):
        raise SettingsError(
            "train.regularise.l2_to_base with LoRA",
            "model.method full or layers",
            "use train.optimiser.weight_decay: it pulls an adapter towards no change",
        )
    return Optimiser(
        named,
        find(OPTIMISERS, settings.name, "optimiser")(weights, settings),
        average=Average(named, regularise.ema) if regularise.ema is not None else None,
        pull=Pull(named, regularise.l2_to_base) if regularise.l2_to_base else None,
    )


def _adamw(weights: list[Weight], settings: OptimiserSettings) -> Parts:
    return (torch.optim.AdamW(groups(weights, settings), lr=0.0, betas=settings.betas, fused=True),)


def _adamw_8bit(weights: list[Weight], settings: OptimiserSettings) -> Parts:
    library = extras.load("bitsandbytes", "adamw-8bit")
    return (library.optim.AdamW8bit(groups(weights, settings), lr=0.0, betas=settings.betas),)


def _muon(weights: list[Weight], settings: OptimiserSettings) -> Parts:
    hidden = [weight for weight in weights if weight.hidden]
    rest = [weight for weight in weights if not weight.hidden]
    if not hidden:
        raise SettingsError("train.optimiser.name muon", "matrices in hidden layers that train", "adamw")
    momentum = _MUON_MOMENTUM if settings.momentum is None else settings.momentum
    decay = settings.weight_decay
    muon = torch.optim.Muon(
        groups(hidden, settings), lr=0.0, momentum=momentum, weight_decay=decay, adjust_lr_fn="match_rms_adamw"
    )
    return (muon, *_adamw(rest, settings)) if rest else (muon,)


def _adafactor(weights: list[Weight], settings: OptimiserSettings) -> Parts:
    return (torch.optim.Adafactor(groups(weights, settings), lr=0.0),)


def _sgd(weights: list[Weight], settings: OptimiserSettings) -> Parts:
    momentum = _SGD_MOMENTUM if settings.momentum is None else settings.momentum
    return (torch.optim.SGD(groups(weights, settings), lr=0.0, momentum=momentum),)


def _schedule_free(weights: list[Weight], settings: OptimiserSettings) -> Parts:
    library = extras.load("schedulefree", "schedule-free")
    return (library.AdamWScheduleFree(groups(weights, settings), lr=0.0, betas=settings.betas),)


OPTIMISERS: dict[str, Callable[[list[Weight], OptimiserSettings], Parts]] = {
    "adamw": _adamw,
    "adamw-8bit": _adamw_8bit,
    "muon": _muon,
    "adafactor": _adafactor,
    "sgd": _sgd,
    "schedule-free": _schedule_free,
}
"""Name -> the optimisers of torch that share the weights."""

STATE_BYTES = {"adamw": 8, "adamw-8bit": 2, "muon": 4, "adafactor": 0, "sgd": 4, "schedule-free": 8}
"""Bytes that each keeps for a number that trains, in float32: averages, momentum. Adafactor keeps rows and columns;
what Muon leaves to AdamW is a small part."""


def state_bytes(settings: OptimiserSettings, regularise: RegulariseSettings) -> int:
    """Return the bytes that an optimiser keeps for a number that trains; copies of the weights included."""
    copies = (regularise.ema is not None) + bool(regularise.l2_to_base)
    return STATE_BYTES[settings.name] + 4 * copies
