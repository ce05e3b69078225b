"""The model card of a version: README.md as the Hugging Face hub reads it, with metadata in YAML above the text."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub.repocard_data import EvalResult, ModelCardData

from metier.promote.registry import sureness
from metier.promote.registry.licences import KNOWN, Obligations

_LISTED = 12


def card(
    facts: Mapping[str, Any], evaluation: Mapping[str, Any], data: Mapping[str, Any], licences: Obligations
) -> str:
    """Return README.md.

    Args:
        facts: of the version, as version.json holds them.
        evaluation: evaluation.json of its run.
        data: evidence/data.json.
        licences: what they ask.
    """
    sections = (
        _head(facts, evaluation),
        _use(facts),
        _measured(evaluation),
        _decided(facts),
        *_sure(facts),
        _data(data),
        _licences(licences),
        _lineage(facts),
        _FILES,
    )
    return f"---\n{_metadata(facts, evaluation, licences)}\n---\n\n" + "\n\n".join(sections) + "\n"


def _metadata(facts: Mapping[str, Any], evaluation: Mapping[str, Any], licences: Obligations) -> str:
    licence = licences.model.lower()
    known = licence in KNOWN and licence != "own"
    results = [
        EvalResult(
            task_type=_task(facts), dataset_type=facts["name"], dataset_name=f"{facts['name']}, held-out rows",
            dataset_split=evaluation["conditions"]["split"], metric_type=entry["name"], metric_name=entry["name"],
            metric_value=entry["tuned"]["value"],
        )
        for entry in evaluation["metrics"] if entry["tuned"]["value"] is not None
    ]  # fmt: skip
    adapter = facts["form"] == "adapter"
    told = ModelCardData(
        base_model=_base(facts),
        library_name="peft" if adapter else "transformers",
        license=licence if known else "other",
        license_name=None if known else licences.model,
        pipeline_tag=_task(facts),
        tags=["metier", "lora" if adapter else "fine-tuned"],
        model_name=facts["version"],
        eval_results=results or None,
        base_model_relation="adapter" if adapter else "finetune",
    )
    return told.to_yaml().strip()


def _base(facts: Mapping[str, Any]) -> str:
    """Return the base's name as another machine could read it: an absolute path means nothing there."""
    name = Path(facts["base"]["name"])
    return name.name if name.is_absolute() else str(name)


def _task(facts: Mapping[str, Any]) -> str:
    return "text-classification" if facts["head"] else "text-generation"


def _head(facts: Mapping[str, Any], evaluation: Mapping[str, Any]) -> str:
    verdict = evaluation["verdict"]
    told = f"On {verdict['rows']:,} held-out rows it is **{verdict['verdict']}** than its base by {verdict['name']}"
    levels = f"{_level(verdict['tuned'])}, base {_level(verdict['base'])}"
    if verdict["verdict"] not in {"better", "worse"}:
        told = f"Against its base, by {verdict['name']} on {verdict['rows']:,} held-out rows: **{verdict['verdict']}**"
    form = "an adapter of" if facts["form"] == "adapter" else "a fine-tune of"
    return f"# {facts['version']}\n\n{form.capitalize()} `{_base(facts)}`. {told}: {levels}."


def _use(facts: Mapping[str, Any]) -> str:
    lines = [f"metier serve                    # model: {facts['version']}"]
    return "## Use\n\n```\n" + "\n".join(lines) + "\n```\n\n" + _LOADING[facts["form"]]


_LOADING = {
    "adapter": "`model/` is an adapter in PEFT's format: `PeftModel.from_pretrained(base, 'model')`. Its tokenizer and "
    "chat template lie beside it; use these, not the base's.",
    "whole": "`model/` is a plain Hugging Face folder: `AutoModelForCausalLM.from_pretrained('model')`. Its tokenizer "
    "and chat template lie beside it.",
}


