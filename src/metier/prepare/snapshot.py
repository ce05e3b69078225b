"""The one function of this room: read → stages → split → a snapshot that accounts for every row that came in."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from metier.core import artefact, digest, room
from metier.core.artefact import Manifest
from metier.core.errors import DataError
from metier.core.progress import Progress
from metier.core.types import Reasoned
from metier.prepare.account import account
from metier.prepare.balance.balance import balance
from metier.prepare.balance.training import Training
from metier.prepare.cleaning import looks
from metier.prepare.cleaning import stage as cleaning
from metier.prepare.cleaning.glance import Growing, Looked
from metier.prepare.cleaning.seen import Seen
from metier.prepare.contamination.find import benchmark_digests
from metier.prepare.contamination.part import part_leaks
from metier.prepare.decisions import FILE, Decision, Decisions, kept
from metier.prepare.division import NONE, SPLITS, TRAIN, Division
from metier.prepare.duplicates import find as duplication
from metier.prepare.duplicates.exact import Exact
from metier.prepare.duplicates.find import Duplicates, embedding_files
from metier.prepare.places import Places
from metier.prepare.protect.stage import Guard, open_guard
from metier.prepare.protect.tally import Kept
from metier.prepare.reading.intake import Books, Intake, open_file
from metier.prepare.reading.part import DataFile
from metier.prepare.reading.sources import sources
from metier.prepare.reading.split_names import overlooked
from metier.prepare.scale.entrance import Entrance
from metier.prepare.scale.run import opened
from metier.prepare.scale.work import Job
from metier.prepare.settings import DataSettings, PrepareSettings
from metier.prepare.split import divide
from metier.prepare.spool import Filling, Look, Spool
from metier.prepare.summary import report

__all__ = ["SnapshotResult", "prepare", "report"]

KIND = "snapshot"
_RECIPE = 8
"""Goes up when the same files and settings give other rows, so that no old snapshot is taken for a new one."""


_OFTEN = 1 << 11
"""After so many decisions the columns that they looked at are let go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotResult:
    """A snapshot on disk. `rows_in` + `repeated` = sum of `counts` (rows by split) and of `dropped` (by reason)."""

    path: Path
    digest: str
    rows_in: int
    counts: dict[str, int]
    repeated: int
    dropped: dict[str, int]
    warnings: tuple[str, ...]
    choices: tuple[Reasoned, ...]
    reused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inputs:
    """What a snapshot is a function of, resolved."""

    files: Sequence[DataFile]
    folder: Path
    settings: PrepareSettings
    kept: frozenset[str]
    seed: int
    store: Path
    guard: Guard | None = None

    def key(self) -> str:
        """Return the hash of bytes, settings, seed, recipe and the versions of libraries that decide about rows."""
        files = [[file.name, file.role, file.sha256, file.own] for file in self.files]
        guarded = self.guard.fingerprint() if self.guard else ""
        settings = self.settings.model_dump(mode="json", exclude={"further"})
        named = [digest.of_file(path) for path in embedding_files(self.settings.dedupe, self.folder)]
        named += benchmark_digests(self.settings.contamination, self.folder)
        libraries = cleaning.fingerprint()
        return digest.of_value([_RECIPE, self.seed, settings, files, sorted(self.kept), guarded, named, libraries])


@dataclass(slots=True)
class _Read:
    """What has been read so far."""

    intakes: list[Intake] = field(default_factory=list)
    rows_by_file: Counter[str] = field(default_factory=Counter)
    kept: Kept = field(default_factory=Kept)


