"""Compares two snapshots row by row: what came, what went and why, what moved, what was decided otherwise."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from metier.core import artefact
from metier.core.errors import DataError
from metier.core.report import Report, Table, Verdict
from metier.prepare.decisions import FILE

_SPLITS = ("train", "validation", "test")
_SHOWN = 200


class _Place(NamedTuple):
    """Where a row stands in one snapshot."""

    split: str
    source: str


@dataclass(slots=True)
class _Side:
    """One snapshot: rows by id, ids by source, and what was decided by source."""

    rows: dict[str, _Place] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    decided: dict[str, frozenset[str]] = field(default_factory=dict)


@dataclass(slots=True)
class Difference:
    """What differs between two snapshots; every list holds tuples for a table."""

    added: list[tuple[str, str, str]] = field(default_factory=list)
    removed: list[tuple[str, str, str]] = field(default_factory=list)
    moved: list[tuple[str, str, str]] = field(default_factory=list)
    changed: list[tuple[str, str, str]] = field(default_factory=list)
    decided: list[tuple[str, str, str]] = field(default_factory=list)
    same: int = 0


def locate(name: str, store: Path) -> Path:
    """Find a snapshot by its path, its name or the beginning of it.

    Raises:
        DataError: none or several are called so; lists what is there.
    """
    if (Path(name) / artefact.MANIFEST).is_file():
        return Path(name)
    folder = store / "snapshots"
    known = (
        sorted(path.name for path in folder.iterdir() if artefact.exists(path, "snapshot")) if folder.is_dir() else []
    )
    matches = [entry for entry in known if name and entry.startswith(name)]
    if len(matches) == 1:
        return folder / matches[0]
    found = f"snapshot {name!r}: {len(matches)} begin like that" if matches else f"snapshot {name!r}: no such snapshot"
    raise DataError(found, "one of: " + (", ".join(matches or known) or "none yet; `metier prepare` makes one"))


def difference(first: Path, second: Path) -> Difference:
    """Compare two snapshots.

    A row is the same in both when its content is (its id), wherever it stands; a row whose content differs but whose
    `file:line` is the same has changed.

    Raises:
        DataError: one of them is no whole snapshot.
    """
    before, after = _read(first), _read(second)
    found, changed = Difference(), set()
    for row_id, place in after.rows.items():
        old = before.rows.get(row_id)
        if old is not None:
            _compare(found, before, after, old, place)
        elif (old_id := before.ids.get(place.source)) is not None and old_id not in after.rows:
            changed.add(old_id)
            found.changed.append((place.source, before.rows[old_id].split, place.split))
        else:
            why = "repeated" if after.ids[place.source] != row_id else _why(before, place.source)
            found.added.append((place.source, place.split, why or "not there before"))
    for row_id, place in before.rows.items():
        if row_id not in after.rows and row_id not in changed:
            found.removed.append((place.source, place.split, _why(after, place.source) or "not there any more"))
    return found


def report(first: Path, second: Path) -> Report:
    """Tell what differs between two snapshots.

    Raises:
        DataError: one of them is no whole snapshot.
    """
    found = difference(first, second)
    parts = (
        ("added", found.added, ("row", "split", "before")),
        ("removed", found.removed, ("row", "split", "now")),
        ("moved", found.moved, ("row", "from", "to")),
        ("changed", found.changed, ("row", "split before", "split now")),
        ("decided otherwise", found.decided, ("row", "before", "now")),
    )
    differs = any(rows for _, rows, _ in parts)
    told = ", ".join(f"{len(rows):,} {name}" for name, rows, _ in parts)
    return Report(
        title="Difference of two snapshots",
        verdict=Verdict(
            text=told if differs else "the same rows, splits and decisions",
            good=None if differs else True,
            asked=not differs,
        ),
        facts=(("before", first.name), ("now", second.name), ("the same", found.same), *_settings(first, second)),
        tables=tuple(_tables(parts)),
        command=f"metier prepare --diff {first.name} {second.name}",
    )


def _tables(parts: tuple[tuple[str, list[tuple[str, str, str]], tuple[str, ...]], ...]) -> Iterator[Table]:
    for name, rows, columns in parts:
        if rows:
            kinds = Counter((second, third) for _, second, third in rows)
            most = "; ".join(f"{count:,} × {first} → {then}" for (first, then), count in kinds.most_common(3))
            note = f"{len(rows):,} in all; the first {_SHOWN} are shown. {most}" if len(rows) > _SHOWN else ""
            yield Table(title=name.capitalize(), columns=columns, rows=tuple(rows[:_SHOWN]), note=note)


def _compare(found: Difference, before: _Side, after: _Side, old: _Place, new: _Place) -> None:
    if old.split != new.split:
        found.moved.append((new.source, old.split, new.split))
    first, second = (side.decided.get(place.source, frozenset()) for side, place in ((before, old), (after, new)))
    if first != second:
        gone, come = ("; ".join(sorted(one - other)) or "nothing" for one, other in ((first, second), (second, first)))
        found.decided.append((new.source, gone, come))
    found.same += old.split == new.split and first == second


def _why(side: _Side, source: str) -> str:
    """Return the reasons for which a snapshot dropped what stands at a place."""
    return "; ".join(sorted(text for text in side.decided.get(source, ()) if text.startswith("drop")))


def _read(path: Path) -> _Side:
    artefact.verify(path, "snapshot")
    side = _Side()
    for split in _SPLITS:
        for line in _lines(path / f"{split}.jsonl"):
            row_id, source = str(line["id"]), str(line["source"])
            side.rows[row_id] = _Place(split, source)
            side.ids.setdefault(source, row_id)  # a repetition of the row stands at the same place
    decided: dict[str, set[str]] = defaultdict(set)
    for line in _lines(path / FILE):
        decided[str(line["source"])].add(f"{line['action']}: {line['reason']}")
    side.decided = {source: frozenset(texts) for source, texts in decided.items()}
    return side


def _lines(path: Path) -> Iterator[Mapping[str, object]]:
    with path.open(encoding="utf-8", newline="\n") as stream:
        yield from map(json.loads, stream)


def _settings(first: Path, second: Path) -> Iterator[tuple[str, str]]:
    """Yield the settings that differ."""
    sides = [_flat(artefact.read(path, "snapshot").facts["settings"]) for path in (first, second)]
    for name in sorted(sides[0].keys() | sides[1].keys()):
        before, now = (json.dumps(side.get(name), ensure_ascii=False) for side in sides)
        if before != now:
            yield f"prepare.{name}", f"{before} → {now}"


def _flat(settings: Mapping[str, object], above: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in settings.items():
        found |= _flat(value, f"{above}{name}.") if isinstance(value, Mapping) else {f"{above}{name}": value}
    return found
