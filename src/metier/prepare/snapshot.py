"""The one function of this room: read → stages → split → a snapshot that accounts for every row that came in."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from metier.core import artefact, digest
from metier.core.artefact import Manifest
from metier.core.errors import DataError
from metier.core.progress import Progress
from metier.core.types import Dropped, Reasoned
from metier.prepare.dedupe import Exact
from metier.prepare.files import DataFile, Role, find
from metier.prepare.intake import Candidate, Intake, Stage, open_file
from metier.prepare.settings import DataSettings, PrepareSettings
from metier.prepare.split import SPLITS, Division, Place, divide
from metier.prepare.summary import report
from metier.text.rows import OURS, free_name, input_text, label_of

__all__ = ["SnapshotResult", "prepare", "report"]

KIND = "snapshot"
_RECIPE = 1
"""Goes up when the same files and settings give other rows, so that no old snapshot is taken for a new one."""

_MOST_LABELS_KEPT = 1000
_READING_ORDER: tuple[Role, ...] = ("test", "validation", "train")
"""Held-out files first: what is in them must not be in the training rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotResult:
    """A snapshot on disk. `rows_in` = sum of `counts` (rows by split) + sum of `dropped` (rows by reason)."""

    path: Path
    digest: str
    rows_in: int
    counts: dict[str, int]
    dropped: dict[str, int]
    warnings: tuple[str, ...]
    choices: tuple[Reasoned, ...]
    reused: bool


@dataclass(slots=True)
class _Ledger:
    """What has been read so far: a place for every kept row, in the order of the spool, and every drop."""

    places: list[Place] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    rows_by_file: Counter[str] = field(default_factory=Counter)


def prepare(
    data: DataSettings, settings: PrepareSettings, *, folder: Path, store: Path, seed: int, progress: Progress
) -> SnapshotResult:
    """Make a snapshot of the user's files, or find the one that was made of the same files and settings.

    Args:
        data: which files.
        settings: how they are read, cleaned and split.
        folder: what relative file names are relative to.
        store: the `.metier` folder; the snapshot goes to `store/snapshots/<hash>`.
        seed: of the split.
        progress: who hears of it.

    Raises:
        DataError: a file cannot be used, or too few rows are left; nothing is written.
        DiskFullError: no room for the snapshot.
    """
    files = _find(data, folder)
    key = _key(files, settings, seed)
    target = store / "snapshots" / key[:16]
    if artefact.exists(target, KIND):
        return _result(target, artefact.verify(target, KIND), reused=True)
    artefact.require_space(target, 2 * sum(file.bytes for file in files))
    facts: dict[str, Any] = {"key": key, "recipe": _RECIPE, "seed": seed, "settings": settings.model_dump(mode="json")}
    with artefact.publish(target, kind=KIND, facts=facts) as temporary:
        spool = temporary / "spool"
        ledger, intakes = _read(files, settings, spool, progress)
        _require_unchanged(files)
        roles = {file.role for file in files if file.role != "train"}
        division = divide(ledger.places, settings, files=roles, seed=seed)
        _write(temporary, spool, ledger, division)
        facts.update(_facts(intakes, ledger, division))
    for choice in division.choices:
        progress.chose(choice)
    for warning in facts["warnings"]:
        progress.say(f"warning: {warning}")
    return _result(target, artefact.read(target, KIND), reused=False)


def _find(data: DataSettings, folder: Path) -> list[DataFile]:
    files = [find(name, "train", folder) for name in data.train_files]
    files += [find(data.validation, "validation", folder)] if data.validation else []
    files += [find(data.test, "test", folder)] if data.test else []
    seen: dict[Path, DataFile] = {}
    for file in files:
        first = seen.setdefault(file.path.resolve(), file)
        if first is not file:
            raise DataError(
                f"{file.name}: named as {first.role} and again as {file.role}",
                "every file once",
                "leave out data.validation or data.test to have a share of the training rows set aside",
            )
    return sorted(files, key=lambda file: _READING_ORDER.index(file.role))


def _key(files: Sequence[DataFile], settings: PrepareSettings, seed: int) -> str:
    """Return what the snapshot is a function of: bytes, settings, seed and recipe."""
    inputs = [[file.name, file.role, file.sha256] for file in files]
    return digest.of_value([_RECIPE, seed, settings.model_dump(mode="json"), inputs])


def _read(
    files: Sequence[DataFile], settings: PrepareSettings, spool: Path, progress: Progress
) -> tuple[_Ledger, list[Intake]]:
    """Read every file through every stage, once; rows that are kept wait in the spool for their split."""
    stages: tuple[Stage, ...] = (Exact(enabled=settings.dedupe),)
    ledger, intakes = _Ledger(), []
    with spool.open("wb") as out:
        for file in files:
            with progress.task(f"reading {file.name}", total=file.bytes) as task:
                intake = open_file(file, settings, task.advance)
                intakes.append(intake)
                progress.chose(_format_choice(intake))
                items: Iterable[Candidate | Dropped] = intake.items
                for stage in stages:
                    items = stage(items)
                for item in items:
                    ledger.rows_by_file[file.name] += 1
                    _enter(item, ledger, out)
    return ledger, intakes


