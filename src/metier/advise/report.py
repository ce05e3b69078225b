"""An advice as plain facts, and those facts as a Report; imports no torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metier.advise.curve import Curve
from metier.advise.decide import READABLE, Against, Choice
from metier.advise.settings import AdviseSettings
from metier.advise.ways import NotMeasured, Way
from metier.core import artefact
from metier.core.report import Cell, Figure, Report, Series, Table, Verdict
from metier.score.prices import PriceSettings

KIND = "advice"

_REQUESTS = 1000
_GOOD: Mapping[str, bool | None] = {"tune": True, "do not tune": False, "cannot tell": None}


def facts_of(
    choice: Choice,
    ways: Sequence[Way],
    missing: Sequence[NotMeasured],
    curve: Curve | None,
    *,
    settings: AdviseSettings,
    now: str,
) -> dict[str, Any]:
    """Return everything that advice.json holds beside its conditions."""
    told = {way.name: _way(way, settings.prices) for way in ways}
    return {
        "answer": choice.answer,
        "why_open": choice.why,
        "verdict": {"text": _sentence(choice), "good": _GOOD[choice.answer]},
        "now": now if now in told else None,
        "chosen": choice.chosen.name,
        "best": choice.best.name,
        "gain": None if choice.gain is None else _against(choice.gain),
        "rivals": [_against(entry) for entry in choice.rivals],
        "compared": [_against(entry) for entry in choice.compared],
        "confidence": choice.confidence,
        "ways": list(told.values()),
        "not_measured": [{"name": entry.name, "why": entry.why} for entry in missing],
        "curve": None if curve is None else _curve(curve, ways, settings.target),
        "would_change": _changes(choice, ways, missing, curve),
    }


def read(folder: Path) -> dict[str, Any]:
    """Return the content of an advice's advice.json.

    Raises:
        DataError: there is none, or it was changed since it was written.
    """
    artefact.verify(folder, KIND)
    return artefact.read_json(folder / "advice.json")


def report(facts: Mapping[str, Any]) -> Report:
    """Tell an advice, read from advice.json."""
    conditions = facts["conditions"]
    lines: list[tuple[str, Cell]] = [
        ("asked", f"{conditions['rows']} validation rows; the test rows were not looked at"),
        ("learnt from", f"{conditions['training_rows']:,} training rows"),
        ("score", conditions["score"]),
        ("best", facts["best"]),
    ]
    if facts["gain"] is not None:
        gain = facts["gain"]
        lines.append(("against now", f"{_points(gain)} for {gain['second']} over {gain['first']}"))
    lines.append(("metier.yaml", ".metier/advice/metier.yaml is ready to be copied"))
    tables = [_ways_table(facts), _costs(facts), _compared(facts)]
    if facts["curve"] is not None:
        tables.append(_curve_table(facts["curve"]))
    tables.append(
        Table(title="What would change this", columns=("it takes",), rows=tuple((t,) for t in facts["would_change"]))
    )
    absent = tuple((entry["name"], entry["why"]) for entry in facts["not_measured"])
    tables.append(Table(title="Not measured", columns=("way", "why"), rows=absent))
    return Report(
        title="Advice",
        verdict=Verdict(**facts["verdict"]),
        facts=tuple(lines),
        tables=tuple(table for table in tables if table.rows),
        figures=() if facts["curve"] is None else (_figure(facts["curve"]),),
        command="metier advise",
    )


def _way(way: Way, prices: PriceSettings) -> dict[str, Any]:
    tried = way.tried
    return {
        "name": way.name, "family": tried.family, "base": tried.base, "score": way.mean, "low": way.level.low,
        "high": way.level.high, "in_form": way.in_form, "detail": tried.detail, "instruction": tried.text,
        "per_1000": {
            "tokens_in": _REQUESTS * tried.tokens_in, "tokens_out": _REQUESTS * tried.tokens_out,
            "seconds": _REQUESTS * tried.seconds, "price": _price(way, prices),
        },
    }  # fmt: skip


def _price(way: Way, prices: PriceSettings) -> float | None:
    """Return what 1,000 requests cost at the user's prices: tokens, and the time of this machine. None: not known."""
    tried = way.tried
    return prices.cost(
        sent=tried.tokens_in, received=tried.tokens_out, seconds=tried.seconds, by_token=tried.base is not None
    )


