"""What a person should know of a snapshot: rows in, out and dropped, what was changed and why, and what is in it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from metier.core import artefact
from metier.core.report import Cell, Figure, Report, Series, Table, Verdict
from metier.prepare.advice import Warning, of_snapshot, warnings_table
from metier.prepare.balance import report as balance
from metier.prepare.decisions import FILE

_MOST_ROWS = 40
_WEIGHTY = 0.02
"""Warnings that concern a smaller part of the rows do not change the verdict."""

_FORMAT = "format of "
_SPLITS = ("train", "validation", "test")
_DONE = {"drop": "dropped", "change": "changed", "flag": "flagged"}


def report(path: Path, more: tuple[Warning, ...] = ()) -> Report:
    """Tell what came in, what went out and what was dropped where.

    Args:
        path: the snapshot.
        more: warnings that were found elsewhere (in the tokens), to be ranked with the others.

    Raises:
        DataError: there is no whole snapshot.
    """
    manifest = artefact.read(path, "snapshot")
    facts = manifest.facts
    counts, dropped = facts["counts"], facts["dropped"]
    warnings = (*of_snapshot(facts), *more)
    return Report(
        title="Snapshot",
        verdict=_verdict(facts, warnings),
        facts=(
            ("rows in", facts["rows_in"]),
            *((f"{split} rows", counts[split]) for split in _SPLITS),
            *((("of them repeated", facts["repeated"]),) if facts["repeated"] else ()),
            ("dropped", sum(dropped.values())),
            *_choices(facts["choices"]),
            ("snapshot", path.name),
        ),
        tables=tuple(_tables(path, facts, warnings)),
        figures=tuple(_figures(facts)),
        command="metier prepare",
    )


def _choices(choices: list[dict[str, Any]]) -> Iterator[tuple[str, Cell]]:
    """Yield what was chosen and why; a format that several files are in stands there once."""
    told: dict[str, list[str]] = {}
    for choice in choices:
        told.setdefault(f"{choice['value']} ({choice['reason']})", []).append(choice["name"])
    for value, names in told.items():
        together = len(names) > 1 and all(name.startswith(_FORMAT) for name in names)
        yield from [(f"{_FORMAT}{len(names)} files", value)] if together else ((name, value) for name in names)


def _verdict(facts: Mapping[str, Any], warnings: tuple[Warning, ...]) -> Verdict:
    counts = facts["counts"]
    repeated = f" ({facts['repeated']:,} of them repeated)" if facts["repeated"] else ""
    text = (
        f"{facts['rows_in']:,} rows in: {counts['train']:,} to train{repeated}, {counts['validation']:,} to validate, "
        f"{counts['test']:,} to test, {sum(facts['dropped'].values()):,} dropped"
    )
    weighty = any(warning.weight >= _WEIGHTY * facts["rows_in"] for warning in warnings)
    return Verdict(text=text, good=None if weighty else True, asked=not weighty)


def _tables(path: Path, facts: Mapping[str, Any], warnings: tuple[Warning, ...]) -> Iterator[Table]:
    if warnings:
        yield warnings_table(warnings)
    yield Table(
        title="Files",
        columns=("file", "named as", "rows", "bytes", "format", "confidence"),
        rows=tuple(
            (name, source["role"], source["rows"], source["bytes"], source["format"], f"{source['confidence']:.0%}")
            for name, source in facts["sources"].items()
        ),
    )
    for action in ("drop", "change", "flag"):
        yield from _decided(path, facts, action)
    yield from _personal(facts)
    yield from balance.tables(facts["balance"])
    for name, what in (("labels", "Labels"), ("slices", "Slices")):
        if facts.get(name):
            yield _by_split(what, facts[name])
    yield from _languages(facts.get("languages", {}))
    yield from _lengths(facts.get("lengths", {}))


def _decided(path: Path, facts: Mapping[str, Any], action: str) -> Iterator[Table]:
    """List what was done to rows and why, most frequent first, with the first places of each."""
    entries = sorted((entry for entry in facts["decisions"] if entry["action"] == action), key=lambda e: -e["rows"])
    if entries:
        yield Table(
            title=_DONE[action].capitalize(),
            columns=("reason", "rule", "rows", "share", "for example"),
            rows=tuple(
                (
                    entry["reason"], entry["rule"], entry["rows"], f"{entry['rows'] / facts['rows_in']:.1%}",
                    "; ".join(entry["examples"]),
                )
                for entry in entries
            ),
            note=f"Every one is listed in {path / FILE}; prepare.keep undoes it for the rows that it names.",
        )  # fmt: skip


def _personal(facts: Mapping[str, Any]) -> Iterator[Table]:
    found = facts.get("protect", {}).get("found", {})
    if found:
        yield Table(
            title="Personal data",
            columns=("kind", "found", "rows", "for example"),
            rows=tuple(
                (kind, entry["values"], entry["rows"], ", ".join(map(str, _listed(entry["first"]))))
                for kind, entry in found.items()
            ),
            note=f"prepare.protect.action is {facts['protect']['action']}. {_proof(facts['protect'])}".strip(),
        )


def _proof(protect: Mapping[str, Any]) -> str:
    """Say what a second pass over the written rows found, where rows were changed."""
    if "proof" not in protect:
        return ""
    proof = protect["proof"]
    told = f"Proof: the {proof['rows']:,} rows of the snapshot were looked through again as they are written"
    spared = f" ({proof['spared']:,} rows of prepare.keep were passed by)" if proof["spared"] else ""
    return f"{told}, with {proof['left']:,} finds left{spared}."


def _listed(value: Any) -> list[Any]:
    return list(value)[:3] if isinstance(value, list | tuple) else [value]


def _by_split(title: str, names: Mapping[str, Mapping[str, int]]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (name, *(counts[split] for split in _SPLITS)) for name, counts in list(names.items())[:_MOST_ROWS]
    ]
    note = f"The {_MOST_ROWS} most frequent of {len(names):,}." if len(names) > _MOST_ROWS else ""
    return Table(title=title, columns=(title.lower().removesuffix("s"), *_SPLITS), rows=tuple(rows), note=note)


def _languages(languages: Mapping[str, int]) -> Iterator[Table]:
    total = sum(languages.values())
    if total:
        yield Table(
            title="Languages",
            columns=("language", "rows", "share"),
            rows=tuple((name, count, f"{count / total:.1%}") for name, count in list(languages.items())[:_MOST_ROWS]),
            note=f"Of the {total:,} rows that are long enough to tell.",
        )


def _lengths(lengths: Mapping[str, Mapping[str, Any]]) -> Iterator[Table]:
    known = {split: facts for split, facts in lengths.items() if facts}
    if known:
        yield Table(
            title="Length of a row in characters",
            columns=("split", "half are at most", "9 in 10 at most", "99 in 100 at most", "longest"),
            rows=tuple(
                (split, facts["median"], facts["p90"], facts["p99"], facts["longest"]) for split, facts in known.items()
            ),
        )


def _figures(facts: Mapping[str, Any]) -> Iterator[Figure]:
    labels = facts["labels"]
    if len(labels) > 1:
        shown = list(labels)[:_MOST_ROWS]
        series = tuple(
            Series(name=split, x=shown, y=[float(labels[label][split]) for label in shown]) for split in _SPLITS
        )
        yield Figure(title="Rows by label", kind="bars", series=series, x_label="label", y_label="rows")
    bars = facts.get("lengths", {}).get("train", {}).get("histogram", {})
    if bars:
        filled = [number for number, count in enumerate(bars.values()) if count]
        part = slice(filled[0], filled[-1] + 1)
        shown = [f"from {int(edge):,}" for edge in list(bars)[part]]
        heights = [float(count) for count in list(bars.values())[part]]
        series = (Series(name="train", x=shown, y=heights),)
        yield Figure(title="Rows by length", kind="bars", series=series, x_label="characters", y_label="training rows")
