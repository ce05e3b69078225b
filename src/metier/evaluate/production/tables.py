"""What a service needs, as a table and in a few lines; imports no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

from metier.core.report import Cell, Table
from metier.report.cells import size


def production_table(facts: Mapping[str, Any], names: Sequence[str]) -> Table | None:
    """One line a concurrency and measure: base and tuned model under the same load."""
    found = facts.get("production")
    if not found:
        return None
    rows: list[tuple[Cell, ...]] = []
    for base, tuned in zip(found["base"]["levels"], found["tuned"]["levels"], strict=True):
        at_once = base["together"]
        for title, key, share in (
            ("first token, median", "first_token", "p50"),
            ("first token, 95 % within", "first_token", "p95"),
            ("whole answer, median", "latency", "p50"),
            ("whole answer, 95 % within", "latency", "p95"),
            ("whole answer, 99 % within", "latency", "p99"),
        ):
            rows.append((at_once, title, *(seconds(level[key][share]) for level in (base, tuned))))
        rows.append((at_once, "tokens a second", *(f"{level['tokens_per_second']:,.0f}" for level in (base, tuned))))
        rows.append((at_once, "memory", *(size(level["memory_bytes"]) for level in (base, tuned))))
    return Table(
        title="In production",
        columns=("at once", "", *names),
        rows=tuple(rows),
        note=(
            f"{found['requests']:,} requests at each concurrency, answered by the engine that serves, each timed from "
            "being sent; on this machine, with whatever else it was doing. In brackets where the percentile lies with "
            "the confidence of the evaluation (order statistics); an open end needs more requests. Memory is that of "
            "the whole process, the models loaded before included."
        ),
    )


def production_lines(facts: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    """Say what requests cost, and what prompt they do without."""
    found = facts.get("production")
    if not found:
        return []
    lines: list[tuple[str, Cell]] = []
    if found["tuned"]["cost"] is not None:
        base, tuned = found["base"]["cost"], found["tuned"]["cost"]
        lines.append(("1,000 requests cost", f"base {base:.4g}, tuned {tuned:.4g}, at your prices"))
    if found["spared"]:
        told = f"{found['base']['prompt_tokens']:.1f} tokens to the base, {found['tuned']['prompt_tokens']:.1f} tuned"
        lines.append(("a prompt in production", f"{told}: {found['spared']:.1f} fewer a request"))
    return lines


def seconds(entry: Mapping[str, Any]) -> str:
    """Write a time with its interval."""
    low, high = (("…" if entry[end] is None else _short(entry[end])) for end in ("low", "high"))
    return f"{_short(entry['value'])} s ({low} to {high})"


def _short(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}"