def _looks(settings: PrepareSettings, looked: Looked, seen: Seen) -> tuple[Look, ...]:
    """Return what looks at all rows at once, in order; `seen` is what they tell beside their decisions."""
    return (looks.look(settings.clean, looked, seen),)


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
    guard, unguarded = open_guard(settings.protect, folder)
    spared = kept(settings.keep, folder)
    files = sources(data, settings, folder=folder, store=store)
    inputs = _Inputs(
        files=files, folder=folder, settings=settings, kept=spared, seed=seed, store=store, guard=guard
    )  # fmt: skip
    key = inputs.key()
    target = store / "snapshots" / key[:16]
    if artefact.exists(target, KIND):
        return _result(target, artefact.verify(target, KIND), reused=True)
    room.require(target, 2 * sum(file.bytes for file in inputs.files))
    facts: dict[str, Any] = {
        "key": key,
        "recipe": _RECIPE,
        "seed": seed,
        "settings": settings.model_dump(mode="json", exclude={"further"}),
    }
    with artefact.publish(target, kind=KIND, facts=facts) as temporary:
        facts.update(_make(inputs, temporary, progress))
        facts["choices"] += [asdict(unguarded)] if unguarded else []
    for choice in facts["choices"][len(inputs.files) :]:  # the formats were told while reading
        progress.chose(Reasoned(**choice))
    for warning in facts["warnings"]:
        progress.say(f"warning: {warning}")
    return _result(target, artefact.read(target, KIND), reused=False)


def _make(inputs: _Inputs, folder: Path, progress: Progress) -> dict[str, Any]:
    """Fill the folder of a snapshot; return its facts."""
    settings = inputs.settings
    with Decisions(folder / FILE) as decisions:
        read, looked, spool = _read(inputs, folder / "spool", decisions, progress)
        _require_unchanged(inputs.files)
        seen = Seen()
        with progress.task("comparing rows", total=len(spool)) as task:
            for look in _looks(settings, looked, seen):
                _decide(look(spool), spool, inputs.kept, decisions)
            looked.pages.let_go()
            spool.let_go()
            task.advance(len(spool))
            duplicates = duplication.find(spool, settings.dedupe, inputs.folder)
        _decide(duplicates.decisions, spool, inputs.kept, decisions)
        spool.let_go()
        division = _divide(inputs, spool, duplicates, decisions)
        spool.let_go()
        for remark in part_leaks(spool, division, settings.contamination, inputs.folder, inputs.kept):
            decisions.add(remark)
        training = balance(spool, division, settings.balance, files=inputs.files, kept=inputs.kept)
        for count, item in enumerate(division.dropped(spool.places), 1):
            if count % _OFTEN == 0:
                spool.let_go()
            decisions.add_drop(item)
        if not len(training.numbers):
            raise decisions.blamed(DataError("no training rows are left", "at least one"))
        _write(folder, spool, division, training)
        spool.let_go()
        facts = _facts(read, spool.places, division, training, decisions=decisions, seen=seen)
    if inputs.guard:
        facts["protect"] = inputs.guard.facts(folder, spool.formats, read.kept)
        inputs.guard.keep_map(inputs.store, read.kept)
    return facts


def _divide(inputs: _Inputs, spool: Spool, duplicates: Duplicates, decisions: Decisions) -> Division:
    """Give every row that is alive its split; where too few are, say what became of the others."""
    roles = {file.role for file in inputs.files if file.role != "train"}
    clusters, seed = duplicates.clusters, inputs.seed
    try:
        division = divide(spool.places, inputs.settings, alive=spool.alive, clusters=clusters, files=roles, seed=seed)
    except DataError as error:
        raise decisions.blamed(error) from error
    division.warnings += [*duplication.warnings(decisions), *overlooked(inputs.files)]
    return division


