"""What a run derives from the data and the model, each with the reason that is printed and kept."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch

from metier.core import artefact
from metier.core.errors import SettingsError
from metier.core.types import Reasoned
from metier.model.arithmetic import Rates
from metier.model.settings import ModelSettings
from metier.train.settings import TrainSettings

_OF_ADAPTERS = {"bottleneck": 1e-3, "prompt": 3e-2, "prefix": 1e-2, "ia3": 1e-2, "peft": 2e-3}
"""Peak rates of methods whose weights are far from those of the base: learnt tokens and factors want large steps."""

_OF_PREFERENCES = 0.1
"""Rate of preferences as a share of that of answers: their gradient does not end where the answer is likely."""

_OF_REWARDS = 0.2
"""Rate of rewards as a share of that of answers: the gradient of a few drawn answers is noise for the most part."""

_ROWS_SEEN = 3500
_MOST_EPOCHS = 10
_BESIDE_ADAMW = {
    "adamw": (1.0, ""),
    "adamw-8bit": (1.0, ""),
    "muon": (1.0, "its updates are scaled to the size of AdamW's"),
    "adafactor": (10.0, "its rate is relative to the size of each weight"),
    "sgd": (100.0, "its updates are as small as the gradient"),
    "schedule-free": (2.0, "its average takes the noise of a larger rate out"),
}
"""Optimiser -> its learning rate as a multiple of AdamW's, and why."""
_WIDE = 512
"""Hidden size from which bfloat16 is worth its rounding on a CPU (docs/log.md, 2026-11-21)."""
_CLEARLY = 1.5
"""Gain in products below which a whole step gains next to nothing."""


