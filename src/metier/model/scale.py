"""A tuned model at base + α (tuned − base): for a while in memory, or for good in a folder.

α 0 is the base, 1 what was trained, above 1 further in the same direction. Of a LoRA the product is multiplied (what
DoRA makes of it too), whole weights are interpolated; embeddings, heads and biases that an adapter trained beside its
matrices stay as trained.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from peft.tuners.lora.layer import LoraLayer
from safetensors.torch import load_file, save_file

from metier.core.artefact import MANIFEST
from metier.core.errors import DataError
from metier.model.adapter import ADAPTER_CONFIG, ADAPTER_WEIGHTS, is_adapter
from metier.model.find import Base, read_json
from metier.model.load import load_base, load_folder
from metier.model.save import save_whole

_SECOND = ("lora_B", "lora_embedding_B")
"""Parts of the names of the matrices by which a LoRA's product is multiplied."""


def _no_scale() -> DataError:
    return DataError("the run's adapter has no scale", "a LoRA, or whole weights", "`metier frontier` needs one")


@contextmanager
def scaled(tuned: torch.nn.Module, base: torch.nn.Module, scale: float) -> Iterator[None]:
    """Put a tuned model at base + scale (tuned − base) for a while.

    Raises:
        DataError: neither is it a LoRA nor are its weights those of the base by name and shape.
    """
    layers = [layer for layer in tuned.modules() if isinstance(layer, LoraLayer)]
    if layers:
        before = [dict(layer.scaling) for layer in layers]
        for layer in layers:
            layer.scaling.update({name: value * scale for name, value in layer.scaling.items()})
        try:
            yield
        finally:
            for layer, values in zip(layers, before, strict=True):
                layer.scaling.update(values)
        return
    start = dict(base.named_parameters())
    moved = dict(tuned.named_parameters())
    if start.keys() != moved.keys():
        raise _no_scale()
    kept = {name: value.detach().clone() for name, value in moved.items()}
    with torch.no_grad():
        for name, value in moved.items():
            value.copy_(start[name] + scale * (kept[name] - start[name]))
    try:
        yield
    finally:
        with torch.no_grad():
            for name, value in moved.items():
                value.copy_(kept[name])


def write_scaled(base: Base, source: Path, folder: Path, scale: float, *, seed: int, precision: str) -> None:
    """Write what a model folder holds at another scale, with all files beside the weights as they are.

    Args:
        base: that it was trained on.
        source: the model folder of a run.
        folder: there, but for the files to be written.
        scale: α.
        seed: of a base of random weights.
        precision: number format of whole weights.

    Raises:
        DataError: an adapter that has no scale.
    """
    skipped = {MANIFEST, ADAPTER_WEIGHTS}
    for path in sorted(source.iterdir()):
        if path.is_file() and path.name not in skipped and not path.name.startswith("model"):
            shutil.copyfile(path, folder / path.name)
    if is_adapter(source):
        _write_adapter(source, folder, scale)
        return
    model = load_folder(source)
    start = dict(load_base(base, device=torch.device("cpu"), seed=seed).named_parameters())
    moved = dict(model.named_parameters())
    if start.keys() != moved.keys():
        raise _no_scale()
    with torch.no_grad():
        for name, value in moved.items():
            value.copy_(start[name] + scale * (value - start[name]))
    save_whole(model, folder, precision=precision)


def _write_adapter(source: Path, folder: Path, scale: float) -> None:
    config = source / ADAPTER_CONFIG
    if not config.is_file() or read_json(config).get("peft_type") != "LORA":
        raise _no_scale()
    tensors = load_file(str(source / ADAPTER_WEIGHTS))
    found = {name: tensor * scale if _is_second(name) else tensor for name, tensor in tensors.items()}
    save_file(found, str(folder / ADAPTER_WEIGHTS), metadata={"format": "pt"})


def _is_second(name: str) -> bool:
    return any(part in _SECOND for part in name.split("."))
