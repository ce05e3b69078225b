"""Signatures: what the OpenSSF's own library wrote is read, and whatever is not exactly as it was signed is refused."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.core import signature
from metier.core.errors import DataError, SignatureError

FILES = {
    "model.bin": "1b465fa6b6bcbc06a3199e3d2d8aec35d37494a712f888b6d5536684dd89d0f0",
    "sub/config.json": "ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356",
}
PUBLIC = """\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEq5WN8BFpczOvXLl9c/tKU/JgUcDN
JR0QgLJXWFPDp3hOcXGKBXfbyizwUMiHn2Gzc8e7qBB1nIOGXp1k1P6GFw==
-----END PUBLIC KEY-----
"""
# written by model_signing 1.1.1: `model_signing sign key sample --signature sample.sig --private_key k.pem`
THEIRS = (
    '{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"h'
    'int":"ebc926d312b25b961eef1b85f291bcdff5d451b87b9f0f2c20f20332971022e0"},"tlogEntries":[]},"dsseEnve'
    'lope":{"payload":"ewogICJfdHlwZSI6ICJodHRwczovL2luLXRvdG8uaW8vU3RhdGVtZW50L3YxIiwKICAic3ViamVjdCI6IF'
    "sKICAgIHsKICAgICAgIm5hbWUiOiAic2FtcGxlIiwKICAgICAgImRpZ2VzdCI6IHsKICAgICAgICAic2hhMjU2IjogImNkYTllYW"
    "QzNjlkZDk4NzcwNGVhOThjZTU5MzJjOWJjZWRkZjNlY2ZhZDQxY2M1YjM2YjQ5NWM1OGIxMDE0NjkiCiAgICAgIH0KICAgIH0KIC"
    "BdLAogICJwcmVkaWNhdGVUeXBlIjogImh0dHBzOi8vbW9kZWxfc2lnbmluZy9zaWduYXR1cmUvdjEuMCIsCiAgInByZWRpY2F0ZS"
    "I6IHsKICAgICJzZXJpYWxpemF0aW9uIjogewogICAgICAiaWdub3JlX3BhdGhzIjogWwogICAgICAgICIuZ2l0aWdub3JlIiwKIC"
    "AgICAgICAiLmdpdCIsCiAgICAgICAgIi5naXRodWIiLAogICAgICAgICIuZ2l0YXR0cmlidXRlcyIKICAgICAgXSwKICAgICAgIm"
    "hhc2hfdHlwZSI6ICJzaGEyNTYiLAogICAgICAibWV0aG9kIjogImZpbGVzIiwKICAgICAgImFsbG93X3N5bWxpbmtzIjogZmFsc2"
    "UKICAgIH0sCiAgICAicmVzb3VyY2VzIjogWwogICAgICB7CiAgICAgICAgImFsZ29yaXRobSI6ICJzaGEyNTYiLAogICAgICAgIC"
    "JkaWdlc3QiOiAiMWI0NjVmYTZiNmJjYmMwNmEzMTk5ZTNkMmQ4YWVjMzVkMzc0OTRhNzEyZjg4OGI2ZDU1MzY2ODRkZDg5ZDBmMC"
    "IsCiAgICAgICAgIm5hbWUiOiAibW9kZWwuYmluIgogICAgICB9LAogICAgICB7CiAgICAgICAgImFsZ29yaXRobSI6ICJzaGEyNT"
    "YiLAogICAgICAgICJkaWdlc3QiOiAiY2EzZDE2M2JhYjA1NTM4MTgyNzIyNjE0MDU2OGYzYmVmN2VhYWMxODdjZWJkNzY4NzhlMG"
    'I2M2U5ZTQ0MjM1NiIsCiAgICAgICAgIm5hbWUiOiAic3ViL2NvbmZpZy5qc29uIgogICAgICB9CiAgICBdCiAgfQp9","payload'
    'Type":"application/vnd.in-toto+json","signatures":[{"sig":"MEQCIFTK+Py/5YZes1WMmevnFyTpuVYK/0P8iwJPk'
    'YzfYaP0AiA1+1sfxxzOqpXK6JA21c0Z43yKZ03KPyhdKck2/+m+IQ==","keyid":""}]}}'
)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    (tmp_path / "theirs.pub").write_text(PUBLIC)
    signature.make_pair(tmp_path, "ours")
    return tmp_path


def test_a_signature_of_the_library_is_read(keys: Path) -> None:
    trusted = signature.trusted_in(keys)
    assert signature.check(THEIRS, FILES, trusted).startswith("ebc926d3")
    with pytest.raises(SignatureError, match=r"model\.bin: changed"):
        signature.check(THEIRS, FILES | {"model.bin": "0" * 64}, trusted)


def test_ours_is_in_the_same_form(keys: Path) -> None:
    text = signature.sign("sample", FILES, signature.read_private(keys / "ours.pem"), unsigned=["manifest.json"])
    ours, theirs = json.loads(text), json.loads(THEIRS)
    assert ours.keys() == theirs.keys()
    assert ours["dsseEnvelope"].keys() == theirs["dsseEnvelope"].keys()
    one, other = (json.loads(base64.b64decode(each["dsseEnvelope"]["payload"])) for each in (ours, theirs))
    del one["predicate"]["serialization"]["ignore_paths"], other["predicate"]["serialization"]["ignore_paths"]
    assert one == other


def test_the_library_reads_ours(keys: Path, tmp_path: Path) -> None:
    verifying = pytest.importorskip("model_signing.verifying", reason="model_signing is not installed")
    folder = tmp_path / "sample"
    (folder / "sub").mkdir(parents=True)
    (folder / "model.bin").write_text("weights\n")
    (folder / "sub" / "config.json").write_text("{}\n")
    text = signature.sign("sample", FILES, signature.read_private(keys / "ours.pem"))
    (folder / signature.FILE).write_text(text)
    check = verifying.Config().use_elliptic_key_verifier(public_key=keys / "ours.pub")
    check.verify(folder, folder / signature.FILE)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (FILES | {"more": "0" * 64}, "more: was never signed"),
        ({"model.bin": FILES["model.bin"]}, "sub/config.json: missing"),
        (FILES | {"model.bin": "0" * 64}, "model.bin: changed since it was signed"),
    ],
)
def test_other_files_are_named(files: dict[str, str], words: str, keys: Path) -> None:
    text = signature.sign("sample", FILES, signature.read_private(keys / "ours.pem"))
    with pytest.raises(SignatureError, match=words):
        signature.check(text, files, signature.trusted_in(keys))


def test_a_key_that_is_not_trusted_and_one_that_did_not_sign_are_refused(keys: Path) -> None:
    text = signature.sign("sample", FILES, signature.read_private(keys / "ours.pem"))
    trusted = signature.trusted_in(keys)
    with pytest.raises(SignatureError, match="not trusted"):
        signature.check(text, FILES, {})
    bundle = json.loads(text)
    bundle["verificationMaterial"]["publicKey"]["hint"] = json.loads(THEIRS)["verificationMaterial"]["publicKey"][
        "hint"
    ]
    with pytest.raises(SignatureError, match="forged"):
        signature.check(json.dumps(bundle), FILES, trusted)


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, len(THEIRS) - 1), byte=st.characters(max_codepoint=126))
def test_no_changed_character_is_accepted_for_other_files(tmp_path_factory, place: int, byte: str) -> None:
    changed = THEIRS[:place] + byte + THEIRS[place + 1 :]
    folder = tmp_path_factory.getbasetemp() / "theirs"
    folder.mkdir(exist_ok=True)
    (folder / "theirs.pub").write_text(PUBLIC)
    with pytest.raises(SignatureError):
        signature.check(changed, FILES | {"model.bin": "0" * 64}, signature.trusted_in(folder))


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "[" * 100_000, '{"dsseEnvelope": 7}', '{"dsseEnvelope": {}}'])
def test_what_is_no_signature_is_refused_in_words(text: str) -> None:
    with pytest.raises(SignatureError, match="not a signature"):
        signature.check(text, FILES, {})


def test_keys_of_another_kind_are_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    key = ed25519.Ed25519PrivateKey.generate()
    path = tmp_path / "other.pub"
    forms = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    path.write_bytes(key.public_key().public_bytes(*forms))
    with pytest.raises(DataError, match="not of an elliptic curve"):
        signature.trusted_in(tmp_path)
    path.write_text("nothing")
    with pytest.raises(DataError, match="not a public key"):
        signature.trusted_in(tmp_path)
    with pytest.raises(DataError, match="not a signing key"):
        signature.read_private(tmp_path / "absent.pem")
