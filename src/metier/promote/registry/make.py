"""Make a version of a run: everything copied, explained, signed, and published whole under the next number.

A run that is a version already is not made again: its version is found by what it holds. So a command that was killed
goes on when it is run again, and two commands at once get different numbers.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from metier.core import artefact, digest, lock, registry, room, signature
from metier.core.aliases import Aliases, Move
from metier.core.progress import Progress
from metier.core.registry import Version
from metier.model.find import Base
from metier.promote.registry import bom, card, evidence, sureness
from metier.promote.registry.decision import Decision
from metier.promote.registry.licences import Obligations
from metier.text import targets

_PASSWORD = "METIER_SIGNING_PASSWORD"
_OWN_KEY = "signing"
_ADAPTERS = ("adapter_config.json", "bottleneck.json")

Calibrated = tuple[Mapping[str, Any] | None, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to become a version: a run of a project, the answer to whether it may, and what its licences ask.

    `project`: metier.yaml. `signing_key`: a private key's file; None: the project's own, made when it is missing.
    `calibrate`: is asked once it is sure that there will be a version how sure that should be of its decisions: what
    was fitted (None: nothing), and why.
    """

    name: str
    run: Path
    base: Base
    project: Path
    decision: Decision
    licences: Obligations
    evaluation: Mapping[str, Any]
    signing_key: Path | None = None
    calibrate: Callable[[], Calibrated] | None = None


def make(asked: Asked, store: Path, progress: Progress) -> Version:
    """Publish a run as the next version of its name; one that holds the same already is returned instead.

    Raises:
        DataError: a part of the run was changed, or the signing key cannot be read.
        DiskFullError: no room; nothing was published.
    """
    shelf = registry.shelf(store, asked.name)
    parts = evidence.parts(asked.run)
    key = _key(asked, parts)
    with lock.held(shelf, wait=True):
        artefact.sweep(shelf)
        numbers = registry.numbers(store, asked.name)
        for number in reversed(numbers):
            version = registry.at(store, asked.name, number)
            if artefact.read(version.path, registry.KIND).facts["key"] == key:
                progress.say(f"promote: {asked.run.name} is {version.reference} already")
                return version
        with Aliases(store) as aliases:
            used = [move.number for move in aliases.history(asked.name)]
        version = registry.at(store, asked.name, max([0, *numbers, *used]) + 1)
        size = sum(entry["bytes"] for manifest in parts.values() for entry in manifest.files.values())
        room.require(version.path, 2 * size)
        _publish(asked, version, key, parts, store)
    progress.say(f"promote: {asked.run.name} is {version.reference}")
    return version


def point(version: Version, alias: str, store: Path, *, reason: str = "") -> Move:
    """Let an alias mean a version, and write the history of its name beside the versions; nothing new, nothing done."""
    with Aliases(store) as aliases:
        move = aliases.point(version.name, registry.require_alias(alias), version.number, reason=reason)
        _write_history(aliases, version.name, store)
    return move


def back(name: str, alias: str, store: Path, *, reason: str = "") -> Move:
    """Let an alias mean again what it meant before, after that version was checked.

    Raises:
        InputError: there is nothing before.
        SignatureError: what is there is not what was signed; the alias stays where it is.
    """

    def allowed(number: int) -> None:
        registry.open_version(store, f"{name}@{number}")

    with Aliases(store) as aliases:
        move = aliases.back(name, alias, allowed=allowed, reason=reason)
        _write_history(aliases, name, store)
    return move


def _write_history(aliases: Aliases, name: str, store: Path) -> None:
    """Write what the aliases of a name have meant as a file that can be read without the database."""
    shelf = registry.shelf(store, name)
    with lock.held(shelf, wait=True):
        lines = []
        for move in aliases.history(name):
            at = datetime.fromtimestamp(move.time, UTC).isoformat(timespec="seconds")
            facts = {"time": at, "alias": move.alias, "version": f"{name}@{move.number}", "kind": move.kind}
            lines.append(json.dumps(facts | {"by": move.by, "reason": move.reason}, ensure_ascii=False) + "\n")
        artefact.write_file(shelf / registry.HISTORY, "".join(lines))


