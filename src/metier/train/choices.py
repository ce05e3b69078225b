"""What a run derives from the data and the model, each with the reason that is printed and kept."""

import os

import psutil
import torch

from metier.core.errors import SettingsError
from metier.core.types import Reasoned
from metier.model.settings import ModelSettings
from metier.train.settings import TrainSettings

_ROWS_SEEN = 3500
_MOST_EPOCHS = 10


def epochs(settings: TrainSettings, rows: int, *, plain_text: bool) -> Reasoned:
    """Choose the number of passes over the rows."""
    name = "train.epochs"
    if settings.epochs is not None:
        return Reasoned(name=name, value=settings.epochs, reason="as set")
    if plain_text:
        return Reasoned(name=name, value=1.0, reason="plain text is read once")
    value = float(min(_MOST_EPOCHS, max(3, -(-_ROWS_SEEN // rows))))
    return Reasoned(name=name, value=value, reason=f"{rows:,} rows; early stopping watches the validation loss")


def learning_rate(settings: TrainSettings, method: str, parameters: int) -> Reasoned:
    """Choose the peak learning rate."""
    name = "train.learning_rate"
    if settings.learning_rate is not None:
        return Reasoned(name=name, value=settings.learning_rate, reason="as set")
    small = parameters < 20_000_000
    if method == "lora":
        value = 2e-3 if small else 2e-4
        return Reasoned(name=name, value=value, reason=f"LoRA on {parameters / 1e6:.1f} million parameters")
    value = 1e-3 if small else 2e-5 if parameters > 500_000_000 else 1e-4
    return Reasoned(name=name, value=value, reason=f"{method} training of {parameters / 1e6:.1f} million parameters")


def threads(settings: TrainSettings) -> Reasoned:
    """Choose the number of CPU threads; results are bit-identical for the same number."""
    name = "train.threads"
    if settings.threads is not None:
        return Reasoned(name=name, value=settings.threads, reason="as set")
    if (limit := os.environ.get("OMP_NUM_THREADS", "")).isdigit() and int(limit) > 0:
        return Reasoned(name=name, value=int(limit), reason="OMP_NUM_THREADS says so")
    count = min(psutil.cpu_count(logical=False) or os.cpu_count() or 1, len(os.sched_getaffinity(0)))
    return Reasoned(name=name, value=count, reason=f"{count} {'core' if count == 1 else 'cores'} may be used here")


def precision(settings: ModelSettings, device: torch.device) -> Reasoned:
    """Choose the arithmetic of the matrix products."""
    name = "model.precision"
    if settings.precision != "auto":
        if settings.precision == "bfloat16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
            raise SettingsError("model.precision bfloat16", "a GPU that has it", "set float32")
        return Reasoned(name=name, value=settings.precision, reason="as set")
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return Reasoned(name=name, value="bfloat16", reason="this GPU has it; trained weights stay float32")
    return Reasoned(name=name, value="float32", reason=f"exact and fast enough on this {device.type}")
