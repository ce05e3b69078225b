"""What a model's sizes are from its configuration alone: built on torch's meta device, where weights take no room."""

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from metier.core.errors import ModelError
from metier.model.configuration import read_config
from metier.model.layers import decoder_layers
from metier.model.quiet import LIBRARY_FAULTS, quiet


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Numbers in a model.

    All `parameters` (tied ones once), those of the `linear` layers beneath the head (what every token is multiplied
    with), those of the `head` (what every label is multiplied with), and its number of `layers`.
    """

    parameters: int
    linear: int
    head: int
    layers: int


def outline(folder: Path, *, layers: int | None = None) -> PreTrainedModel:
    """Build the model of `folder/config.json` without numbers, in float32.

    Args:
        folder: holds config.json; weights are not looked at.
        layers: keep only so many of the first decoder layers. None: all.

    Raises:
        ModelError: no model can be built of this configuration.
    """
    config = read_config(folder)
    try:
        with quiet(), torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    except LIBRARY_FAULTS as error:
        raise ModelError(f"{folder}/config.json: no model can be built ({error})", "sizes that fit together") from error
    if layers is not None:
        kept = decoder_layers(model)
        del kept[layers:]
        model.config.get_text_config().num_hidden_layers = layers
    return model


def sizes(model: PreTrainedModel) -> Sizes:
    """Count the numbers of a model, loaded or in outline."""
    head = model.get_output_embeddings()
    linear = sum(
        module.weight.numel()
        for module in model.modules()
        if isinstance(module, (torch.nn.Linear, Conv1D)) and module is not head
    )
    return Sizes(
        parameters=sum(weight.numel() for weight in model.parameters()),
        linear=linear,
        head=head.weight.numel() if isinstance(head, torch.nn.Linear) else 0,
        layers=model.config.get_text_config().num_hidden_layers,
    )


def stored_parameters(folder: Path) -> int | None:
    """Count the numbers in a folder's *.safetensors from their headers alone. None: no weights there.

    Raises:
        ModelError: a header is not readable.
    """
    files = sorted(folder.glob("*.safetensors"))
    return sum(_in_header(path) for path in files) if files else None


def _in_header(path: Path) -> int:
    with path.open("rb") as stream:
        try:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(min(length, path.stat().st_size)))
            return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
        except (struct.error, ValueError, LookupError, TypeError, AttributeError) as error:
            raise ModelError(f"{path}: its header is not readable", "a safetensors file") from error
