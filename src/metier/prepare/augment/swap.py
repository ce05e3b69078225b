"""Values of one row put into another: the same new name in question, answer and JSON, so the answer stays right."""

from collections.abc import Iterable, Mapping

import numpy as np

from metier.core.types import Row
from metier.prepare.protect.detect import Detector
from metier.prepare.protect.passages import passages
from metier.prepare.protect.rewrite import Finding, findings
from metier.prepare.protect.spans import Entity

SWAPPED: tuple[Entity, ...] = ("email", "iban", "card", "national_id", "phone", "address", "person")
Pools = Mapping[Entity, list[str]]


def pools(rows: Iterable[Row], detect: Detector) -> Pools:
    """Return the different values of all rows by kind; names only where they have two parts."""
    found: dict[Entity, dict[str, None]] = {}
    for finding in findings(list(rows), detect):
        for passage, spans in zip(finding.passages, finding.spans, strict=True):
            for span in spans:
                value = passage.text[span.start : span.end]
                if span.entity in SWAPPED and (span.entity != "person" or len(value.split()) == 2):
                    found.setdefault(span.entity, {})[value] = None
    return {entity: list(values) for entity, values in found.items()}


def swapped(row: Row, detect: Detector, known: Pools, random: np.random.Generator) -> Row:
    """Return the row with its values replaced by others of the same kind; the row itself where that cannot be sure.

    A name is replaced part by part, so that "Lopez" alone becomes the family name that "Maria Lopez" got. A row stays
    as it is when one value is written in two ways (a number with and without spaces), or when something of an old
    value would be left.
    """
    finding = Finding.of(row, detect)
    values = dict.fromkeys(
        (passage.text[span.start : span.end], span.entity)
        for passage, spans in zip(finding.passages, finding.spans, strict=True)
        for span in spans
    )
    chosen: dict[str, str] = {}
    written: dict[str, str] = {}
    for value, entity in sorted(values, key=lambda found: -len(found[0])):
        plain = "".join(filter(str.isalnum, value)).casefold()
        if entity != "person" and written.setdefault(plain, value) != value:
            return row
        if value.casefold() not in chosen:
            others = [other for other in known.get(entity, []) if other.casefold() != value.casefold()]
            _choose(value, others, chosen, random)
    fresh = finding.rewritten(lambda value, entity: _cased(chosen.get(value.casefold(), value), value))
    left = "\n".join(passage.text for passage in passages(fresh)).casefold()
    gone = [value for value, other in chosen.items() if value not in other.casefold() and len(value) > 2]
    return row if any(value in left for value in gone) else fresh


def _choose(value: str, others: list[str], chosen: dict[str, str], random: np.random.Generator) -> None:
    if not others:
        return
    other = others[int(random.integers(len(others)))]
    parts, fresh = value.casefold().split(), other.split()
    chosen[value.casefold()] = other
    if len(parts) == len(fresh) == 2 and all(part.isalpha() for part in parts):
        chosen.setdefault(parts[0], fresh[0])
        chosen.setdefault(parts[1], fresh[1])


def _cased(fresh: str, value: str) -> str:
    if value.isupper():
        return fresh.upper()
    return fresh.lower() if value.islower() else fresh
