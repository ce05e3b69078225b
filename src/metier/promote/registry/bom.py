"""The bill of materials of a version in CycloneDX 1.6 (JSON): the model with its card, its base, data and packages.

Written here rather than with cyclonedx-python-lib, which has no model cards; the tests hold it against the schema.
"""

import uuid
from collections.abc import Mapping
from typing import Any

from metier.core import digest
from metier.core.__about__ import __version__
from metier.promote.registry.licences import KNOWN, Obligations

_SPDX = {
    "apache-2.0": "Apache-2.0", "mit": "MIT", "bsd-2-clause": "BSD-2-Clause", "bsd-3-clause": "BSD-3-Clause",
    "cc0-1.0": "CC0-1.0", "cc-by-4.0": "CC-BY-4.0", "cc-by-sa-4.0": "CC-BY-SA-4.0", "cc-by-nc-4.0": "CC-BY-NC-4.0",
    "cc-by-nc-sa-4.0": "CC-BY-NC-SA-4.0", "mpl-2.0": "MPL-2.0", "gpl-3.0": "GPL-3.0-only",
}  # fmt: skip
"""Licences as hubs write them -> as SPDX does; others are given by name."""

_APPROACHES = {"reinforce": "reinforcement-learning", "distil": "self-supervised"}
"""`train.objective` -> CycloneDX's word for how that is learnt; all others learn from answers that are given."""


def bill(
    facts: Mapping[str, Any], evaluation: Mapping[str, Any], data: Mapping[str, Any], *,
    environment: Mapping[str, Any], licences: Obligations,
) -> dict[str, Any]:  # fmt: skip
    """Return the bill as plain values; it says nothing that version.json and the evidence do not say."""
    sets = [_data_set(name, entry, licences.data) for name, entry in data["sources"].items()]
    packages = [_package(name, version) for name, version in environment["packages"].items()]
    model, base = f"model:{facts['version']}", f"base:{facts['base']['digest'][:16]}"
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.UUID(digest.of_value([facts['version'], facts['model']])[:32])}",
        "version": 1,
        "metadata": {
            "timestamp": facts["created"],
            "tools": {"components": [{"type": "application", "name": "metier", "version": __version__}]},
            "component": _model(facts, evaluation, licences, [entry["bom-ref"] for entry in sets]),
        },
        "components": [
            {
                "type": "machine-learning-model",
                "bom-ref": base,
                "name": facts["base"]["name"],
                "licenses": _licence(licences.base),
                "properties": [{"name": "metier:digest", "value": facts["base"]["digest"]}],
            },
            *sets,
            *packages,
        ],
        "dependencies": [
            {"ref": model, "dependsOn": [base, *(entry["bom-ref"] for entry in [*sets, *packages])]},
        ],
    }


def _model(
    facts: Mapping[str, Any], evaluation: Mapping[str, Any], licences: Obligations, sets: list[str]
) -> dict[str, Any]:
    lineage = {name: facts[name] for name in ("run", "snapshot", "recipe", "model")}
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{facts['version']}",
        "name": facts["name"],
        "version": str(facts["number"]),
        "licenses": _licence(licences.model),
        "hashes": [{"alg": "SHA-256", "content": facts["model"]}],
        "pedigree": {"ancestors": [{"type": "machine-learning-model", "name": facts["base"]["name"]}]},
        "properties": [{"name": f"metier:{name}", "value": value} for name, value in lineage.items()],
        "modelCard": {
            "modelParameters": {
                "approach": {"type": _APPROACHES.get(facts["objective"], "supervised")},
                "task": "text classification" if facts["head"] else "text generation",
                "datasets": [{"ref": ref} for ref in sets],
            },
            "quantitativeAnalysis": {"performanceMetrics": [_metric(entry) for entry in evaluation["metrics"]]},
            "considerations": {"technicalLimitations": list(licences.asks) or ["none are known"]},
        },
    }


def _metric(entry: Mapping[str, Any]) -> dict[str, Any]:
    tuned = {name: str(entry["tuned"][name]) for name in ("value", "low", "high")}
    return {
        "type": entry["name"],
        "value": tuned["value"],
        "slice": "held-out rows",
        "confidenceInterval": {"lowerBound": tuned["low"], "upperBound": tuned["high"]},
    }


def _data_set(name: str, entry: Mapping[str, Any], licence: str) -> dict[str, Any]:
    return {
        "type": "data",
        "bom-ref": f"data:{entry['sha256'][:16]}:{digest.of_value(name)[:8]}",
        "name": name,
        "hashes": [{"alg": "SHA-256", "content": entry["sha256"]}],
        "licenses": _licence(licence),
        "data": [{"type": "dataset", "name": name, "classification": entry["role"]}],
    }


def _package(name: str, version: str) -> dict[str, Any]:
    address = f"pkg:pypi/{name.replace('_', '-')}@{version}"
    return {"type": "library", "bom-ref": address, "name": name, "version": version, "purl": address}


def _licence(name: str) -> list[dict[str, Any]]:
    if name == "unknown":
        return []
    known = _SPDX.get(name.lower())
    entry: dict[str, Any] = {"id": known} if known else {"name": name}
    asked = KNOWN.get(name.lower())
    if asked and asked.asks and not known:
        entry["text"] = {"content": "; ".join(asked.asks)}
    return [{"license": entry}]