def epochs(settings: TrainSettings, rows: int, *, plain_text: bool) -> Reasoned:
    """Choose the number of passes over the rows."""
    name = "train.epochs"
    if settings.epochs is not None:
        return Reasoned(name=name, value=settings.epochs, reason="as set")
    if plain_text:
        return Reasoned(name=name, value=1.0, reason="plain text is read once")
    value = float(min(_MOST_EPOCHS, max(3, -(-_ROWS_SEEN // rows))))
    return Reasoned(name=name, value=value, reason=f"{rows:,} rows; early stopping watches the validation loss")


def learning_rate(
    settings: TrainSettings, method: str, parameters: int, *, prefers: bool = False, rewards: bool = False
) -> Reasoned:
    """Choose the peak learning rate; where it is searched for, this is what the search begins with."""
    found = _unmultiplied(settings, method, parameters, prefers=prefers, rewards=rewards)
    return found if settings.learning_rate == "auto" else multiplied(found, settings)


def multiplied(found: Reasoned, settings: TrainSettings) -> Reasoned:
    """Return a peak rate times the factor that the schedule has for it."""
    factor = settings.schedule.multiplier
    if factor == 1:
        return found
    value = float(f"{found.value * factor:.12g}")  # 0.0003 rather than 0.00030000000000000003
    reason = f"{found.reason}: {found.value:g}; times {factor:g}, as train.schedule.multiplier says"
    return Reasoned(name=found.name, value=value, reason=reason)


def _unmultiplied(
    settings: TrainSettings, method: str, parameters: int, *, prefers: bool, rewards: bool
) -> Reasoned:  # fmt: skip
    name = "train.learning_rate"
    if settings.learning_rate not in (None, "auto"):
        return Reasoned(name=name, value=settings.learning_rate, reason="as set")
    small = parameters < 20_000_000
    if method == "lora":
        value, what = 2e-3 if small else 2e-4, "LoRA on"
    elif method in _OF_ADAPTERS:
        value, what = _OF_ADAPTERS[method], f"{method}: few new weights in a frozen base of"
    else:
        value, what = 1e-3 if small else 2e-5 if parameters > 500_000_000 else 1e-4, f"{method} training of"
    factor, why = _BESIDE_ADAMW[settings.optimiser.name]
    reason = f"{what} {parameters / 1e6:.1f} million parameters{f'; {factor:g} × that of AdamW: {why}' if why else ''}"
    if prefers:
        factor, reason = factor * _OF_PREFERENCES, f"{reason}; a preference is learnt at a tenth of that"
    if rewards:
        factor, reason = factor * _OF_REWARDS, f"{reason}; rewards are learnt from at a fifth of that"
    return Reasoned(name=name, value=value * factor, reason=reason)


def shape(settings: TrainSettings) -> Reasoned:
    """Choose how the learning rate falls.

    Raises:
        SettingsError: schedule-free with a schedule.
    """
    name = "train.schedule.shape"
    chosen, is_free = settings.schedule.shape, settings.optimiser.name == "schedule-free"
    if is_free and chosen not in (None, "constant"):
        raise SettingsError(f"{name} {chosen} with train.optimiser.name schedule-free", "constant, or leave it out")
    if chosen is not None:
        return Reasoned(name=name, value=chosen, reason="as set")
    if is_free:
        return Reasoned(name=name, value="constant", reason="schedule-free averages the weights instead")
    return Reasoned(name=name, value="cosine", reason="the usual one; the end of a run is where most is settled")


def no_leaps() -> Reasoned:
    """Say that the guard only looks for what is not finite where a model learns from rewards."""
    reason = "the loss of rewards is near 0 whatever is learnt: a leap of it says nothing"
    return Reasoned(name="train.guard.threshold", value=None, reason=reason)


def threads(settings: TrainSettings) -> Reasoned:
    """Choose the number of CPU threads; results are bit-identical for the same number."""
    name = "train.threads"
    if settings.threads is not None:
        return Reasoned(name=name, value=settings.threads, reason="as set")
    if (limit := os.environ.get("OMP_NUM_THREADS", "")).isdigit() and int(limit) > 0:
        return Reasoned(name=name, value=int(limit), reason="OMP_NUM_THREADS says so")
    count = min(psutil.cpu_count(logical=False) or os.cpu_count() or 1, len(os.sched_getaffinity(0)))
    return Reasoned(name=name, value=count, reason=f"{count} {'core' if count == 1 else 'cores'} may be used here")


def precision(
    settings: ModelSettings, device: torch.device, *, width: int, kept: dict[str, Any], measure: Callable[[], Rates]
) -> Reasoned:
    """Choose the arithmetic of the matrix products.

    Args:
        settings: what is asked for.
        device: that the model runs on.
        width: hidden size of the base: narrow ones spend their time elsewhere.
        kept: what this run chose when it began.
        measure: gives the speed of this machine; not asked where it does not matter.
    """
    name = "model.precision"
    if settings.precision != "auto":
        if settings.precision == "bfloat16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
            raise SettingsError("model.precision bfloat16", "a GPU that has it", "set float32")
        return Reasoned(name=name, value=settings.precision, reason="as set")
    if name in kept:
        return Reasoned(name=name, value=kept[name], reason="as this run began")
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported():
            return Reasoned(name=name, value="bfloat16", reason="this GPU has it; trained weights stay float32")
        return Reasoned(name=name, value="float32", reason="this GPU has no bfloat16; TF32 stays off")
    return _precision_of_a_cpu(name, width, measure)


def _precision_of_a_cpu(name: str, width: int, measure: Callable[[], Rates]) -> Reasoned:
    if width < _WIDE:
        return Reasoned(name=name, value="float32", reason=f"a base of width {width} gains too little from bfloat16")
    gain = measure().gain("bfloat16")
    reason = f"bfloat16 products are {gain:.1f}× as fast as float32 on this CPU"
    if gain < _CLEARLY:
        return Reasoned(name=name, value="float32", reason=reason)
    return Reasoned(name=name, value="bfloat16", reason=f"{reason}; trained weights stay float32")


def quantise(settings: ModelSettings, measure: Callable[[], Rates]) -> Reasoned:
    """Say what the chosen number format of the frozen base brings here."""
    name, kind = "model.quantise", settings.quantise
    if kind != "int8":
        return Reasoned(name=name, value=kind, reason="as set; for memory: each pass unpacks the weights again")
    found = measure()
    gains = f"int8 products are {found.gain('int8'):.1f}× as fast as float32 on this CPU"
    if found.int8 < _CLEARLY * max(found.float32, found.bfloat16):
        other = "float32" if found.float32 >= found.bfloat16 else "bfloat16"
        gains += f", {found.gain(other):.1f}× in {other}: it saves memory, not much time"
    return Reasoned(name=name, value=kind, reason=f"as set; {gains}")


def kept(run: Path) -> dict[str, Any]:
    """Return what a run chose when it began, by name; nothing for a new one."""
    path = run / "choices.json"
    if not path.is_file():
        return {}
    return {choice["name"]: choice["value"] for choice in artefact.read_json(path)}