def _format_choice(intake: Intake) -> Reasoned:
    found = intake.recognised
    sure = "" if found.confidence == 1 else f" in {found.confidence:.0%} of the rows looked at"
    return Reasoned(name=f"format of {intake.file.name}", value=found.format, reason=found.reason + sure)


def _enter(item: Candidate | Dropped, ledger: _Ledger, out: BinaryIO) -> None:
    if isinstance(item, Dropped):
        ledger.dropped.append(item)
        return
    row = item.row
    try:
        line = _line(item).encode()
    except UnicodeEncodeError:
        ledger.dropped.append(Dropped(source=row.source, reason="half a character (a lone surrogate)"))
        return
    out.write(line)
    asks = hashlib.blake2b(input_text(row).encode(), digest_size=12).hexdigest()
    ledger.places.append(Place(row.id, row.source, item.role, label_of(row), row.group, asks))


def _line(item: Candidate) -> str:
    """Write the row as read, behind its id and source; its own bytes are kept unless it has columns of these names."""
    ours = json.dumps({"id": item.row.id, "source": item.row.source}, ensure_ascii=False)
    if not any(name in item.value for name in OURS):
        return f"{ours[:-1]}, {item.text[1:]}\n"
    moved = {free_name(item.value, key) if key in OURS else key: value for key, value in item.value.items()}
    return f"{ours[:-1]}, {json.dumps(moved, ensure_ascii=False)[1:]}\n"


def _require_unchanged(files: Sequence[DataFile]) -> None:
    for file in files:
        if file.path.stat().st_size != file.bytes or digest.of_file(file.path) != file.sha256:
            raise DataError(f"{file.name}: changed while it was being read", "a file that holds still", "run again")


def _write(folder: Path, spool: Path, ledger: _Ledger, division: Division) -> None:
    """Deal the spooled lines out to the split files, in the order in which they were read."""
    streams = {split: (folder / f"{split}.jsonl").open("wb") for split in SPLITS}
    try:
        with spool.open("rb") as lines:
            for line, split in zip(lines, division.splits, strict=True):
                if split is not None:
                    streams[split].write(line)
    finally:
        for stream in streams.values():
            stream.close()
    spool.unlink()
    with (folder / "dropped.jsonl").open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as out:
        for item in _all_dropped(ledger, division):
            out.write(json.dumps(asdict(item), ensure_ascii=False) + "\n")


def _all_dropped(ledger: _Ledger, division: Division) -> Iterator[Dropped]:
    yield from ledger.dropped
    yield from division.dropped


def _facts(intakes: Sequence[Intake], ledger: _Ledger, division: Division) -> dict[str, Any]:
    """Sum up for the manifest, and assert that no row was lost."""
    counts = Counter(split for split in division.splits if split is not None)
    dropped = Counter(item.reason for item in _all_dropped(ledger, division))
    rows_in = ledger.rows_by_file.total()
    if rows_in != counts.total() + dropped.total():
        raise AssertionError(f"{rows_in} rows in, {counts.total()} out, {dropped.total()} dropped")
    labels = _labels(ledger, division)
    warnings = list(division.warnings)
    if len(labels) > max(100, counts.total() // 5):
        warnings.append(f"{len(labels):,} different labels in {counts.total():,} rows: is that column a label?")
    choices = [*map(_format_choice, intakes), *division.choices]
    return {
        "rows_in": rows_in,
        "counts": {split: counts[split] for split in SPLITS},
        "dropped": dict(dropped.most_common()),
        "sources": {intake.file.name: _source_facts(intake, ledger) for intake in intakes},
        "labels": dict(list(labels.items())[:_MOST_LABELS_KEPT]),
        "choices": [asdict(choice) for choice in choices],
        "warnings": warnings,
    }


def _source_facts(intake: Intake, ledger: _Ledger) -> dict[str, Any]:
    file, found = intake.file, intake.recognised
    return {
        "role": file.role, "sha256": file.sha256, "bytes": file.bytes, "rows": ledger.rows_by_file[file.name],
        "format": found.format, "columns": dict(found.columns), "confidence": found.confidence, "reason": found.reason,
    }  # fmt: skip


def _labels(ledger: _Ledger, division: Division) -> dict[str, dict[str, int]]:
    """Count rows by label and split, the most frequent label first."""
    labels: dict[str, Counter[str]] = {}
    for place, split in zip(ledger.places, division.splits, strict=True):
        if place.label is not None and split is not None:
            labels.setdefault(place.label, Counter())[split] += 1
    order = sorted(labels, key=lambda label: (-labels[label].total(), label))
    return {label: {split: labels[label][split] for split in SPLITS} for label in order}


def _result(target: Path, manifest: Manifest, *, reused: bool) -> SnapshotResult:
    facts = manifest.facts
    return SnapshotResult(
        path=target,
        digest=manifest.digest,
        rows_in=facts["rows_in"],
        counts=facts["counts"],
        dropped=facts["dropped"],
        warnings=tuple(facts["warnings"]),
        choices=tuple(Reasoned(**choice) for choice in facts["choices"]),
        reused=reused,
    )
