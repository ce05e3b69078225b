"""Tables and figures of a comparison, for one run's evaluation and for two runs alike; imports no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

from metier.core.report import Cell, Figure, Series, Table
from metier.evaluate.wording import change_with_interval, level, level_with_interval, word
from metier.score.metrics import metric_of

Names = tuple[str, str]

_MOST_BARS = 30
_METHODS = {
    "score": "score intervals (Wilson, Tango), made for few rows",
    "t": "Student's t over the jackknife",
    "bootstrap": "the paired bootstrap (BCa)",
    "none": "nothing: too few rows",
}


def metrics_table(facts: Mapping[str, Any], names: Names, confidence: float) -> Table:
    """One line a metric: both models, the difference, each with its interval, and the verdict."""
    deciding = facts["metric"]["value"]
    rows = tuple(
        (
            _titled(metric["name"]) + (" ← decides" if metric["name"] == deciding else ""),
            *_compared(metric["name"], metric),
        )
        for metric in facts["metrics"]
    )
    meanings = "; ".join(f"{metric_of(m['name']).title}: {metric_of(m['name']).meaning}" for m in facts["metrics"])
    unit = "groups of rows" if facts["groups"] else "rows"
    return Table(
        title="Measured on the same held-out rows",
        columns=("metric", *names, "difference", "verdict"),
        rows=rows,
        note=(
            f"With each value its {100 * confidence:g} % interval, by {_METHODS[facts['verdict']['method']]}, over"
            f" {unit}: where the truth probably lies. Differences of shares are in points. Only the metric that "
            f"decides gives the verdict; the others explain it. {meanings}."
        ),
    )


def slices_table(facts: Mapping[str, Any], names: Names) -> Table | None:
    """One line a slice, for the deciding metric."""
    if not facts["slices"]:
        return None
    left_out = f" {facts['slices_left_out']} more slices are not shown." if facts["slices_left_out"] else ""
    return Table(
        title=f"By slice: {metric_of(facts['metric']['value']).title}",
        columns=("slice", "rows", *names, "difference", "verdict"),
        rows=tuple(
            (entry["slice"], entry["rows"], *_compared(entry["name"], entry)[:-1], word(entry))
            for entry in facts["slices"]
        ),
        note=(
            "To look for weak spots. Better and worse hold for so many looks together: of the slices called so, about "
            f"one in twenty is so by chance (Benjamini–Hochberg).{left_out}"
        ),
    )


def fields_table(facts: Mapping[str, Any], names: Names) -> Table | None:
    """One line a field of a JSON answer."""
    if not facts["fields"]:
        return None
    left_out = f" {facts['fields_left_out']} rarer fields are not shown." if facts["fields_left_out"] else ""
    rows = tuple(
        (
            entry["field"],
            entry["rows"],
            *_compared("field_accuracy", entry),
            _share(entry["commonest"]["share"]),
            _from_to(entry["base_macro_f1"], entry["tuned_macro_f1"]),
        )
        for entry in facts["fields"]
    )
    return Table(
        title="Field by field",
        columns=(
            "field", "rows", *names, "difference", "verdict",
            "always the same", "macro-F1",
        ),
        rows=rows,
        note=(
            "The share of rows with exactly the right value in the field. Always the same: what a model would get that "
            "knows nothing but the most frequent value. Macro-F1 weighs every value alike; it is left out where a "
            f"field has too many values to be a choice.{left_out}"
        ),
    )  # fmt: skip


def fields_figure(facts: Mapping[str, Any], names: Names) -> Figure | None:
    """Bars: how often each field is right."""
    fields = facts["fields"][:_MOST_BARS]
    if not fields:
        return None
    return Figure(
        title="How often each field is right",
        kind="bars",
        series=tuple(
            _bars(name, [entry["field"] for entry in fields], [entry[side] for entry in fields])
            for name, side in zip(names, ("base", "tuned"), strict=True)
        ),
        x_label="field",
        y_label="% of rows",
    )


def labels_figure(facts: Mapping[str, Any], names: Names) -> Figure | None:
    """Bars: how often rows of each label are right; where there are many labels, those the second model does worst."""
    labels = sorted(facts["labels"], key=lambda entry: (entry["tuned"]["recall"]["value"], entry["label"]))
    shown = labels[:_MOST_BARS]
    if not shown:
        return None
    rest = len(labels) - len(shown)
    return Figure(
        title="How often each label is right" + (f": the {len(shown)} weakest of {len(labels)}" if rest else ""),
        kind="bars",
        series=tuple(
            _bars(name, [entry["label"] for entry in shown], [entry[side]["recall"] for entry in shown])
            for name, side in zip(names, ("base", "tuned"), strict=True)
        ),
        x_label="label",
        y_label="% of the label's rows",
        note="Intervals are Wilson's; a label with few rows has a wide one.",
    )


def labels_table(facts: Mapping[str, Any], names: Names) -> Table | None:
    """One line a label: rows, share right, precision, F1 of both models; the second model's weakest first."""
    labels = sorted(facts["labels"], key=lambda entry: (entry["tuned"]["f1"], entry["label"]))
    if not labels:
        return None
    rows = tuple(
        (
            entry["label"],
            entry["rows"],
            *(_share(entry[side]["recall"]["value"]) for side in ("base", "tuned")),
            *(_share(entry[side]["precision"]) for side in ("base", "tuned")),
            *(_share(entry[side]["f1"]) for side in ("base", "tuned")),
        )
        for entry in labels
    )
    columns = [f"{what} {name}" for what in ("right", "precision", "F1") for name in names]
    return Table(
        title="Label by label, weakest first",
        columns=("label", "rows", *columns),
        rows=rows,
        note="Right: of the rows with this label. Precision: of the answers that said it.",
    )


