"""Signatures over the files of a folder, in the format of OpenSSF Model Signing, with a key pair and without a network.

A sigstore bundle (v0.3) holds a DSSE envelope, and this an in-toto statement that lists every file with its SHA-256. So
`model_signing verify key` of the OpenSSF's own library reads what is written here, and the other way round. Sources:
https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md (the bytes that are signed) and
https://github.com/sigstore/model-transparency (the statement).
"""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metier.core import artefact, digest, extras
from metier.core.errors import DataError, SignatureError

FILE = "model.sig"
"""Name of a signature in the folder that it signs."""

_EXTRA = "registry"
_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"
_HASHES = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}
_PUBLIC = "*.pub"
_DO = "put the public key of who signed it into .metier/keys, if you trust it"


def sign(name: str, files: Mapping[str, str], key: Any, *, unsigned: Sequence[str] = ()) -> str:
    """Return the text of a signature.

    Args:
        name: of what is signed.
        files: every file's name -> its SHA-256 in hexadecimal.
        key: an elliptic-curve private key of the library `cryptography`, as `read_private` returns it.
        unsigned: files of the folder that the signature does not speak of, beside itself.
    """
    payload = json.dumps(_statement(name, files, unsigned), sort_keys=True).encode()
    signed = key.sign(_signed_bytes(payload), _algorithm(key))
    bundle = {
        "mediaType": _BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": fingerprint(key.public_key())}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": _PAYLOAD,
            "signatures": [{"sig": base64.b64encode(signed).decode(), "keyid": ""}],
        },
    }
    return json.dumps(bundle, indent=1) + "\n"


def check(text: str, files: Mapping[str, str], trusted: Mapping[str, Any]) -> str:
    """Check that a trusted key has signed exactly these files.

    Args:
        text: of the signature.
        files: every file's name -> its SHA-256 in hexadecimal.
        trusted: public keys by their fingerprints.

    Returns:
        The fingerprint of the key that signed.

    Raises:
        SignatureError: it is no signature, of a key that is not trusted, does not fit its key, or is over other files.
    """
    invalid = extras.load("cryptography.exceptions", _EXTRA).InvalidSignature
    try:
        bundle = json.loads(text)
        signer = bundle["verificationMaterial"]["publicKey"]["hint"]
        envelope = bundle["dsseEnvelope"]
        payload, (signed,) = base64.b64decode(envelope["payload"], validate=True), envelope["signatures"]
        raw = base64.b64decode(signed["sig"], validate=True)
        if bundle["mediaType"] != _BUNDLE or envelope["payloadType"] != _PAYLOAD or not isinstance(signer, str):
            raise ValueError("of another kind")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise SignatureError(f"{FILE}: not a signature ({error})", "an OpenSSF model signature") from error
    if signer not in trusted:
        raise SignatureError(f"{FILE}: signed by {signer[:16]}, which is not trusted here", "a trusted key", _DO)
    try:
        trusted[signer].verify(raw, _signed_bytes(payload), _algorithm(trusted[signer]))
    except invalid as error:
        raise SignatureError(f"{FILE}: forged: key {signer[:16]} has not signed this", "its own signature") from error
    _require_same(_files_of(payload), files)
    return signer


def fingerprint(public: Any) -> str:
    """Return the SHA-256 of a public key in PEM, in hexadecimal: the name by which a signature calls its key."""
    return digest.of_bytes(_pem(public))


def make_pair(folder: Path, name: str) -> Path:
    """Make a key pair: `name`.pem for its owner alone, and `name`.pub; return the private key's path."""
    curves = extras.load("cryptography.hazmat.primitives.asymmetric.ec", _EXTRA)
    forms = extras.load("cryptography.hazmat.primitives.serialization", _EXTRA)
    key, path = curves.generate_private_key(curves.SECP256R1()), folder / f"{name}.pem"
    text = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
    artefact.write_file(path.with_suffix(".pub"), _pem(key.public_key()))
    artefact.write_file(path, text, private=True)
    return path


def read_private(path: Path, password: str | None = None) -> Any:
    """Read a private key in PEM.

    Raises:
        DataError: it cannot be read, the password is wrong, or it is of another kind.
    """
    forms = extras.load("cryptography.hazmat.primitives.serialization", _EXTRA)
    try:
        key = forms.load_pem_private_key(path.read_bytes(), password.encode() if password else None)
        _algorithm(key)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not a signing key ({error})", "an elliptic-curve private key in PEM") from error
    return key


