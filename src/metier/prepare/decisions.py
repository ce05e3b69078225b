"""Everything decided about a row: one line each in `decisions.jsonl`, counted, and undone by `prepare.keep`."""

import json
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

from metier.core.errors import DataError
from metier.core.types import Dropped

Action = Literal["drop", "change", "flag"]
FILE = "decisions.jsonl"
READING = "read"
"""The rule that drops what cannot be read as a row."""

_EXAMPLES = 3
_TOLD = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a rule said of a row.

    `row_id` is the row's id at that moment ("" when it had not become a row), `number` its place in the spool (-1
    before it has one). `reason` is the same words for all rows with this fault; what is particular is in `detail`.
    """

    source: str
    row_id: str
    rule: str
    action: Action
    reason: str
    detail: str = ""
    number: int = -1


class Kind(NamedTuple):
    """What decisions are counted by."""

    rule: str
    action: Action
    reason: str


@dataclass(slots=True)
class Decisions:
    """The decision file while it is written; a context manager. Holds counts and a few examples, not the decisions."""

    path: Path
    counts: Counter[Kind] = field(default_factory=Counter)
    examples: dict[Kind, list[str]] = field(default_factory=dict)
    _stream: Any = None

    def __enter__(self) -> Self:
        """Open the file."""
        self._stream = self.path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._stream.close()

    def add(self, decision: Decision) -> None:
        """Write one decision."""
        kind = Kind(decision.rule, decision.action, decision.reason)
        self.counts[kind] += 1
        shown = self.examples.setdefault(kind, [])
        if len(shown) < _EXAMPLES:
            shown.append(decision.source + (f" ({decision.detail})" if decision.detail else ""))
        line = {"source": decision.source, "id": decision.row_id, "rule": decision.rule, "action": decision.action,
                "reason": decision.reason, "detail": decision.detail}  # fmt: skip
        self._stream.write(json.dumps(line, ensure_ascii=False) + "\n")

    def add_drop(self, item: Dropped, rule: str = READING) -> None:
        """Write that a row was dropped, by `rule` unless the drop names its own."""
        self.add(
            Decision(
                source=item.source, row_id=item.row_id, rule=item.rule or rule, action="drop",
                reason=item.reason, detail=item.detail,
            )
        )  # fmt: skip

    def blamed(self, error: DataError) -> DataError:
        """Return an error about too few rows that also names the rules that dropped the others, the busiest first."""
        drops = Counter({kind: count for kind, count in self.counts.items() if kind.action == "drop"}).most_common()
        if not drops:
            return error
        told = [
            f"{count:,} × {kind.reason} ({kind.rule}, first {self.examples[kind][0]})"
            for kind, count in drops[:_TOLD]
        ]  # fmt: skip
        more = f"; and {len(drops) - _TOLD} more reasons" if len(drops) > _TOLD else ""
        found = f"{error.found}; dropped before: {'; '.join(told)}{more}"
        return DataError(found, error.wanted, "; or ".join(filter(None, [error.do, _advice(drops[0][0].rule)])))

    def dropped(self) -> dict[str, int]:
        """Return the rows dropped for each reason, the most frequent first."""
        reasons: Counter[str] = Counter()
        for kind, count in self.counts.items():
            if kind.action == "drop":
                reasons[kind.reason] += count
        return dict(reasons.most_common())

    def facts(self) -> list[dict[str, Any]]:
        """Return the counts for the manifest, by rule."""
        return [
            {**kind._asdict(), "rows": count, "examples": self.examples[kind]}
            for kind, count in sorted(self.counts.items(), key=lambda item: (item[0].rule, -item[1], item[0]))
        ]


def _advice(rule: str) -> str:
    """Return what to change so that a rule drops less."""
    part, _, name = rule.partition(".")
    if part == "clean":
        return f"prepare.clean.{name}: flag lists these rows and keeps them"
    if part == "duplicates":
        setting = "exact: false" if name == "exact" else f"{name}: together"
        return f"prepare.dedupe.{setting} keeps such rows, unless they repeat held-out ones"
    return "prepare.keep names rows that no rule may drop"


def kept(entries: Collection[str], folder: Path) -> frozenset[str]:
    """Return the sources and row ids that `prepare.keep` names, those that stand in its files too.

    Raises:
        DataError: a file cannot be read.
    """
    return frozenset(name for entry in entries for name in _named(entry, folder))


def _named(entry: str, folder: Path) -> Iterable[str]:
    if not entry.startswith("@"):
        return [entry]
    path = folder / Path(entry[1:]).expanduser()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"prepare.keep: {entry[1:]} cannot be read ({error})", "a text file with one file:line or row id a line"
        ) from error
    return [line.strip() for line in lines if line.strip()]