def _against(entry: Against) -> dict[str, Any]:
    difference = entry.paired.difference
    return {
        "first": entry.first, "second": entry.second, "difference": difference.value, "low": difference.low,
        "high": difference.high, "word": entry.decision.word, "more_rows": entry.decision.more_rows,
        "reason": entry.decision.reason,
    }  # fmt: skip


def _sentence(choice: Choice) -> str:
    score = f"{100 * choice.chosen.mean:.1f} %"
    gain = "" if choice.gain is None else f", {_points(_against(choice.gain))} against the prompt as it is"
    if choice.answer == "tune":
        return f"Fine-tune: {choice.chosen.name} scores {score}{gain}."
    if choice.answer == "do not tune":
        close = f"; {choice.rivals[-1].first} cannot be told from it" if choice.rivals else ""
        return f"Do not fine-tune: {choice.chosen.name} scores {score}{gain}{close}."
    rows = max((entry.decision.more_rows or 0 for entry in choice.rivals), default=0)
    close = rows and choice.best is not choice.chosen
    more = f"; about {rows:,} more validation rows would tell" if close else ""
    text = f"Whether to fine-tune is open: {choice.why}{more}. Begin with {choice.chosen.name} ({score}{gain})"
    best = (
        ""
        if choice.best is choice.chosen
        else f"; the best so far is {choice.best.name} ({100 * choice.best.mean:.1f} %)"
    )
    return f"{text}{best}."


def _points(gain: Mapping[str, Any]) -> str:
    value, low, high = (100 * gain[name] for name in ("difference", "low", "high"))
    return f"{value:+.1f} points ({low:+.1f} to {high:+.1f})"


def _curve(curve: Curve, ways: Sequence[Way], target: float | None) -> dict[str, Any]:
    others = [way.mean for way in ways if way.tried.family != "tuned"]
    goal = target if target is not None else max(others, default=1.0)
    most = max(curve.sizes)
    needed = curve.needed(min(goal, 1.0))
    return {
        "base": curve.base,
        "points": [{"rows": rows, "score": mean} for rows, mean in zip(curve.sizes, curve.means, strict=True)],
        "forecast": [_forecast(curve, rows) for rows in (most, 2 * most, 4 * most, 10 * most)],
        "target": goal,
        "needed": {"rows": needed.rows, "low": needed.low, "high": needed.high, "reached": needed.reached},
        "rows": most,
    }


def _forecast(curve: Curve, rows: int) -> dict[str, Any]:
    found = curve.at(rows)
    return {"rows": rows, "score": found.value, "low": found.low, "high": found.high}


def _changes(choice: Choice, ways: Sequence[Way], missing: Sequence[NotMeasured], curve: Curve | None) -> list[str]:
    """Return what would change the advice, each from something measured or not measured here."""
    found = []
    for entry in choice.rivals:
        if entry.decision.more_rows:
            found.append(
                f"about {entry.decision.more_rows:,} more validation rows tell {entry.first} from {entry.second}"
            )
    silent = [way for way in ways if way.tried.family == "prompt" and way.in_form < READABLE]
    if silent:
        best = max(way.in_form for way in silent)
        found.append(
            f"a base that answers in the form of the task: {len(silent)} prompts here did so at most "
            f"{100 * best:.0f} % of the time, which says nothing of what a stronger base would do"
        )
    formed = max((way.in_form for way in ways if way.tried.family == "tuned"), default=0.0)
    if silent and formed >= READABLE:
        found.append(
            f"a prompt that is answered in form: that is what training adds here ({100 * formed:.0f} % in form after "
            "it), more than knowledge"
        )
    if curve is not None and choice.chosen.tried.family != "tuned":
        ahead = curve.at(4 * max(curve.sizes))
        found.append(
            f"more rows: with four times as many, the quick training is expected at {100 * ahead.value:.0f} % "
            f"({100 * ahead.low:.0f} to {100 * ahead.high:.0f} %)"
        )
    if any(way.tried.family == "tuned" for way in ways):
        found.append("a longer training: the quick one was short and of one seed; metier run trains and tests in full")
    else:
        found.append("a training: none was measured, so none is ruled out")
    if any("documents" in entry.name for entry in missing):
        found.append(
            "answers that rest on texts which change: name them in advise.documents, and retrieval is measured; "
            "what changes weekly cannot be trained in"
        )
    return found


