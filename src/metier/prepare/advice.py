"""What is wrong with prepared data, ranked by what it will do to the model."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from metier.core.report import Table
from metier.score.ahead import CHANGING, difference_shown_by, rows_for

_FEWEST_TO_LEARN = 10
_COARSE = 0.25
"""A class on whose test rows only a larger difference between two models would show cannot be judged."""

_MOST_OF_ONE_LABEL = 0.8
_MANY_COPIES = 0.3
_SHOWN = 5

_EFFECTS = {
    "clean.conflicts": (
        1.0,
        "It teaches a contradiction: no model is right on both",
        "correct one of each pair",
    ),
    "clean.mislabelled": (
        0.7,
        "It teaches the wrong label, and tests by it",
        "read the list",
    ),
    "clean.formats": (1.0, "It teaches answers that programs cannot read", "mend them, or prepare.clean.formats: drop"),
    "clean.refusals": (0.8, "It teaches to refuse", "prepare.clean.refusals: drop, unless refusing is wanted"),
    "clean.language": (0.6, "It teaches to change language", "prepare.clean.language: drop, or name the languages"),
    "clean.html": (0.4, "It teaches to write tags, or to need them", "prepare.clean.html: fix, if they mean nothing"),
    "clean.signatures": (0.3, "It costs tokens, and shows names to the model", "prepare.clean.signatures: fix"),
    "clean.boilerplate": (0.2, "It costs tokens in every row", "name the lines in prepare.clean.remove"),
    "clean.lengths": (0.2, "It takes most of a batch, or does not fit", "read them; text.max_tokens limits rows"),
    "duplicates.near": (0.5, "It counts the same example several times", "prepare.dedupe"),
    "duplicates.semantic": (0.3, "It counts the same example several times", "prepare.dedupe"),
    "contamination": (2.0, "It makes the test easier than the world", "drop the listed rows"),
}
"""Rule -> (how bad a row of it is, beside a contradiction; what it does to the model; what to do)."""


class Warning(NamedTuple):
    """One thing that is wrong. `weight` ranks: training rows concerned times how bad that is for each."""

    weight: float
    found: str
    effect: str
    do: str


def of_snapshot(facts: Mapping[str, Any]) -> tuple[Warning, ...]:
    """Return what the manifest of a snapshot gives reason to warn of."""
    return (
        *_of_flags(facts["decisions"], facts["rows_in"]),
        *_of_labels(facts["labels"], facts["counts"]),
        *_unjudged("Labels", facts["labels"]),
        *_unjudged("Slices", facts.get("slices", {})),
        *_of_copies(facts),
        *(Warning(_rank(text, facts), f"Split: {text}", "", "") for text in facts["warnings"]),
    )


def warnings_table(warnings: Iterable[Warning]) -> Table:
    """Return the warnings as a table, the worst first."""
    ranked = sorted(warnings, key=lambda warning: -warning.weight)
    return Table(
        title="Warnings",
        columns=("warning", "what to do"),
        rows=tuple((f"{warning.found}. {warning.effect}".removesuffix(". "), warning.do) for warning in ranked),
        note="Ranked by the training rows concerned and how bad it is for each.",
    )


def _of_flags(decisions: Iterable[Mapping[str, Any]], rows_in: int) -> Iterator[Warning]:
    for entry in decisions:
        rule = entry["rule"] if entry["rule"] in _EFFECTS else entry["rule"].partition(".")[0]
        if entry["action"] == "flag" and rule in _EFFECTS:
            bad, effect, do = _EFFECTS[rule]
            first = f"first: {entry['examples'][0]}"
            reason = entry["reason"][:1].upper() + entry["reason"][1:]
            found = f"{reason}: {entry['rows']:,} rows, {entry['rows'] / max(rows_in, 1):.1%} ({first})"
            yield Warning(bad * entry["rows"], found, effect, do)


def _of_labels(labels: Mapping[str, Mapping[str, int]], counts: Mapping[str, int]) -> Iterator[Warning]:
    rare = [name for name, rows in labels.items() if 0 < rows["train"] < _FEWEST_TO_LEARN]
    if rare:
        found = f"Labels with fewer than {_FEWEST_TO_LEARN} rows to learn from: {len(rare)}, {_named(rare)}"
        weight = float(sum(sum(labels[name].values()) for name in rare))
        yield Warning(weight, found, "The model will hardly ever say them", "add rows of them, or join labels")
    if len(labels) > 1:
        name, rows = next(iter(labels.items()))
        share = rows["train"] / max(counts["train"], 1)
        if share > _MOST_OF_ONE_LABEL:
            found = f"One label, {name!r}, stands on {share:.0%} of the training rows"
            yield Warning(
                share * counts["train"],
                found,
                "The model will say it too often",
                "more rows of the others, or prepare.balance",
            )


def _unjudged(what: str, classes: Mapping[str, Mapping[str, int]]) -> Iterator[Warning]:
    """Warn of classes with too few test rows to tell two models apart on them."""
    needed = rows_for(_COARSE)
    few = {name: rows["test"] for name, rows in classes.items() if sum(rows.values()) > 0 and rows["test"] < needed}
    if few:
        shown = [f"{name!r} ({rows} rows: {_points(difference_shown_by(rows))})" for name, rows in few.items()]
        more = f" and {len(shown) - _SHOWN:,} more" if len(shown) > _SHOWN else ""
        yield Warning(
            1.0, f"{what} with too few test rows to be judged alone: {len(few)} of {len(classes)}, "
            f"{', '.join(shown[:_SHOWN])}{more}",
            f"A difference of less would hardly show there (80 % power, {CHANGING:.0%} of the answers changing sides)",
            f"{needed} test rows of each show {_points(_COARSE)}: more rows of them, or a test file",
        )  # fmt: skip


def _points(difference: float | None) -> str:
    return "nothing shows" if difference is None else f"{100 * difference:.0f} points"


def _of_copies(facts: Mapping[str, Any]) -> Iterator[Warning]:
    copies = sum(
        entry["rows"]
        for entry in facts["decisions"]
        if entry["action"] == "drop" and entry["rule"].startswith("duplicates")
    )
    if copies > _MANY_COPIES * facts["rows_in"]:
        found = f"Copies of other rows were {copies / facts['rows_in']:.0%} of all, and are dropped"
        yield Warning(
            0.3 * copies, found, "The model learns from fewer rows than it seems", "look at how the file was made"
        )


def _rank(text: str, facts: Mapping[str, Any]) -> float:
    """Rank a warning of the split: what leaks from training into the test comes first."""
    return (2.0 if "held-out" in text or "test" in text else 0.05) * facts["rows_in"]


def _named(names: list[str]) -> str:
    return ", ".join(map(repr, names[:_SHOWN])) + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")
