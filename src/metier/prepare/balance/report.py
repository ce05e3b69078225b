"""What balancing did: training rows of every class before and after."""

from collections.abc import Iterator, Mapping
from typing import Any

from metier.core.report import Cell, Table

_MOST_ROWS = 40


def tables(facts: Mapping[str, Any] | None) -> Iterator[Table]:
    """Yield the table of classes; nothing where rows were not balanced.

    Args:
        facts: `balance` in the manifest of a snapshot.
    """
    if not facts:
        return
    before, after = facts["before"], facts["after"]
    rows: list[tuple[Cell, ...]] = [("all", before, after, "", "", "")]
    for kind, classes in facts["classes"].items():
        ranked = sorted(classes.items(), key=lambda item: (-item[1]["before"], item[0]))
        rows += [
            (
                f"{kind} {name}", entry["before"], entry["after"], f"{entry['before'] / max(before, 1):.1%}",
                f"{entry['after'] / max(after, 1):.1%}", f"{entry['weight']:.3g}" if "weight" in entry else "",
            )
            for name, entry in ranked[:_MOST_ROWS]
        ]  # fmt: skip
    longest = max((len(classes) for classes in facts["classes"].values()), default=0)
    yield Table(
        title="Balance",
        columns=("class", "rows before", "lines after", "share before", "share after", "weight"),
        rows=tuple(rows),
        note="Training rows only"
        + (f"; the {_MOST_ROWS} largest of {longest:,} classes." if longest > _MOST_ROWS else "."),
    )