def _publish(asked: Asked, version: Version, key: str, parts: Mapping[str, artefact.Manifest], store: Path) -> None:
    signer = _signer(asked, store)
    calibration, why = asked.calibrate() if asked.calibrate is not None else (None, "not asked for")
    facts: dict[str, Any] = {"key": key, "version": version.reference}
    with artefact.publish(version.path, kind=registry.KIND, facts=facts) as folder:
        evidence.copy_run(asked.run, folder, list(parts))
        snapshot = evidence.snapshot_of(asked.run)
        evidence.write(folder, snapshot=snapshot, base=asked.base.folder, project=asked.project)
        told = _facts(asked, version, parts, artefact.read(snapshot, "snapshot").digest, store)
        told["calibration"] = sureness.facts(calibration, why)
        if calibration is not None:
            (folder / sureness.FILE).write_text(json.dumps(calibration, indent=1) + "\n", encoding="utf-8")
        data, environment = (_read(folder / "evidence" / name) for name in ("data.json", "environment.json"))
        bill = bom.bill(told, asked.evaluation, data, environment=environment, licences=asked.licences)
        for name, value in ((registry.FACTS, told), ("bom.cdx.json", bill)):
            (folder / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        text = card.card(told, asked.evaluation, data, asked.licences)
        (folder / "README.md").write_text(text, encoding="utf-8")
        files = {
            path.relative_to(folder).as_posix(): digest.of_file(path)
            for path in sorted(folder.rglob("*")) if path.is_file()
        }  # fmt: skip
        text = signature.sign(version.reference, files, signer, unsigned=[artefact.MANIFEST])
        (folder / signature.FILE).write_text(text, encoding="utf-8")


def _facts(
    asked: Asked, version: Version, parts: Mapping[str, artefact.Manifest], snapshot: str, store: Path
) -> dict[str, Any]:
    """Return version.json: what this version is, and where it comes from."""
    with Aliases(store) as aliases:
        meant = {move.number for (name, _), move in aliases.all().items() if name == version.name}
    model = asked.run / "model"
    adapter = any((model / name).is_file() for name in _ADAPTERS)
    return {
        "version": version.reference,
        "name": version.name,
        "number": version.number,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "run": asked.run.name,
        "form": "adapter" if adapter else "whole",
        "head": targets.read(model) is not None,
        "objective": _objective(asked.run),
        "base": {"name": asked.base.name, "kind": asked.base.kind, "digest": asked.base.digest,
                 "licence": asked.licences.base},
        "snapshot": snapshot,
        "recipe": digest.of_value(_read(asked.run / "settings.json")["plan"]),
        "model": parts["model"].digest,
        "parts": {name: manifest.digest for name, manifest in parts.items()},
        "parents": [f"{version.name}@{number}" for number in sorted(meant)],
        "licence": asked.licences.model,
        "data_licence": asked.licences.data,
        "obligations": list(asked.licences.asks),
        "decision": asked.decision.as_dict(),
    }  # fmt: skip


def _objective(run: Path) -> str:
    """Return what was learnt as it was chosen, `chat` or `reinforce`; as it was asked for where no choice was kept."""
    choices = _read(run / "choices.json") if (run / "choices.json").is_file() else []
    for choice in choices:
        if choice["name"] == "train.objective":
            return choice["value"]
    return _read(run / "settings.json")["plan"]["train"].get("objective", {}).get("name", "auto")


def _key(asked: Asked, parts: Mapping[str, artefact.Manifest]) -> str:
    """Name what a version is made of, so that the same is found again; a report is only another face of it."""
    held = {name: manifest.digest for name, manifest in parts.items() if name != "report"}
    licences = asked.licences
    return digest.of_value([asked.run.name, held, licences.model, licences.base, licences.data])


def _signer(asked: Asked, store: Path) -> Any:
    """Return the key that signs, and trust it here: a project trusts what its own people sign."""
    folder = registry.keys(store)
    path = asked.signing_key or folder / f"{_OWN_KEY}.pem"
    if asked.signing_key is None and not path.is_file():
        signature.make_pair(folder, _OWN_KEY)
    key = signature.read_private(path, os.environ.get(_PASSWORD))
    signature.trust(folder, key)
    return key


def _read(path: Path) -> Any:
    return artefact.read_json(path)
