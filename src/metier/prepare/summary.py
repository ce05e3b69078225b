"""What a person should know of a snapshot: rows in, out and dropped, labels by split, and what is wrong with it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from metier.core import artefact
from metier.core.report import Cell, Figure, Report, Series, Table, Verdict
from metier.prepare.decisions import FILE

_MOST_ROWS = 40
_SPLITS = ("train", "validation", "test")


def report(path: Path) -> Report:
    """Tell what came in, what went out and what was dropped where.

    Args:
        path: the snapshot.

    Raises:
        DataError: there is no whole snapshot.
    """
    manifest = artefact.read(path, "snapshot")
    facts = manifest.facts
    counts, dropped = facts["counts"], facts["dropped"]
    return Report(
        title="Snapshot",
        verdict=_verdict(facts),
        facts=(
            ("rows in", facts["rows_in"]),
            *((f"{split} rows", counts[split]) for split in _SPLITS),
            ("dropped", sum(dropped.values())),
            *((choice["name"], f"{choice['value']} ({choice['reason']})") for choice in facts["choices"]),
            ("snapshot", path.name),
        ),
        tables=tuple(_tables(path, facts)),
        figures=tuple(_figures(facts["labels"])),
        command="metier prepare",
    )


def _verdict(facts: Mapping[str, Any]) -> Verdict:
    counts = facts["counts"]
    text = (
        f"{facts['rows_in']:,} rows in: {counts['train']:,} to train, {counts['validation']:,} to validate, "
        f"{counts['test']:,} to test, {sum(facts['dropped'].values()):,} dropped"
    )
    return Verdict(text=text, good=None if facts["warnings"] else True)


def _tables(path: Path, facts: Mapping[str, Any]) -> Iterator[Table]:
    if facts["warnings"]:
        yield Table(title="Warnings", columns=("warning",), rows=tuple((warning,) for warning in facts["warnings"]))
    yield Table(
        title="Files",
        columns=("file", "named as", "rows", "bytes", "format", "confidence"),
        rows=tuple(
            (name, source["role"], source["rows"], source["bytes"], source["format"], f"{source['confidence']:.0%}")
            for name, source in facts["sources"].items()
        ),
    )
    if facts["dropped"]:
        yield _dropped(path, facts)
    if found := facts.get("protect", {}).get("found"):
        yield _protected(found, facts["protect"])
    if facts["labels"]:
        yield _labels(facts["labels"])


def _protected(found: Mapping[str, Any], facts: Mapping[str, Any]) -> Table:
    """List personal data and secrets by kind: how much, where, and what became of it. Values are never shown."""
    done = {"count": "left as they are", "redact": "redacted", "pseudonymise": "pseudonymised", "drop": "rows dropped"}
    rows = tuple(
        (entity, entry["values"], entry["rows"], "; ".join(entry["first"][:3])) for entity, entry in found.items()
    )
    note = f"They were {done[facts['action']]}; prepare.protect.action says what is done."
    if "proof" in facts:
        note += f" All {facts['proof']['rows']:,} rows were read back: none is left."
        kept = facts["proof"]["spared"]
        note += f" {kept:,} row(s) that prepare.keep names were not touched." if kept else ""
    return Table(
        title="Personal data and secrets", columns=("kind", "values", "rows", "for example in"), rows=rows, note=note
    )


def _dropped(path: Path, facts: Mapping[str, Any]) -> Table:
    """List the reasons, most frequent first, with the first places of each."""
    drops = [entry for entry in facts["decisions"] if entry["action"] == "drop"]
    return Table(
        title="Dropped",
        columns=("reason", "rule", "rows", "share", "for example"),
        rows=tuple(
            (
                entry["reason"], entry["rule"], entry["rows"], f"{entry['rows'] / facts['rows_in']:.1%}",
                "; ".join(entry["examples"]),
            )
            for entry in sorted(drops, key=lambda entry: -entry["rows"])
        ),
        note=f"Every one of them is listed in {path / FILE}.",
    )  # fmt: skip


def _labels(labels: Mapping[str, Mapping[str, int]]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (label, *(counts[split] for split in _SPLITS)) for label, counts in list(labels.items())[:_MOST_ROWS]
    ]
    note = f"The {_MOST_ROWS} most frequent of {len(labels)} labels." if len(labels) > _MOST_ROWS else ""
    return Table(title="Labels", columns=("label", *_SPLITS), rows=tuple(rows), note=note)


def _figures(labels: Mapping[str, Mapping[str, int]]) -> Iterator[Figure]:
    if len(labels) > 1:
        shown = list(labels)[:_MOST_ROWS]
        series = tuple(
            Series(name=split, x=shown, y=[float(labels[label][split]) for label in shown]) for split in _SPLITS
        )
        yield Figure(title="Rows by label", kind="bars", series=series, x_label="label", y_label="rows")
