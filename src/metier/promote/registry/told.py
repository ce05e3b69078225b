"""What the registry tells: the versions of a project, one that was checked, two side by side."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from metier.core import artefact, registry
from metier.core.aliases import Aliases, Move
from metier.core.registry import Version
from metier.core.report import Cell, Report, Table, Verdict
from metier.promote.registry import sureness

_SHORT = 12
_LATEST = 20


def listing(store: Path) -> Report:
    """Tell every version of a project, what the aliases mean, and how they have moved."""
    versions = registry.listed(store)
    with Aliases(store) as aliases:
        meant: dict[str, list[str]] = {}
        for (name, alias), move in sorted(aliases.all().items()):
            meant.setdefault(f"{name}@{move.number}", []).append(alias)
        moves = [move for name in sorted({version.name for version in versions}) for move in aliases.history(name)]
    rows = tuple(_line(version, meant.get(version.reference, [])) for version in reversed(versions))
    aliases_told = "; ".join(f"{', '.join(names)}: {version}" for version, names in meant.items())
    text = aliases_told or ("no alias yet" if versions else "none yet: `metier promote` makes one of a run")
    tables = [Table(title="Versions", columns=("version", "aliases", "made", "run", "base", "result"), rows=rows)]
    if moves:
        columns = ("when", "alias", "version", "what", "who", "reason")
        told = tuple(_move(move) for move in reversed(moves[-_LATEST:]))
        tables.append(Table(title="Moves of aliases, the latest first", columns=columns, rows=told))
    return Report(
        title="Versions", verdict=Verdict(text=text, good=None, asked=False), tables=tuple(tables) if versions else (),
        command="metier versions",
    )  # fmt: skip


def _line(version: Version, aliases: list[str]) -> tuple[Cell, ...]:
    facts = facts_of(version)
    verdict = _evaluation(version)["verdict"]
    told = f"{verdict['verdict']}, {verdict['name']} {_number(verdict['tuned']['value'])}"
    made, names = _minute(facts["created"]), ", ".join(aliases) or "–"
    return (version.reference, names, made, facts["run"], facts["base"]["name"], told)


def _move(move: Move) -> tuple[Cell, ...]:
    when = datetime.fromtimestamp(move.time, UTC).isoformat(timespec="seconds")
    return (_minute(when), move.alias, f"{move.name}@{move.number}", move.kind, move.by, move.reason or "–")


def facts_of(version: Version) -> dict[str, Any]:
    """Return version.json as it stands there, unchecked."""
    return artefact.read_json(version.path / registry.FACTS)


def promoted(version: Version, move: Move, facts: Mapping[str, Any]) -> Report:
    """Tell what was promoted, why it was allowed, and what the licences ask."""
    decision = facts["decision"]
    rows = tuple((entry["name"], "holds" if entry["holds"] else "does not hold", entry["told"])
                 for entry in decision["conditions"])  # fmt: skip
    text = f"{move.alias} is {version.reference}"
    if decision["despite"]:
        text += f", despite: {decision['despite']}"
    asks, sure = "; ".join(facts["obligations"]), sureness.told(facts)
    return Report(
        title=version.reference,
        verdict=Verdict(text=text, good=True),
        facts=(
            ("run", facts["run"]), ("base", facts["base"]["name"]), ("licence", facts["licence"]),
            *((("how sure", sure),) if sure else ()),
            *((("to do", asks),) if asks else ()), ("before it", ", ".join(facts["parents"]) or "nothing"),
        ),
        tables=(Table(title="What was asked", columns=("condition", "", "found"), rows=rows),),
        command="metier promote",
    )  # fmt: skip


def verified(version: Version, facts: Mapping[str, Any]) -> Report:
    """Tell that a version is what was signed; whoever calls this has checked it."""
    manifest = artefact.read(version.path, registry.KIND)
    size = sum(entry["bytes"] for entry in manifest.files.values())
    return Report(
        title=f"{version.reference}: checked",
        verdict=Verdict(text=f"what was signed: {len(manifest.files)} files, {size:,} bytes", good=True),
        facts=(("signed by", facts["signer"]), ("model", facts["model"]), ("folder", str(version.path))),
        command=f"metier verify-version {version.reference}",
    )


def difference(first: Version, second: Version) -> Report:
    """Tell what two versions differ in: where they come from, settings, data, results, packages."""
    tables = [
        _compared("Where they come from", first, second, _lineage(first), _lineage(second)),
        _compared("Settings", first, second, _settings(first), _settings(second)),
        _compared("Data", first, second, _data(first), _data(second)),
        _compared("Packages", first, second, _packages(first), _packages(second)),
        _results(first, second),
    ]
    changed = [table.title.lower() for table in tables[:-1] if table.rows]
    model = facts_of(first)["model"] == facts_of(second)["model"]
    text = "the same model" if model else "another model"
    text += f"; different: {', '.join(changed)}" if changed else "; nothing else differs"
    return Report(
        title=f"{first.reference} and {second.reference}",
        verdict=Verdict(text=text, good=None, asked=False),
        tables=tuple(table for table in tables if table.rows),
        command=f"metier diff {first.reference} {second.reference}",
    )


def _compared(title: str, first: Version, second: Version, one: Mapping[str, Any], other: Mapping[str, Any]) -> Table:
    """Return a table of what is not alike in two sets of values."""
    rows = tuple((name, _cell(one.get(name)), _cell(other.get(name)))
                 for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name))  # fmt: skip
    return Table(title=title, columns=("", first.reference, second.reference), rows=rows)


def _lineage(version: Version) -> dict[str, Any]:
    facts = facts_of(version)
    names = ("run", "form", "snapshot", "recipe", "model", "licence", "data_licence")
    told = {name: facts[name] for name in names}
    return told | {"base": facts["base"]["name"], "base digest": facts["base"]["digest"],
                   "decision": facts["decision"]["answer"]}  # fmt: skip


def _settings(version: Version) -> dict[str, Any]:
    return _flat(artefact.read_json(version.path / "settings.json")["plan"])


def _data(version: Version) -> dict[str, Any]:
    facts = artefact.read_json(version.path / "evidence" / "data.json")
    sources = {name: entry["sha256"] for name, entry in facts["sources"].items()}
    return _flat({name: facts.get(name) for name in ("counts", "dropped", "settings")}) | sources


def _packages(version: Version) -> dict[str, Any]:
    found = artefact.read_json(version.path / "evidence" / "environment.json")
    return {name: found[name] for name in ("metier", "python", "platform")} | found["packages"]


def _results(first: Version, second: Version) -> Table:
    """Return both versions' metrics; whether one is better is what `metier compare` tells, with its interval."""
    one, other = ({entry["name"]: entry["tuned"]["value"] for entry in _evaluation(version)["metrics"]}
                  for version in (first, second))  # fmt: skip
    rows = tuple(
        (name, _number(one.get(name)), _number(other.get(name))) for name in [*one, *(other.keys() - one.keys())]
    )
    note = f"Which is better, with intervals: metier compare {first.reference} {second.reference}"
    return Table(title="Results", columns=("", first.reference, second.reference), rows=rows, note=note)


def _evaluation(version: Version) -> dict[str, Any]:
    return artefact.read_json(version.path / "evaluation" / "evaluation.json")


def _flat(value: Any, before: str = "") -> dict[str, Any]:
    """Return nested values by their whole names, `train.learning_rate`."""
    if not isinstance(value, dict):
        return {before: value}
    found: dict[str, Any] = {}
    for name, inner in value.items():
        found |= _flat(inner, f"{before}.{name}" if before else str(name))
    return found


def _cell(value: Any) -> Cell:
    text = "–" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"{text[:_SHORT]}…" if len(text) == 64 and " " not in text else text


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _minute(iso: str) -> str:
    return iso[:16].replace("T", " ")
