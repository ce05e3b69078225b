"""The JSON Schema of evaluation.json, for programs that read it; `metier schema --of evaluation` prints it."""

from typing import Any

_VERDICTS = ["better", "worse", "equivalent", "cannot tell", "identical"]
_KEPT = ["kept", "lost", "cannot tell"]
_MEASURED = "by name; where every label has a probability also `brier` and `ece`, of written labels as of heads"
_NUMBER = {"type": ["number", "null"]}
_COUNT = {"type": "integer", "minimum": 0}


def _object(required: dict[str, Any], *, note: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "required": list(required), "properties": required}
    return found | ({"description": note} if note else {})


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _service() -> dict[str, Any]:
    """Return what is known of both models under load; seconds, tokens, bytes, and money at the user's prices."""
    number = {"type": "number"}
    shares = _object({share: {"$ref": "#/$defs/estimate"} for share in ("p50", "p95", "p99")})
    level = {
        "together": _COUNT, "first_token": shares, "latency": shares, "tokens_per_second": number,
        "requests_per_second": number, "memory_bytes": _COUNT,
    }  # fmt: skip
    side = _object({"prompt_tokens": number, "new_tokens": number, "cost": _NUMBER, "levels": _list(_object(level))})
    return _object({"requests": _COUNT, "base": side, "tuned": side, "spared": number})


def json_schema() -> dict[str, Any]:
    """Return the schema: what a reader may rely on; more may stand beside it."""
    estimate = _object({"value": _NUMBER, "low": _NUMBER, "high": _NUMBER}, note="null: not a finite number")
    comparison = {
        "name": {"type": "string"},
        "base": {"$ref": "#/$defs/estimate"},
        "tuned": {"$ref": "#/$defs/estimate"},
        "difference": {"$ref": "#/$defs/estimate"},
        "verdict": {"enum": _VERDICTS},
        "reason": {"type": "string"},
        "more_rows": {"type": ["integer", "null"]},
        "rows": _COUNT,
        "units": _COUNT,
        "method": {"enum": ["score", "t", "bootstrap", "none"]},
        "p": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
    }
    reasoned = _object({"value": {}, "reason": {"type": "string"}})
    refer = {"$ref": "#/$defs/comparison"}
    named = {"type": "string"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "evaluation.json",
        **_object(
            {
                "version": {"const": 1},
                "task": reasoned,
                "metric": reasoned,
                "verdict": refer,
                "metrics": _list(refer) | {"description": _MEASURED},
                "slices": _list({"allOf": [refer, _object({"slice": named, "p_adjusted": _NUMBER})]}),
                "fields": _list({"allOf": [refer, _object({"field": named})]}),
                "labels": _list(_object({"label": named, "rows": _COUNT})),
                "retention": {"anyOf": [{"type": "null"}, _object({"verdict": {"enum": _KEPT}, "margin": _NUMBER})]},
                "suites": _list({"allOf": [refer, _object({"suite": named, "kept": {"enum": _KEPT}})]}),
                "production": {"anyOf": [{"type": "null"}, _service()]},
                "probes": {"type": ["object", "null"]},
                "leaked": _object({"rows": _COUNT, "sources": _list(named)}),
                "grading": {"anyOf": [{"type": "null"}, _object({"faults": _COUNT, "judges": {"type": "object"}})]},
                "worst": _list(_object({"row": _COUNT, "row_id": named, "note": named})),
                "conditions": _object({"split": named, "rows": _COUNT, "settings": {"type": "object"}}),
                "seconds": _object({"base": _NUMBER, "tuned": _NUMBER}),
            }
        ),
        "$defs": {"estimate": estimate, "comparison": _object(comparison)},
    }
