"""Find a base: a bundled name, a folder, a hub id, or a configuration to start from at random; imports no torch."""

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from safetensors import SafetensorError, safe_open

from metier.core import digest
from metier.core.errors import ModelError
from metier.core.table import nearest

BUNDLED = {"metier-tiny": Path(__file__).parent.parent / "bundled" / "tiny" / "model"}
"""Bundled bases: name -> folder."""

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "generation_config.json",
)
"""What travels with the weights, so that a saved model renders as it was trained."""

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_WHOLE_HASH_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A base model on disk. `digest` identifies configuration, tokenizer and weights; `kind` says where it came from.

    A base of kind "config" has no weights: it starts from random numbers.
    """

    name: str
    folder: Path
    kind: Literal["bundled", "folder", "hub", "config"]
    digest: str

    @property
    def config(self) -> dict[str, Any]:
        """The model's configuration as it stands on disk, unchecked."""
        return read_json(self.folder / "config.json")


def find(reference: str, folder: Path, *, weights: bool = True) -> Base:
    """Find a base by name.

    Args:
        reference: a bundled name, a folder (relative to `folder`), or a hub id such as "org/name".
        folder: the project's folder.
        weights: False: configuration and tokenizer are enough, for a plan; weights are not looked at or downloaded.

    Raises:
        ModelError: nothing of that name, or what is there cannot be used; says what to do.
    """
    if reference in BUNDLED:
        return _checked(reference, BUNDLED[reference], "bundled", weights)
    local = _local(reference, folder)
    if local.is_dir():
        return _checked(reference, local, "folder", weights)
    if local.exists():
        raise ModelError(f"base {reference!r}: a file", "a folder with config.json, tokenizer.json and *.safetensors")
    if reference.count("/") == 1 and not reference.startswith((".", "/", "~")):
        return _checked(reference, _download(reference, weights), "hub", weights)
    close = nearest(reference, BUNDLED)
    raise ModelError(
        f"base {reference!r}: no such folder ({local})",
        f"a bundled base ({', '.join(BUNDLED)}), a folder, or a hub id such as org/name",
        f"did you mean {close!r}?" if close else "",
    )


def find_config(reference: str, folder: Path) -> Base:
    """Find a folder that holds only a configuration and a tokenizer: a base with random weights.

    Raises:
        ModelError: the folder or one of its files is missing.
    """
    local = _local(reference, folder)
    local = local.parent if local.name == "config.json" else local
    _require(local, "config.json")
    _require(local, "tokenizer.json")
    return Base(name=reference, folder=local, kind="config", digest=_digest(local, weights=False))


def _local(reference: str, folder: Path) -> Path:
    """Return the place that a reference would name on this disk.

    Raises:
        ModelError: it can name none (too long, a NUL in it, a home folder of nobody).
    """
    try:
        place = (folder / Path(reference).expanduser()).resolve()
        place.exists()
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"base {reference[:80]!r}: {error}"[:300], "a bundled base, a folder, or a hub id") from error
    return place


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ModelError: the file is missing, is not JSON or not an object.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})", "a JSON file") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"{path}: not JSON ({error})", "a JSON object", "copy the file again from its source"
        ) from error
    if not isinstance(data, dict):
        raise ModelError(f"{path}: a JSON {type(data).__name__}", "a JSON object")
    return data


def _checked(name: str, folder: Path, kind: Literal["bundled", "folder", "hub"], weights: bool) -> Base:
    _require(folder, "config.json")
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            f"{folder}: an adapter", "a whole base model", "name the base it belongs to, or merge it first"
        )
    read_json(folder / "config.json")
    if weights:
        _check_weights(folder)
    _require(folder, "tokenizer.json")
    return Base(name=name, folder=folder, kind=kind, digest=_digest(folder, weights=weights))


def _check_weights(folder: Path) -> None:
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        pickles = [path.name for pattern in _PICKLES for path in folder.glob(pattern)]
        if pickles:
            raise ModelError(
                f"{folder}: weights only as pickle ({', '.join(sorted(pickles)[:3])})",
                "*.safetensors (a pickle can run code, so metier never opens one)",
                "convert it with `safetensors` in a machine you can lose, or take a safetensors copy of the model",
            )
        raise ModelError(f"{folder}: no *.safetensors", "the model's weights")
    for path in found:
        check_safetensors(path)


def _require(folder: Path, name: str) -> None:
    if not (folder / name).is_file():
        raise ModelError(f"{folder}: no {name}", "a Hugging Face model folder with config.json and tokenizer.json")


def check_safetensors(path: Path) -> None:
    """Check that a safetensors file is whole: its header is readable and its size is what the header says.

    Raises:
        ModelError: it is truncated or not a safetensors file.
    """
    size = path.stat().st_size
    do = "copy or download the file again"
    with path.open("rb") as stream:
        start = stream.read(8)
        if len(start) < 8:
            raise ModelError(f"{path}: {size} bytes", "a safetensors file", do)
        (length,) = struct.unpack("<Q", start)
        if length > size - 8:
            raise ModelError(f"{path}: cut off in its header ({size:,} bytes)", "a whole safetensors file", do)
        try:
            header = json.loads(stream.read(length))
            end = max(
                (int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"), default=0
            )
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            raise ModelError(f"{path}: its header is not readable", "a safetensors file", do) from error
    if size != 8 + length + end:
        raise ModelError(f"{path}: {size:,} bytes", f"{8 + length + end:,} bytes, as its header says", do)
    try:
        safe_open(path, framework="numpy")
    except SafetensorError as error:
        raise ModelError(f"{path}: its header is not readable ({error})", "a safetensors file", do) from error


def _download(reference: str, weights: bool) -> Path:
    patterns = ["*.json", "*.jinja", "tokenizer.model", "LICENSE*", "README.md"]
    patterns += ["*.safetensors"] if weights else []
    try:
        return Path(snapshot_download(reference, allow_patterns=patterns))
    except HFValidationError as error:
        raise ModelError(
            f"base {reference!r}: no such folder, and no hub id",
            "a bundled base, a folder, or a hub id such as org/name",
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"base {reference!r}: not on the hub, or private", "a public id, or a token in HF_TOKEN"
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ModelError(
            f"base {reference!r}: not a folder here, and the hub cannot be reached (offline?)",
            "a bundled base, a folder, or a network connection",
            "download the model elsewhere, copy its folder here and give its path",
        ) from error


def _digest(folder: Path, *, weights: bool) -> str:
    names = ["config.json", *TOKENIZER_FILES]
    if weights:
        names += sorted(path.name for path in folder.glob("*.safetensors"))
    return digest.of_value({name: _file_digest(folder / name) for name in names if (folder / name).is_file()})


def _file_digest(path: Path) -> str:
    """Hash a file whole, or (above 256 MiB) its size, header and a sample of its bytes: minutes would be too long."""
    size = path.stat().st_size
    if size <= _WHOLE_HASH_BYTES:
        return digest.of_file(path)
    with path.open("rb") as stream:
        parts = [str(size).encode(), stream.read(1 << 20)]
        for place in range(1, 17):
            stream.seek(size * place // 17)
            parts.append(stream.read(1 << 16))
    return digest.of_bytes(b"".join(parts))