def confusions_table(facts: Mapping[str, Any], names: Names) -> Table | None:
    """List the second model's most frequent mistakes."""
    if not facts["confusions"]:
        return None
    return Table(
        title="Most frequent mistakes",
        columns=("wanted", f"{names[1]} said", "rows", f"{names[0]} said the same"),
        rows=tuple((e["wanted"], _short(e["said"]), e["rows"], e["base_rows"]) for e in facts["confusions"]),
    )


def retention_tables(retention: Mapping[str, Any], names: Names) -> tuple[Table, ...]:
    """Tell what was forgotten: loss and perplexity on general text, and the loss by kind of text."""
    verdicts = {"loss": retention["verdict"], "perplexity": ""}
    whole = tuple(
        (
            _titled(metric["name"]),
            metric["rows"],
            level_with_interval(metric["name"], metric["base"]),
            level_with_interval(metric["name"], metric["tuned"]),
            change_with_interval(metric["name"], metric["difference"]),
            verdicts[metric["name"]],
        )
        for metric in retention["metrics"]
    )
    kinds = tuple(
        (
            f"loss, {entry['kind']}",
            entry["rows"],
            level_with_interval("loss", entry["base"]),
            level_with_interval("loss", entry["tuned"]),
            change_with_interval("loss", entry["difference"]),
            entry["kept"],
        )
        for entry in retention["kinds"]
    )
    return (
        Table(
            title="What was forgotten: general text that has nothing to do with the task",
            columns=("measure", "pieces", *names, "difference", "verdict"),
            rows=(*whole, *kinds),
            note=(
                f"Kept: the loss rose by at most {retention['margin']:g} nats per token, interval included "
                "(evaluate.suites.loss_margin). Lost: it rose by more. The kinds of text are there to look for causes."
            ),
        ),
    )


def suites_table(facts: Mapping[str, Any], names: Names) -> Table | None:
    """One line a suite: what both models can, and whether it was forgotten."""
    entries = facts.get("suites") or []
    if not entries:
        return None
    rows = []
    for entry in entries:
        told = "" if entry.get("of_bias") else entry["kept"]
        if entry["kept"] == "cannot tell" and entry["more_rows"] and told:
            told += f": about {entry['more_rows']:,} more items needed"
        if entry.get("of_bias"):
            told = entry["verdict"] if entry["verdict"] in ("identical", "equivalent") else _moved(entry)
        rows.append((entry["suite"], entry["rows"], *_compared("accuracy", entry)[:3], told))
    left_out = sum(entry["left_out"] for entry in entries)
    skipped = f" {left_out:,} items could not be asked of this base." if left_out else ""
    return Table(
        title="What else it can still do",
        columns=("suite", "items", *names, "difference", "verdict"),
        rows=tuple(rows),
        note=(
            f"Kept: not more than {100 * entries[0]['margin']:g} points worse, interval included "
            "(evaluate.suites.margin). Lost: worse, by a test that allows for the number of suites (Holm). "
            + "; ".join(f"{entry['suite']}: {entry['what']}" for entry in entries)
            + f".{skipped}"
        ),
    )


def _moved(entry: Mapping[str, Any]) -> str:
    """Say of a measure of bias whether tuning moved it; no direction of it is good by itself."""
    shown = entry["p"] is not None and entry["p"] <= 0.05
    return "changed by tuning" if shown else "no change shown"


def _titled(name: str) -> str:
    """Return a metric's title with its unit, where that is not plain from the number."""
    metric = metric_of(name)
    return f"{metric.title} ({metric.unit})" if metric.unit == "nats per token" else metric.title


def _compared(name: str, entry: Mapping[str, Any]) -> tuple[Cell, ...]:
    """Both models, the difference and the verdict of one line."""
    return (
        level_with_interval(name, entry["base"]),
        level_with_interval(name, entry["tuned"]),
        change_with_interval(name, entry["difference"]),
        entry["verdict"],
    )


def _bars(name: str, x: Sequence[str], estimates: Sequence[Mapping[str, float | None]]) -> Series:
    """Return shares as per cent; an estimate without an interval gets one of no width."""
    values = [100 * (entry["value"] or 0.0) for entry in estimates]
    ends = [
        [
            value if entry[end] is None else 100 * (entry[end] or 0.0)
            for entry, value in zip(estimates, values, strict=True)
        ]
        for end in ("low", "high")
    ]
    return Series(name=name, x=list(x), y=values, low=ends[0], high=ends[1])


def _share(value: float | None) -> str | None:
    return None if value is None else level("accuracy", value)


def _from_to(base: float | None, tuned: float | None) -> str | None:
    """Write two shares as one cell, None where they are not known."""
    return None if base is None or tuned is None else f"{_share(base)} to {_share(tuned)}"


def _short(text: str) -> str:
    """Return an answer in one line that fits a table."""
    line = " ".join(text.split()) or "(nothing)"
    return line if len(line) <= 60 else line[:59] + "…"
