"""Which of the known formats a file of records is in: by its columns' names and the types of their values."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from metier.text.formats import refusals, tasks
from metier.text.formats.columns import NUMBERING, column, plain_name, short
from metier.text.formats.foreign.kind import Foreign
from metier.text.formats.foreign.registry import FOREIGN
from metier.text.formats.names import SHARED_ROLES, Recognised
from metier.text.formats.shapes import SHAPES, Shape

_FEWEST_FITTING = 0.5


def recognise(
    records: Sequence[Mapping[str, Any]],
    *,
    columns: Mapping[str, str] | None = None,
    wanted: str = "auto",
    where: str = "the data",
) -> Recognised:
    """Find the format of records by their column names and the types of their values.

    Args:
        records: the first records of a file; a few hundred are enough.
        columns: what the user said: role -> column name. Goes before the usual names.
        wanted: the format the user named, or "auto".
        where: the file, for messages.

    Raises:
        DataError: no format fits, two formats stand mixed, or two columns could both be the label.
    """
    chosen = dict(columns or {})
    names = Counter(name for record in records for name in record)
    refusals.unknown_columns(chosen, names, where)
    if (found := _foreign(records, names, chosen, wanted)) is not None:
        return found
    if wanted == "task":
        return tasks.as_told(records, chosen, where)
    shapes = [shape for shape in SHAPES if wanted in ("auto", shape.name)]
    found_in = (_try(shape, records, names, chosen) for shape in shapes)
    tried = [
        found for found in found_in if found is not None and (wanted != "auto" or _is_meant(found, chosen, records))
    ]
    best = next((found for found in tried if found.confidence >= _FEWEST_FITTING), None)
    if wanted == "auto":
        refusals.mixture(records, best, tried, where)
        if not chosen.keys() - set(SHARED_ROLES) and (best is None or best.format in ("chat", "text")):
            best = tasks.found(records, where) or best
    if (best is None or best.format == "text") and wanted in ("auto", "label"):
        refusals.two_labels(names, chosen, where)
    if best is None:
        raise refusals.unrecognised(records, wanted, where)
    if best.format == "text" and wanted == "auto" and "text" not in chosen:
        refusals.label_left_out(records, best.columns["text"], best.unused, where)
    return best


def _foreign(
    records: Sequence[Mapping[str, Any]], names: Counter[str], chosen: Mapping[str, str], wanted: str
) -> Recognised | None:
    """Try what other programs write; each of them has marks that no plain row bears."""
    for foreign in FOREIGN.values():
        if wanted not in ("auto", foreign.name) or chosen.keys() - {*SHARED_ROLES, *foreign.roles}:
            continue
        found = _try_foreign(foreign, records, names, chosen)
        if found is not None and (found.confidence >= _FEWEST_FITTING or wanted == foreign.name):
            return found
    return None


def _try_foreign(
    foreign: Foreign, records: Sequence[Mapping[str, Any]], names: Counter[str], chosen: Mapping[str, str]
) -> Recognised | None:
    found: dict[str, str] = {}
    for role, usual in foreign.roles.items():
        name = chosen.get(role) or column(role, usual, names, taken={*found.values(), *chosen.values()})
        if name is None:
            return None
        found[role] = name
    fitting = sum(foreign.fits(record, found) for record in records)
    if not fitting:
        return None
    shared = {role: name for role, name in chosen.items() if role in SHARED_ROLES}
    return Recognised(
        format=foreign.name,
        columns=found | shared,
        confidence=fitting / len(records),
        reason=foreign.says + (f"; {_named(found | shared)}" if found or shared else ""),
    )


def _try(
    shape: Shape, records: Sequence[Mapping[str, Any]], names: Counter[str], chosen: Mapping[str, str]
) -> Recognised | None:
    """Fit one shape; None when it lacks a column, cannot use one that the user named, or fits no record."""
    roles = shape.roles()
    if set(chosen) - {role for role, _ in roles}:
        return None
    found: dict[str, str] = {}
    for role, usual in roles:
        name = chosen.get(role) or column(role, usual, names, taken={*found.values(), *chosen.values()})
        if name is not None:
            found[role] = name
        elif role in shape.needs:
            return None
    fitting = sum(
        all(found[role] in record for role in shape.needs)
        and shape.fits({role: record.get(name) for role, name in found.items()})
        for record in records
    )
    if not fitting:
        return None
    unused = tuple(name for name in names if name not in found.values())
    return Recognised(
        format=shape.name,
        columns=found,
        confidence=fitting / len(records),
        reason=_reason(found, unused) + _several(records, found),
        unused=unused,
    )


def _is_meant(found: Recognised, chosen: Mapping[str, str], records: Sequence[Mapping[str, Any]]) -> bool:
    """Doubt a number beside a text that has more columns: collections of documents carry scores of their quality.

    Doubt a list of names, too, beside texts much longer than the one that they would be the labels of.
    """
    if found.format == "label" and "label" not in chosen:
        lists = sum(isinstance(record.get(found.columns["label"]), list) for record in records)
        return not lists or _length(records, found.columns["text"]) * 2 > max(
            (_length(records, name) for name in found.unused), default=0
        )
    return found.format != "score" or "score" in chosen or not {plain_name(name) for name in found.unused} - NUMBERING


def _length(records: Sequence[Mapping[str, Any]], name: str) -> float:
    """Return the characters that a column holds on average."""
    return sum(len(value) for record in records if isinstance(value := record.get(name), str)) / len(records)


def _reason(found: Mapping[str, str], unused: Sequence[str]) -> str:
    return f"columns {_named(found)}" + (f"; unused: {', '.join(map(short, unused))}" if unused else "")


def _named(found: Mapping[str, str]) -> str:
    return ", ".join(f"{role} = '{name}'" if role != name else f"'{name}'" for role, name in found.items())


def _several(records: Sequence[Mapping[str, Any]], found: Mapping[str, str]) -> str:
    """Say when only the first of several answers is learnt."""
    for role in ("completion", "output"):
        answers = [record.get(found[role]) for record in records] if role in found else []
        many = sum(isinstance(answer, list) and len(answer) > 1 and isinstance(answer[0], str) for answer in answers)
        if many:
            return f"; of several answers the first is learnt ({many:,} of {len(records):,} rows looked at)"
    return ""
