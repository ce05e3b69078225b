"""What the weight files of a folder hold, from their headers alone; imports no torch."""

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from metier.core.errors import ModelError
from metier.model.find import read_json


def stored_parameters(folder: Path) -> int | None:
    """Count the numbers in a folder's *.safetensors. None: no weights there.

    Raises:
        ModelError: a header is not readable.
    """
    entries = list(_entries(folder))
    return sum(math.prod(shape) for shape, _ in entries) if entries else None


def is_in_bfloat16(folder: Path) -> bool:
    """Tell whether all weights of a base are stored in bfloat16; without weights, whether its configuration says so.

    Raises:
        ModelError: a header, or config.json, is not readable.
    """
    kinds = {kind for _, kind in _entries(folder)}
    if kinds:
        return kinds == {"BF16"}
    config = read_json(folder / "config.json")
    return config.get("dtype", config.get("torch_dtype")) == "bfloat16"


def _entries(folder: Path) -> Iterator[tuple[list[int], str]]:
    """Yield the shape and the number format of every tensor."""
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as stream:
            try:
                (length,) = struct.unpack("<Q", stream.read(8))
                header: dict[str, Any] = json.loads(stream.read(min(length, path.stat().st_size)))
                found = [
                    ([int(size) for size in entry["shape"]], str(entry["dtype"]))
                    for name, entry in header.items()
                    if name != "__metadata__"
                ]
            except (struct.error, ValueError, LookupError, TypeError, AttributeError) as error:
                raise ModelError(f"{path}: its header is not readable", "a safetensors file") from error
        yield from found
