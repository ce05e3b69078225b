"""Content hashes: of bytes, of files and of plain values."""

import hashlib
import json
from pathlib import Path
from typing import Any

_CHUNK_BYTES = 1 << 20


def canonical_json(value: Any) -> str:
    """Write a plain value as JSON with sorted keys and no spaces, so that equal values give equal text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def of_bytes(data: bytes) -> str:
    """Return the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def of_value(value: Any) -> str:
    """Return the SHA-256 of a plain value (dicts, lists, strings, numbers) in hexadecimal."""
    return of_bytes(canonical_json(value).encode())


def of_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, read in chunks."""
    hasher = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            hasher.update(chunk)
    return hasher.hexdigest()
