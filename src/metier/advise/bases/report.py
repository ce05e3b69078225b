"""What was found of bases as plain facts, and those facts as a Report."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from metier.advise.bases.candidates import MOST_FOUND
from metier.advise.bases.judge import Looked, Pick
from metier.advise.bases.zero_shot import Scored
from metier.core.report import Cell, Report, Table, Verdict
from metier.report.cells import duration, size

KIND = "bases"

_MILLION = 1e6


def facts_of(looked: Sequence[Looked], pick: Pick, conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that bases.json holds."""
    return {
        "verdict": {"text": _sentence(pick), "good": True if pick.chosen else None},
        "chosen": pick.chosen,
        "reasons": list(pick.reasons),
        "conditions": dict(conditions),
        "bases": [_base(entry, pick) for entry in looked],
    }


def _sentence(pick: Pick) -> str:
    if pick.chosen is None:
        return f"No base can be recommended: {'; '.join(pick.reasons)}."
    return f"Take {pick.chosen}: {'; '.join(pick.reasons)}."


def _base(entry: Looked, pick: Pick) -> dict[str, Any]:
    nature, licence, scored = entry.nature, entry.licence, entry.scored
    known = licence.licence
    return {
        "name": entry.name,
        "origin": entry.candidate.origin,
        "folder": None if entry.candidate.folder is None else str(entry.candidate.folder),
        "weights_here": entry.candidate.weights,
        "recommended": entry.name == pick.chosen,
        "why_not": pick.others.get(entry.name, ""),
        "architecture": None if nature is None else nature.architecture,
        "parameters": None if nature is None else nature.parameters,
        "layers": None if nature is None else nature.layers,
        "context": None if nature is None else nature.context,
        "vocabulary": None if nature is None else nature.vocabulary,
        "stored_parameters": None if nature is None else nature.stored,
        "disk_bytes": None if nature is None else nature.disk,
        "faults": [] if nature is None else list(nature.faults),
        "template": None if nature is None else {"chat": nature.chat, "system": nature.system, "tools": nature.tools},
        "licence": {
            "name": licence.name, "said": licence.said, "source": licence.source, "commercial": licence.strictest,
            "clause": "" if known is None else known.where, "asks": dict(() if known is None else known.asks),
            "doubts": list(licence.doubts),
        },
        "features": [{"name": one.name, "word": one.word, "says": one.says} for one in entry.features],
        "training": None if isinstance(entry.costs, str) else [
            {"method": cost.method, "memory_bytes": cost.memory, "fits": cost.fits, "epoch_seconds": cost.seconds}
            for cost in entry.costs
        ],
        "zero_shot": _scored(scored) if isinstance(scored, Scored) else None,
        "not_measured": _not_measured(entry),
    }  # fmt: skip


def _scored(scored: Scored) -> dict[str, Any]:
    way = scored.way
    return {
        "score": way.mean, "low": way.level.low, "high": way.level.high, "in_form": way.in_form,
        "bits_per_byte": None if math.isnan(scored.bits) else scored.bits,
        "seconds": way.tried.seconds,
    }  # fmt: skip


def _not_measured(entry: Looked) -> list[dict[str, str]]:
    """Return what is not known of a base, each with its reason."""
    found = [] if not isinstance(entry.costs, str) else [("memory and time of training", entry.costs)]
    if isinstance(entry.scored, str):
        found.append(("score on your rows", entry.scored))
    found += [(one.name, one.says) for one in entry.features if one.word == "not measured"]
    return [{"name": name, "why": why} for name, why in found]


def report(facts: Mapping[str, Any]) -> Report:
    """Tell what was found, read from bases.json."""
    bases, conditions = facts["bases"], facts["conditions"]
    labels = _labels([base["name"] for base in bases])
    lines: list[tuple[str, Cell]] = [("bases", len(bases))]
    if conditions["rows"]:
        lines.append(("asked", f"{conditions['rows']} validation rows; the test rows were not looked at"))
    use = "commercial (advise.choosing.commercial)" if conditions["commercial"] else "not commercial"
    lines.append(("wanted for", f"{use} use"))
    if facts["chosen"] is not None:
        lines.append(("metier.yaml", f"base: {facts['chosen']}"))
    if conditions["more"]:
        lines.append(("not looked at", f"{conditions['more']} more: at most {MOST_FOUND} are; give names, or a folder"))
    tables = (
        _sizes(bases, labels), _scores(bases, labels), _training(bases, labels), _features(bases, labels),
        _remarks(bases, labels), _licences(bases, labels), _others(bases, labels), _absent(bases, labels),
    )  # fmt: skip
    return Report(
        title="Bases",
        verdict=Verdict(**facts["verdict"]),
        facts=tuple(lines),
        tables=tuple(table for table in tables if table.rows),
        command="metier bases",
    )


def _labels(names: Sequence[str]) -> dict[str, str]:
    """Return short names: the last part of a path where it is no other's too."""
    last = [name.rstrip("/").rpartition("/")[2] for name in names]
    return {
        name: short if last.count(short) == 1 and name.startswith(("/", ".", "~")) else name
        for name, short in zip(names, last, strict=True)
    }


