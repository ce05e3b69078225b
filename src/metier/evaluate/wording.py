"""Numbers and verdicts in words, the same in every face of the report; imports no torch."""

import math
from collections.abc import Mapping
from typing import Any

from metier.core.report import Verdict
from metier.score.metrics import metric_of

_MINUS = "−"


def level(name: str, value: float | None) -> str:
    """Write a metric's value with its unit: `61.2 %`, `0.412 nats`, `1.51`."""
    if value is None or not math.isfinite(value):
        return "–" if value is None or math.isnan(value) else "∞"
    if metric_of(name).unit == "share":
        return f"{100 * value:.1f} %"
    return f"{_plain(value)} nats" if metric_of(name).unit == "nats per token" else _plain(value)


def change(name: str, value: float | None, *, unit: bool = True) -> str:
    """Write a difference with its sign: `+61.2 points`, `−1.898 nats`."""
    if value is None or not math.isfinite(value):
        return "–"
    share = metric_of(name).unit == "share"
    text = f"{100 * value:+.1f}" if share else f"{'+' if value >= 0 else '-'}{_plain(abs(value))}"
    ending = {"share": " points", "nats per token": " nats"}.get(metric_of(name).unit, "") if unit else ""
    return text.replace("-", _MINUS) + ending


def level_with_interval(name: str, estimate: Mapping[str, float | None]) -> str:
    """Write a value and its interval for a table: `61.2 % (51.3 to 70.3)`, `0.412 (0.380 to 0.451)`."""
    value = level(name, estimate["value"]).removesuffix(" nats")
    if estimate["low"] is None or estimate["high"] is None:
        return value
    ends = [level(name, estimate[end]).split(" ")[0] for end in ("low", "high")]
    return f"{value} ({ends[0]} to {ends[1]})"


def change_with_interval(name: str, estimate: Mapping[str, float | None]) -> str:
    """Write a difference and its interval for a table: `+61.2 (+52.1 to +70.0)`."""
    value = change(name, estimate["value"], unit=False)
    if estimate["low"] is None or estimate["high"] is None:
        return value
    ends = [change(name, estimate[end], unit=False) for end in ("low", "high")]
    return f"{value} ({ends[0]} to {ends[1]})"


def word(metric: Mapping[str, Any]) -> str:
    """Write a metric's verdict: one of five words, with the rows that are missing."""
    more = metric["more_rows"]
    return f"{metric['verdict']}: {_more(more)}" if more else metric["verdict"]


def _more(rows: int) -> str:
    return f"about {rows:,} more {'row' if rows == 1 else 'rows'} needed"


def sentence(metric: Mapping[str, Any], *, confidence: float, names: tuple[str, str] = ("base", "tuned")) -> Verdict:
    """Say in one sentence what came out, numbers and interval included.

    Args:
        metric: as stored, see `summary`.
        confidence: that of the intervals.
        names: what the two models are called; with ("base", "tuned") the tuned one is simply the subject.
    """
    name, difference, rows = metric["name"], metric["difference"], metric["rows"]
    if metric["verdict"] == "identical":
        what = "answer, byte for byte, to" if metric_of(name).unit == "share" else "loss, to the last bit, on"
        return Verdict(text=f"identical: the same {what} each of {rows:,} rows", good=False)
    first, second = level(name, metric["base"]["value"]), level(name, metric["tuned"]["value"])
    if names == ("base", "tuned"):
        compared = f"{metric_of(name).title} {second} against the base's {first}"
    else:
        compared = f"{metric_of(name).title} {second} ({names[1]}) against {first} ({names[0]})"
    text = f"{metric['verdict']}: {compared}, difference {change(name, difference['value'])}"
    if difference["low"] is not None and difference["high"] is not None:
        ends = [change(name, difference[end], unit=False) for end in ("low", "high")]
        text += f", {100 * confidence:g} % interval {ends[0]} to {ends[1]}"
    text += f", {rows:,} {'row' if rows == 1 else 'rows'}"
    if metric["units"] < rows:
        text += f" in {metric['units']:,} groups"
    if metric["more_rows"]:
        text += f"; {_more(metric['more_rows'])}"
    if metric["reason"]:
        text += f"; {metric['reason']}"
    return Verdict(text=text, good={"better": True, "cannot tell": None}.get(metric["verdict"], False))


def retention_sentence(retention: Mapping[str, Any]) -> str:
    """Say in one sentence what was forgotten."""
    metric, margin = retention["metrics"][0], retention["margin"]
    ends = change_with_interval("loss", metric["difference"])
    limit = f"the limit is +{margin:g} nats per token"
    told = f"loss on general text {level('loss', metric['base']['value'])} to {level('loss', metric['tuned']['value'])}"
    return {
        "kept": f"kept: {told}, {ends}; {limit}",
        "lost": f"forgot something: {told}, {ends}; {limit}",
        "cannot tell": f"cannot tell what was forgotten: {told}, {ends}; {limit}",
    }[retention["verdict"]]


def _plain(value: float) -> str:
    size = abs(value)
    return f"{value:.3f}" if size < 10 else f"{value:.1f}" if size < 100 else f"{value:,.0f}"
