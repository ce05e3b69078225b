"""A version: what it holds, its number, and what is left when its making dies at any write."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from metier.core import artefact, registry, signature
from metier.core.errors import DataError, SignatureError
from metier.core.progress import Silent
from metier.promote.registry import make
from tests.promote.registry.workshop import asked, make_run, promote, publish_again


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("METIER_DATABASE", raising=False)
    return tmp_path / ".metier"


def test_a_version_holds_its_evidence_in_plain_files(store: Path) -> None:
    run = make_run(store)
    with artefact.publish(run / "exports" / "gguf", kind="export") as folder:
        (folder / "model.gguf").write_bytes(b"GGUF")
    version = promote(store, run)
    facts = registry.checked(version, store)
    assert (version.reference, facts["run"], facts["form"]) == ("support@1", "run-1", "adapter")
    held = {path.relative_to(version.path).as_posix() for path in version.path.rglob("*") if path.is_file()}
    assert held >= {
        "README.md", "version.json", "bom.cdx.json", "model.sig", "settings.json", "metrics.jsonl",
        "model/adapter_model.safetensors", "evaluation/answers.jsonl", "parity/parity.json",
        "evidence/data.json", "evidence/rows.jsonl", "evidence/decisions.jsonl", "evidence/environment.json",
        "evidence/metier.yaml", "exports/gguf/model.gguf", "licences/LICENSE",
    }  # fmt: skip
    rows = (version.path / "evidence" / "rows.jsonl").read_text()
    assert "rows.jsonl:1" in rows
    assert "secret" not in rows
    assert json.loads((store / "versions" / "support" / "history.jsonl").read_text())["version"] == "support@1"
    assert (store / "keys" / "signing.pem").stat().st_mode & 0o077 == 0


def test_the_card_is_what_the_hub_reads(store: Path) -> None:
    card = ModelCard.load(promote(store, make_run(store)).path / "README.md")
    assert card.data.license == "apache-2.0"
    assert card.data.base_model == "small"
    assert card.data.library_name == "peft"
    assert card.data.eval_results[0].metric_value == 0.8
    assert "0.800 (0.750 to 0.850)" in card.text
    assert "base (apache-2.0): say what was changed" in card.text


def test_the_bill_of_materials_holds_to_its_schema(store: Path) -> None:
    import cyclonedx.schema
    import jsonschema
    import referencing

    folder = Path(cyclonedx.schema.__path__[0]) / "_res"
    schemas = {path.name: json.loads(path.read_text()) for path in folder.glob("*.schema.json")}
    place = "http://cyclonedx.org/schema/"
    resources = [(place + name, referencing.Resource.from_contents(schema)) for name, schema in schemas.items()]
    known = referencing.Registry().with_resources(resources)
    check = jsonschema.Draft7Validator(schemas["bom-1.6.SNAPSHOT.schema.json"], registry=known)
    bill = json.loads((promote(store, make_run(store)).path / "bom.cdx.json").read_text())
    check.validate(bill)
    assert {entry["type"] for entry in bill["components"]} == {"machine-learning-model", "data", "library"}
    run = make_run(store, "run-2", weights=b"two")
    (run / "choices.json").write_text('[{"name": "train.objective", "value": "reinforce", "reason": "tasks"}]')
    rewarded = json.loads((promote(store, run).path / "bom.cdx.json").read_text())
    check.validate(rewarded)
    learnt = [
        each["metadata"]["component"]["modelCard"]["modelParameters"]["approach"]["type"] for each in (bill, rewarded)
    ]
    assert learnt == ["supervised", "reinforcement-learning"]
    bill["components"][0]["type"] = "trouble"
    assert not check.is_valid(bill)


def test_the_same_is_not_made_twice_and_no_number_is_used_again(store: Path) -> None:
    first, other = make_run(store), make_run(store, "run-2", weights=b"two")
    assert [promote(store, run).number for run in (first, other, first)] == [1, 2, 1]
    shutil.rmtree(store / "versions" / "support" / "2")
    assert promote(store, other).number == 3
    make_run(store, "run-2", weights=b"two", tuned=0.9)
    assert promote(store, other).number == 4


def test_a_run_that_was_changed_becomes_no_version(store: Path) -> None:
    run = make_run(store)
    (run / "model" / "tokenizer.json").write_text("[]\n")
    with pytest.raises(DataError, match=r"tokenizer\.json"):
        promote(store, run)
    assert registry.listed(store) == []


def test_a_key_of_ones_own_signs_and_its_password_is_needed(store: Path, tmp_path: Path, monkeypatch) -> None:
    from cryptography.hazmat.primitives import serialization

    plain = signature.read_private(signature.make_pair(tmp_path / "vault", "me"))
    locked = serialization.BestAvailableEncryption(b"geheim")
    forms = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    path = tmp_path / "vault" / "locked.pem"
    path.write_bytes(plain.private_bytes(*forms, locked))
    wanted = asked(store, make_run(store), signing_key=path)
    with pytest.raises(DataError, match="not a signing key"):
        make.make(wanted, store, Silent())
    monkeypatch.setenv("METIER_SIGNING_PASSWORD", "geheim")
    version = make.make(wanted, store, Silent())
    assert registry.checked(version, store)["signer"] == signature.fingerprint(plain.public_key())
    assert not (store / "keys" / "signing.pem").exists()


def _flip(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(bytes(content))

    return change


def _link(folder: Path) -> None:
    (folder / "metrics.jsonl").unlink()
    (folder / "metrics.jsonl").symlink_to(folder / "summary.json")


def _sign_as_somebody(folder: Path) -> None:
    key = signature.read_private(signature.make_pair(folder.parents[3] / "thief", "thief"))
    (folder / "summary.json").write_text('{"loss": 0}\n')
    files = {path.relative_to(folder).as_posix(): "0" * 64 for path in folder.rglob("*") if path.is_file()}
    (folder / "model.sig").write_text(signature.sign("support@1", files, key))


FAULTS: dict[str, Callable[[Path], object]] = {
    "weights": _flip("model/adapter_model.safetensors"),
    "evidence": _flip("evidence/rows.jsonl"),
    "an answer": _flip("evaluation/answers.jsonl"),
    "facts": _flip("version.json"),
    "signature": _flip("model.sig"),
    "removed": lambda folder: (folder / "parity" / "parity.json").unlink(),
    "added": lambda folder: (folder / "model" / "extra.safetensors").write_bytes(b"x"),
    "unsigned": lambda folder: (folder / "model.sig").unlink(),
    "link": _link,
    "somebody": _sign_as_somebody,
}


@pytest.mark.parametrize("resealed", [False, True], ids=["in place", "with a new manifest"])
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_is_not_as_it_was_signed_is_refused(fault: str, resealed: bool, store: Path) -> None:
    version = promote(store, make_run(store))
    registry.checked(version, store)
    if resealed:
        publish_again(version.path, FAULTS[fault])
    else:
        FAULTS[fault](version.path)
    with pytest.raises(SignatureError, match="support@1"):
        registry.open_version(store, "support@production")


def test_an_older_version_under_a_newer_number_is_refused(store: Path) -> None:
    old, new = promote(store, make_run(store)), promote(store, make_run(store, "run-2", weights=b"two"))
    shutil.rmtree(new.path)
    shutil.copytree(old.path, new.path)
    with pytest.raises(SignatureError, match="support@2: holds support@1"):
        registry.open_version(store, "support@production")


def test_without_a_trusted_key_nothing_is_opened(store: Path) -> None:
    version = promote(store, make_run(store))
    for path in (store / "keys").glob("*.pub"):
        path.unlink()
    with pytest.raises(SignatureError, match="not trusted"):
        registry.checked(version, store)


_CHILD = """
import sys
from pathlib import Path
from tests.promote.registry.workshop import promote
print(promote(Path(sys.argv[1]), Path(sys.argv[2])).number)
"""


def test_two_at_once_get_different_numbers(store: Path) -> None:
    runs = [make_run(store, f"run-{n}", weights=bytes([65 + n])) for n in range(2)]
    command = [sys.executable, "-c", _CHILD, str(store)]
    children = [subprocess.Popen([*command, str(run)], stdout=subprocess.PIPE, text=True) for run in runs]
    told = sorted(child.communicate(timeout=240)[0].strip() for child in children)
    assert told == ["1", "2"]
    assert [registry.checked(version, store)["number"] for version in registry.listed(store)] == [1, 2]
    assert registry.find(store, "support@production").number in {1, 2}


def test_killed_at_any_write_leaves_the_old_or_the_new_and_the_same_command_goes_on(
    store: Path, tmp_path: Path
) -> None:
    promote(store, make_run(store))
    run = make_run(store, "run-2", weights=b"two")
    clean = tmp_path / "clean"
    shutil.copytree(tmp_path, clean, ignore=shutil.ignore_patterns("clean"))
    writes = _writes(store, run, die_at=10**6)
    assert writes > 20
    for die_at in [1, 2, writes // 2, *range(writes - 9, writes + 1)]:
        shutil.rmtree(store)
        shutil.copytree(clean / ".metier", store)
        assert _writes(store, run, die_at=die_at) == -signal.SIGKILL, f"write {die_at} of {writes}"
        found = [registry.checked(version, store)["number"] for version in registry.listed(store)]
        assert found in ([1], [1, 2])
        assert registry.open_version(store, "support@production").number in found
        assert promote(store, run).number == 2
        assert registry.open_version(store, "support@production").number == 2
        left = [path.name for path in (store / "versions" / "support").iterdir()]
        assert sorted(left) == ["1", "2", "history.jsonl", "lock"]


def _writes(store: Path, run: Path, *, die_at: int) -> int:
    """Promote in a forked child that is killed at its n-th sync or rename; return how many there were, or -SIGKILL."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(120)  # a child that waits for a lock which another thread held at the fork ends all the same
        count = 0

        def counted(function: Callable) -> Callable:
            def call(*arguments: object) -> object:
                nonlocal count
                count += 1
                if count == die_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*arguments)

            return call

        os.fsync, os.rename, os.replace = counted(os.fsync), counted(os.rename), counted(os.replace)
        try:
            promote(store, run)
            os.write(writing, str(count).encode())
        finally:
            os._exit(0)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    told = os.read(reading, 100)
    os.close(reading)
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else int(told)