def _read(inputs: _Inputs, path: Path, decisions: Decisions, progress: Progress) -> tuple[_Read, Looked, Spool]:
    """Read every file once, piece by piece; rows that are kept wait in the spool for their split."""
    read, guard = _Read(), inputs.guard
    job = Job(
        settings=inputs.settings, folder=inputs.folder, spared=inputs.kept, guarded=guard is not None,
        languages=looks.tells_languages(inputs.settings.clean), key=guard.key if guard else None,
    )  # fmt: skip
    with Filling(path) as filling, opened(job, inputs.files, guard) as (run, workers):
        exact = Exact(path.parent, enabled=inputs.settings.dedupe.exact)
        entrance = Entrance(filling, decisions, exact, guard, Growing(path.parent))
        for file in inputs.files:
            with progress.task(f"reading {file.name}", total=file.bytes) as task:
                intake, books = open_file(file, inputs.settings, report=task.advance), Books()
                read.intakes.append(intake)
                progress.chose(_format_choice(intake))
                if len(read.intakes) == 1:
                    progress.chose(workers)
                for outcome in run(intake.pieces):
                    read.rows_by_file[file.name] += len(outcome.items)
                    books.join(outcome.books)
                    read.kept.join(outcome.kept)
                    entrance.let_in(outcome)
                books.require_usable(file.name, inputs.settings.most_bad_share)
        spool = filling.spool({intake.file.name: intake.recognised for intake in read.intakes})
        return read, entrance.looked.looked(), spool


def _decide(found: Iterable[Decision], spool: Spool, kept: Collection[str], decisions: Decisions) -> None:
    """Carry out what a second look decided; a row is dropped once, and one that is to be kept never."""
    for count, decision in enumerate(found, 1):
        if count % _OFTEN == 0:
            spool.let_go()
        if decision.action == "drop":
            if not spool.alive[decision.number] or decision.source in kept or decision.row_id in kept:
                continue
            spool.alive[decision.number] = False
        decisions.add(decision)


def _format_choice(intake: Intake) -> Reasoned:
    found = intake.recognised
    sure = "" if found.confidence == 1 else f" in {found.confidence:.0%} of the rows looked at"
    reason = f"{intake.file.reason}; {found.reason}{sure}{intake.unwrapping}"
    return Reasoned(name=f"format of {intake.file.name}", value=found.format, reason=reason)


def _require_unchanged(files: Sequence[DataFile]) -> None:
    for file in files:
        if not file.is_unchanged():
            raise DataError(f"{file.name}: changed while it was being read", "a file that holds still", "run again")


def _write(folder: Path, spool: Spool, division: Division, training: Training) -> None:
    """Deal the spooled lines out to the split files; where training rows are balanced, their lines come apart."""
    plain = training.facts is None
    streams = {split: (folder / f"{split}.jsonl").open("wb") for split in SPLITS}
    try:
        for line, split in zip(spool.lines(), division.splits, strict=True):
            if split != NONE and (plain or split != TRAIN):
                streams[SPLITS[split]].write(line)
        if not plain:
            streams[SPLITS[TRAIN]].writelines(training.lines(spool))
    finally:
        for stream in streams.values():
            stream.close()
    spool.remove()


def _facts(
    read: _Read, places: Places, division: Division, training: Training, *, decisions: Decisions, seen: Seen
) -> dict[str, Any]:
    choices = [*map(_format_choice, read.intakes), *seen.choices, *division.choices]
    facts = account(read.rows_by_file.total(), places, division, training, decisions=decisions, choices=choices)
    sources = {intake.file.name: _source_facts(intake, read) for intake in read.intakes}
    return facts | {"sources": sources, "languages": seen.languages}


def _source_facts(intake: Intake, read: _Read) -> dict[str, Any]:
    file, found = intake.file, intake.recognised
    return {
        "role": file.role, "sha256": file.sha256, "bytes": file.bytes, "rows": read.rows_by_file[file.name],
        "format": found.format, "columns": dict(found.columns), "confidence": found.confidence, "reason": found.reason,
    }  # fmt: skip


def _result(target: Path, manifest: Manifest, *, reused: bool) -> SnapshotResult:
    facts = manifest.facts
    return SnapshotResult(
        path=target,
        digest=manifest.digest,
        rows_in=facts["rows_in"],
        counts=facts["counts"],
        repeated=facts["repeated"],
        dropped=facts["dropped"],
        warnings=tuple(facts["warnings"]),
        choices=tuple(Reasoned(**choice) for choice in facts["choices"]),
        reused=reused,
    )