def _ways_table(facts: Mapping[str, Any]) -> Table:
    rows = []
    for way in sorted(facts["ways"], key=lambda entry: -entry["score"]):
        between = f"{100 * way['low']:.1f} to {100 * way['high']:.1f}"
        rows.append(
            (way["name"], f"{100 * way['score']:.1f} %", between, f"{100 * way['in_form']:.0f} %", way["detail"])
        )
    return Table(
        title="What was measured, best first",
        columns=("way", "score", "interval", "in form", "remarks"),
        rows=tuple(rows),
        note="In form: a label that occurs in training, a function call, JSON, or any text at all.",
    )


def _costs(facts: Mapping[str, Any]) -> Table:
    names = [facts["now"], facts["chosen"], facts["best"]]
    found = {way["name"]: way["per_1000"] for way in facts["ways"]}
    roles = dict(zip(("now", "recommended", "best"), names, strict=True))
    rows = tuple(
        (role, name, *(round(found[name][key]) for key in ("tokens_in", "tokens_out")), found[name]["seconds"],
         "not measured: no prices are set" if found[name]["price"] is None else found[name]["price"])
        for role, name in roles.items()
        if name is not None
    )  # fmt: skip
    return Table(
        title="Cost of 1,000 requests",
        columns=("", "way", "tokens sent", "tokens received", "seconds here", "at your prices"),
        rows=rows,
        note="Seconds of this machine, asked a few at a time. Set advise.prices for money.",
    )


def _compared(facts: Mapping[str, Any]) -> Table:
    rows = tuple((entry["first"], _points(entry), entry["word"], entry["more_rows"]) for entry in facts["compared"])
    return Table(
        title=f"The best, {facts['best']}, against simpler ways",
        columns=("way", "the best is ahead by", "so the best is", "rows that would tell"),
        rows=rows,
        note=f"Paired on the same rows; each interval is at {100 * facts['confidence']:.1f} %: all hold together.",
    )


def _curve_table(curve: Mapping[str, Any]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (point["rows"], f"{100 * point['score']:.1f} %", "measured") for point in curve["points"]
    ]
    for entry in curve["forecast"][1:]:
        rows.append((entry["rows"], f"{100 * entry['score']:.1f} %", _span(entry, 100, " %")))
    needed = curve["needed"]
    share = f"{100 * needed['reached']:.0f} % of the resampled curves ever reach it"
    text = "no number of rows" if needed["rows"] is None else f"about {needed['rows']:,} rows"
    limits = f"{_or_never(needed['low'])} to {_or_never(needed['high'])}"
    return Table(
        title=f"Quick training of {curve['base']}: rows and score",
        columns=("training rows", "score", "expected"),
        rows=tuple(rows),
        note=f"For {100 * curve['target']:.1f} %: {text} ({limits}); {share}. The interval is that of the rows asked, "
        "not of the luck of one training.",
    )


def _span(entry: Mapping[str, Any], scale: float, unit: str) -> str:
    return f"{scale * entry['low']:.1f} to {scale * entry['high']:.1f}{unit}"


def _or_never(rows: int | None) -> str:
    return "never" if rows is None else f"{rows:,}"


def _figure(curve: Mapping[str, Any]) -> Figure:
    ahead = curve["forecast"]
    return Figure(
        title="Score over training rows",
        kind="lines",
        series=(
            Series(name="measured", x=[p["rows"] for p in curve["points"]], y=[p["score"] for p in curve["points"]]),
            Series(
                name="expected", x=[p["rows"] for p in ahead], y=[p["score"] for p in ahead],
                low=[p["low"] for p in ahead], high=[p["high"] for p in ahead],
            ),
        ),
        x_label="training rows",
        y_label="score",
    )  # fmt: skip