def trusted_in(folder: Path) -> dict[str, Any]:
    """Return the public keys in a folder (`*.pub`, PEM) by their fingerprints.

    Raises:
        DataError: one cannot be read.
    """
    forms = extras.load("cryptography.hazmat.primitives.serialization", _EXTRA)
    keys = {}
    for path in sorted(folder.glob(_PUBLIC)):
        try:
            key = forms.load_pem_public_key(path.read_bytes())
            _algorithm(key)
        except (OSError, ValueError, TypeError) as error:
            raise DataError(f"{path}: not a public key ({error})", "an elliptic-curve public key in PEM") from error
        keys[fingerprint(key)] = key
    return keys


def trust(folder: Path, key: Any) -> None:
    """Put the public half of a private key among the trusted ones of a folder."""
    public = key.public_key()
    if fingerprint(public) not in trusted_in(folder):
        artefact.write_file(folder / f"{fingerprint(public)[:16]}.pub", _pem(public))


def _statement(name: str, files: Mapping[str, str], unsigned: Sequence[str]) -> dict[str, Any]:
    """Return the in-toto statement: the files in alphabetical order, and one digest over their digests."""
    resources = [{"name": entry, "algorithm": "sha256", "digest": files[entry]} for entry in sorted(files)]
    return {
        "_type": _STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": _root(resources)}}],
        "predicateType": _PREDICATE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [FILE, *unsigned],
            },
            "resources": resources,
        },
    }


def _files_of(payload: bytes) -> dict[str, str]:
    """Return what a statement lists, every file's name -> its SHA-256."""
    try:
        statement = json.loads(payload)
        resources = statement["predicate"]["resources"]
        found = {entry["name"]: entry["digest"] for entry in resources if entry["algorithm"] == "sha256"}
        kinds = (statement["_type"], statement["predicateType"])
        root = statement["subject"][0]["digest"]["sha256"]
        if kinds != (_STATEMENT, _PREDICATE) or len(found) != len(resources) or root != _root(resources):
            raise ValueError("its parts contradict each other")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise SignatureError(f"{FILE}: signs something else ({error})", "a list of files") from error
    return found


def _require_same(signed: Mapping[str, str], files: Mapping[str, str]) -> None:
    for name in sorted(signed.keys() | files.keys()):
        if name not in files:
            raise SignatureError(f"{name}: missing", "the file that was signed")
        if name not in signed:
            raise SignatureError(f"{name}: was never signed", "only files that were signed")
        if signed[name] != files[name]:
            raise SignatureError(f"{name}: changed since it was signed", "its SHA-256")


def _root(resources: Sequence[Mapping[str, str]]) -> str:
    return digest.of_bytes(b"".join(bytes.fromhex(entry["digest"]) for entry in resources))


def _signed_bytes(payload: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding: what is signed, with its type and lengths before it."""
    return b" ".join([b"DSSEv1", b"%d" % len(_PAYLOAD), _PAYLOAD.encode(), b"%d" % len(payload), payload])


def _algorithm(key: Any) -> Any:
    """Return how a key signs; the hash is as long as its curve.

    Raises:
        ValueError: the key is of no curve that the format knows.
    """
    curves = extras.load("cryptography.hazmat.primitives.asymmetric.ec", _EXTRA)
    hashes = extras.load("cryptography.hazmat.primitives.hashes", _EXTRA)
    if not isinstance(key, (curves.EllipticCurvePrivateKey, curves.EllipticCurvePublicKey)):
        raise ValueError("not of an elliptic curve")
    if key.curve.name not in _HASHES:
        raise ValueError(f"of curve {key.curve.name}")
    algorithms = {"SHA256": hashes.SHA256, "SHA384": hashes.SHA384, "SHA512": hashes.SHA512}
    return curves.ECDSA(algorithms[_HASHES[key.curve.name]]())


def _pem(public: Any) -> bytes:
    forms = extras.load("cryptography.hazmat.primitives.serialization", _EXTRA)
    return public.public_bytes(forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo)