def _measured(evaluation: Mapping[str, Any]) -> str:
    lines = ["| | tuned | base | difference | |", "|---|---|---|---|---|"]
    for entry in evaluation["metrics"][:_LISTED]:
        cells = (_level(entry["tuned"]), _level(entry["base"]), _level(entry["difference"], sign=True))
        lines.append(f"| {entry['name']} | {' | '.join(cells)} | {entry['verdict']} |")
    conditions = evaluation["conditions"]
    kept = evaluation.get("retention")
    told = f"\n\nGeneral text: {kept['verdict']}." if kept else ""
    return (
        "## Measured\n\n"
        + "\n".join(lines)
        + f"\n\nEstimate and {conditions['settings']['confidence']:.0%} interval, "
        + f"{conditions['rows']:,} rows of the {conditions['split']} split, base and tuned model asked alike. "
        + "Slices, fields, suites and every answer: `evaluation/`."
        + told
    )


def _decided(facts: Mapping[str, Any]) -> str:
    decision = facts["decision"]
    lines = [f"- {'holds' if entry['holds'] else '**does not hold**'}: {entry['name']} – {entry['told']}"
             for entry in decision["conditions"]]  # fmt: skip
    told = f"\n\nPromoted all the same, because: {decision['despite']}" if decision["despite"] else ""
    return f"## Decision: {decision['answer']}\n\n" + "\n".join(lines) + told


def _sure(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the section about the probabilities of decisions, where there are any."""
    if "temperature" not in facts.get("calibration", {}):
        return ()
    return (f"## How sure it is\n\nDecisions (`/v1/decisions`): {sureness.told(facts)}. All of it: `{sureness.FILE}`.",)


def _data(data: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{count:,} {split}" for split, count in data["counts"].items())
    sources = list(data["sources"].items())
    lines = [f"- `{name}`: {entry['rows']:,} rows, SHA-256 `{entry['sha256'][:16]}…`" for name, entry in sources]
    dropped = sum(data["dropped"].values())
    more = f"\n- and {len(lines) - _LISTED} more" if len(lines) > _LISTED else ""
    return (
        f"## Data\n\n{counts}; {dropped:,} dropped; {data.get('synthetic') or 0:,} of them synthetic.\n\n"
        + "\n".join(lines[:_LISTED])
        + more
        + "\n\nRow by row, without their text: `evidence/rows.jsonl`; what was dropped, changed or remarked and why: "
        + "`evidence/decisions.jsonl`."
    )


def _licences(licences: Obligations) -> str:
    asks = "\n".join(f"- {text}" for text in licences.asks) or "- nothing that we know of"
    return (
        f"## Licence: {licences.model}\n\nBase: {licences.base}. Data: {licences.data}. What they ask of whoever uses "
        f"this model or hands it on (a reminder, no legal advice):\n\n{asks}"
    )


def _lineage(facts: Mapping[str, Any]) -> str:
    lines = [
        ("run", facts["run"]),
        ("trained on snapshot", facts["snapshot"]),
        ("recipe", facts["recipe"]),
        ("base", f"{_base(facts)} {facts['base']['digest']}"),
        ("model", facts["model"]),
        ("before it", ", ".join(facts["parents"]) or "nothing"),
        ("made", facts["created"]),
    ]
    return "## Where it comes from\n\n| | |\n|---|---|\n" + "\n".join(
        f"| {name} | `{value}` |" for name, value in lines
    )


_FILES = """## In this folder

`model/` weights, tokenizer, template · `evaluation/` every number and answer · `parity/` what is served is what was
trained · `report/report.html` all of it on one page · `evidence/` data, rows, decisions, environment, settings ·
`metrics.jsonl` the curves · `bom.cdx.json` the bill of materials (CycloneDX) · `model.sig` the signature (OpenSSF
model signing) over every file."""


def _level(entry: Mapping[str, Any], *, sign: bool = False) -> str:
    """Return an estimate and its interval."""
    if entry["value"] is None:
        return "–"
    form = "+.3f" if sign else ".3f"
    if entry["low"] is None or entry["high"] is None:
        return format(entry["value"], form)
    return f"{entry['value']:{form}} ({entry['low']:{form}} to {entry['high']:{form}})"
