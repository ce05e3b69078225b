"""The key of pseudonyms, and the encrypted map that leads back from them."""

import hmac
import json
import os
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from metier.core import artefact, extras
from metier.core.errors import DataError, SettingsError

ENVIRONMENT = "METIER_PROTECT_KEY"
_NONCE_BYTES = 12
_FEWEST_BYTES = 32
_NEW_KEY = "`metier protect --new-key FILE` makes one"


class Key(NamedTuple):
    """Two keys made from one: `naming` makes pseudonyms, `sealing` encrypts the map; `name` tells keys apart."""

    naming: bytes
    sealing: bytes
    name: str


def read_key(file: str | None, folder: Path, environment: Mapping[str, str] = os.environ) -> Key:
    """Read the key from its file or from the environment.

    Raises:
        SettingsError: there is none, or it is too short.
    """
    if file is None:
        text, where = environment.get(ENVIRONMENT, ""), f"the environment variable {ENVIRONMENT}"
    else:
        path = folder / Path(file).expanduser()
        where = f"protect.key_file: {path}"
        if not path.is_file():
            raise SettingsError(f"{where}: no such file", "a key", _NEW_KEY)
        text = path.read_text(encoding="utf-8", errors="replace")
    try:
        master = urlsafe_b64decode(text.strip().encode())
    except ValueError:
        master = b""
    if len(master) < _FEWEST_BYTES:
        found = "empty or not set" if not text.strip() else f"not {_FEWEST_BYTES} bytes in base64"
        raise SettingsError(f"{where}: {found}", "the key for pseudonyms", _NEW_KEY)
    naming, sealing, name = (_derived(master, purpose) for purpose in (b"naming", b"sealing", b"name"))
    return Key(naming, sealing, name.hex()[:12])


def new_key(path: Path) -> None:
    """Write a new key that only its owner may read.

    Raises:
        DataError: something stands there already; a key that is lost cannot be made again.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise DataError(
            f"{path}: exists", "a new file", "name another; a key in use must not be overwritten"
        ) from error
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(urlsafe_b64encode(secrets.token_bytes(_FEWEST_BYTES)) + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def map_path(store: Path, key: Key) -> Path:
    """Return where the map of a key is kept."""
    return store / "protect" / f"{key.name}.map"


def read_map(path: Path, key: Key) -> dict[str, str]:
    """Decrypt a map: what was written -> what had stood there; empty when there is none.

    Raises:
        DataError: it was made with another key, or changed.
    """
    if not path.is_file():
        return {}
    data = path.read_bytes()
    wrong = extras.load("cryptography.exceptions", "protect").InvalidTag
    try:
        plain = _cipher(key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], key.name.encode())
    except (wrong, ValueError) as error:
        raise DataError(
            f"{path}: does not open with this key", "the key it was made with, and an unchanged file"
        ) from error
    return json.loads(plain)


def write_map(path: Path, key: Key, entries: Mapping[str, str]) -> None:
    """Encrypt and write a map, whole or not at all."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = _cipher(key).encrypt(nonce, json.dumps(dict(entries), ensure_ascii=False).encode(), key.name.encode())
    artefact.write_file(path, nonce + sealed)
    path.chmod(0o600)


def _cipher(key: Key) -> Any:
    return extras.load("cryptography.hazmat.primitives.ciphers.aead", "protect").AESGCM(key.sealing)


def _derived(master: bytes, purpose: bytes) -> bytes:
    """Derive a key for one purpose: a keyed hash of 32 random bytes is as good as any (RFC 5869 with one block)."""
    return hmac.digest(hmac.digest(b"metier protect", master, "sha256"), purpose + b"\x01", "sha256")