def _sizes(bases: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> Table:
    rows = tuple(
        (
            labels[base["name"]], base["architecture"], _count(base["parameters"]), base["context"],
            base["licence"]["name"], base["licence"]["commercial"],
            "here" if base["weights_here"] else "not here",
        )
        for base in bases
    )  # fmt: skip
    columns = ("base", "architecture", "parameters", "context", "licence", "commercial", "weights")
    return Table(title="Bases", columns=columns, rows=rows)


def _count(parameters: int | None) -> str | None:
    if parameters is None:
        return None
    if parameters >= 1000 * _MILLION:
        return f"{parameters / _MILLION / 1000:.2f} B"
    return f"{parameters / _MILLION:.2f} M"


def _scores(bases: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> Table:
    asked = [(base["name"], base["zero_shot"]) for base in bases if base["zero_shot"] is not None]
    rows = tuple(
        (
            labels[name], f"{100 * found['score']:.1f} %", f"{100 * found['low']:.1f} to {100 * found['high']:.1f}",
            f"{100 * found['in_form']:.0f} %", found["bits_per_byte"], found["seconds"],
        )
        for name, found in sorted(asked, key=lambda pair: -pair[1]["score"])
    )  # fmt: skip
    return Table(
        title="On your rows, without training",
        columns=("base", "score", "interval", "in form", "bits a byte", "seconds a row"),
        rows=rows,
        note="Bits a byte: how surprised a base is by the right answers; less is better, whatever its tokens.",
    )


def _training(bases: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> Table:
    kinds = ("full", "LoRA", "QLoRA (int8)", "QLoRA (nf4)")
    rows = []
    for base in bases:
        if base["training"] is not None:
            found = {kind: _cost(base["training"], kind) for kind in kinds}
            rows.append((labels[base["name"]], *found.values()))
    return Table(
        title="Training here: memory, and time of an epoch",
        columns=("base", *kinds),
        rows=tuple(rows),
        note="Predicted. ✗: does not fit. *: with gradient checkpointing. Quantised ways take at least LoRA's time.",
    )


def _cost(training: Sequence[Mapping[str, Any]], kind: str) -> str | None:
    cost = next((one for one in training if one["method"].partition(",")[0] == kind), None)
    if cost is None:
        return None
    text = size(cost["memory_bytes"]) + ("*" if "checkpointing" in cost["method"] else "")
    if not cost["fits"]:
        return f"✗ {text}"
    return text if cost["epoch_seconds"] is None else f"{text}, {duration(cost['epoch_seconds'])}"


def _features(bases: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> Table:
    tried = [base for base in bases if base["features"]]
    names = list(dict.fromkeys(one["name"] for base in tried for one in base["features"]))
    rows = []
    for base in tried:
        words = {one["name"]: one["word"] for one in base["features"]}
        template = base["template"]
        rows.append((
            labels[base["name"]], *(words.get(name) for name in names), _yes(template["chat"]),
            _yes(template["system"]), _yes(template["tools"]),
        ))  # fmt: skip
    return Table(
        title="What works with it",
        columns=("base", *names, "chat template", "system turn", "tools"),
        rows=tuple(rows),
        note="Forest: rows share beginnings. Serving: many answers in one call. Tried on a small model of its kind.",
    )


def _yes(value: bool | None) -> str | None:
    return None if value is None else "yes" if value else "no"


def _remarks(bases: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> Table:
    rows = tuple(
        (labels[base["name"]], f"{one['name']}: {one['says']}")
        for base in bases
        for one in base["features"]
        if one["word"] in ("fallback", "no")
    )
    return Table(title="What does not work in full", columns=("base", "what happens"), rows=rows)


def _licences(bases: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> Table:
    rows = []
    for base in bases:
        licence = base["licence"]
        if base["architecture"] is None:
            continue
        asks = "; ".join(f"{name}: {text}" for name, text in licence["asks"].items())
        told = f"{licence['name']}: {asks or 'nothing'} ({licence['clause']})"
        known = told if licence["clause"] else _unknown(licence)
        rows.append((labels[base["name"]], ". ".join([known, *licence["doubts"]])))
    return Table(
        title="What its licence asks",
        columns=("base", "licence"),
        rows=tuple(rows),
        note="In our words, from a table of known licences; what binds you is the text that came with the weights.",
    )


def _unknown(licence: Mapping[str, Any]) -> str:
    said = f" (its card says '{licence['said']}')" if licence["said"] else ""
    return f"not known{said}: read LICENSE"


def _others(bases: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> Table:
    rows = tuple((labels[base["name"]], base["why_not"]) for base in bases if base["why_not"])
    return Table(title="Why not the others", columns=("base", "why not"), rows=rows)


def _absent(bases: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> Table:
    rows = tuple(
        (labels[base["name"]], f"{entry['name']}: {entry['why']}") for base in bases for entry in base["not_measured"]
    )
    return Table(title="Not measured", columns=("base", "what, and why"), rows=rows)
