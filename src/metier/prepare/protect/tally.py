"""What looking for personal data gathers over many rows, piece by piece: counts and places, never the values."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from metier.prepare.protect.spans import Entity

_MOST_PLACES = 20


@dataclass(slots=True)
class Tally:
    """What was found: values and rows by kind, and the first places. Never the values themselves."""

    values: Counter[Entity] = field(default_factory=Counter)
    rows: Counter[Entity] = field(default_factory=Counter)
    places: dict[Entity, list[str]] = field(default_factory=dict)

    def add(self, counts: Counter[Entity], source: str) -> None:
        """Count one row."""
        self.values.update(counts)
        for entity in counts:
            self.rows[entity] += 1
            shown = self.places.setdefault(entity, [])
            if len(shown) < _MOST_PLACES:
                shown.append(source)

    def join(self, later: "Tally") -> None:
        """Add what was counted in the rows behind."""
        self.values.update(later.values)
        self.rows.update(later.rows)
        for entity, places in later.places.items():
            shown = self.places.setdefault(entity, [])
            shown += places[: _MOST_PLACES - len(shown)]

    def facts(self) -> dict[str, Any]:
        """Return the counts by kind, the most frequent first."""
        return {
            entity: {"values": count, "rows": self.rows[entity], "first": self.places[entity]}
            for entity, count in self.values.most_common()
        }


@dataclass(slots=True)
class Kept:
    """What is remembered of rows: what was `found`, sources that were `spared`, stand-ins and their `originals`."""

    found: Tally = field(default_factory=Tally)
    spared: set[str] = field(default_factory=set)
    originals: dict[str, str] = field(default_factory=dict)

    def join(self, later: "Kept") -> None:
        """Add what was gathered from the rows behind."""
        self.found.join(later.found)
        self.spared |= later.spared
        self.originals |= later.originals
