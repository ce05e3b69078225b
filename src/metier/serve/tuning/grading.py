"""Graders that come with a request: read, refused where they would run code or ask a judge unasked, tried; no torch."""

import json
import time
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from metier.core.errors import SettingsError
from metier.score.graders import formula
from metier.score.graders.openai import (
    LabelModel,
    Multi,
    PythonGrader,
    ScoreModel,
    StringCheck,
    TextSimilarity,
)
from metier.score.graders.places import shown
from metier.score.graders.values import Bench, rewards
from metier.serve.refusal import Refusal, unsupported
from metier.serve.settings import GraderSettings

Grader = StringCheck | TextSimilarity | PythonGrader | ScoreModel | LabelModel | Multi
_READ: TypeAdapter[Grader] = TypeAdapter(Annotated[Grader, Field(discriminator="type")])
_SAMPLING = {"temperature", "top_p", "seed", "max_completions_tokens", "reasoning_effort"}
_ERRORS = (
    "formula_parse_error", "invalid_variable_error", "model_grader_parse_error", "model_grader_refusal_error",
    "model_grader_server_error", "other_error", "python_grader_runtime_error", "python_grader_server_error",
    "sample_parse_error", "truncated_observation_error", "unresponsive_reward_error",
)  # fmt: skip


def read(value: Any, settings: GraderSettings, param: str) -> Grader:
    """Understand a grader as OpenAI writes it.

    Args:
        value: as it came.
        settings: what requests may bring.
        param: what to call it in a refusal.

    Raises:
        Refusal: it is none, or does what the server's settings do not allow.
    """
    _require_unicode(value, param)
    try:
        grader = _READ.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([param, *(str(part) for part in first["loc"][1:])])
        raise Refusal(400, f"{place}: {first['msg']}", param=param, code="invalid_value") from error
    for part in _parts(grader):
        if isinstance(part, PythonGrader) and not settings.python:
            raise unsupported(
                f"{param}: python", "it would run code of a request; serve.graders.python allows it, within limits"
            )
        if isinstance(part, ScoreModel | LabelModel):
            if settings.judge.url is None:
                raise unsupported(
                    f"{param}: {part.type}", "this server knows no judge; serve.graders.judge.url names one"
                )
            if unknown := sorted(part.sampling_params.keys() - _SAMPLING):
                raise unsupported(f"{param}.sampling_params.{unknown[0][:80]}", "it would not be understood")
    if isinstance(grader, Multi):
        try:
            formula.compiled(grader.calculate_output, grader.graders)
        except SettingsError as error:
            raise Refusal(400, f"{param}: {error}", param=param, code="invalid_value") from error
    return grader


def _require_unicode(value: Any, param: str) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise Refusal(400, f"{param}: not valid Unicode (half a surrogate pair)", param=param) from error


def _parts(grader: Grader) -> list[Grader]:
    return list(grader.graders.values()) if isinstance(grader, Multi) else [grader]


def validated(value: Any, settings: GraderSettings) -> dict[str, Any]:
    """Return a grader as it was understood; raises as `read` does."""
    return {"grader": _plain(read(value, settings, "grader"))}


def tried(value: Any, sample: str, item: dict[str, Any] | None, settings: GraderSettings) -> dict[str, Any]:
    """Let a grader look at one answer, and return what it says as the API writes it; raises as `read` does."""
    grader, started = read(value, settings, "grader"), time.monotonic()
    _require_unicode(item, "item")
    found = {"": grader} | (grader.graders if isinstance(grader, Multi) else {})
    said = {name: _one(part, sample, item or {}, settings) for name, part in found.items()}
    reward, parts = said.pop(""), said
    wrong = {} if isinstance(reward, float) else _wrong(grader, str(reward))
    scores = {name: value if isinstance(value, float) else None for name, value in parts.items()}
    return {
        "reward": reward if isinstance(reward, float) else 0.0,
        "sub_rewards": scores,
        "model_grader_token_usage_per_model": {},
        "metadata": {
            "name": grader.name or grader.type, "type": grader.type, "scores": scores or {"reward": reward},
            "errors": dict.fromkeys(_ERRORS, False) | wrong, "execution_time": time.monotonic() - started,
            "token_usage": None, "sampled_model_name": None,
        },
    }  # fmt: skip


def _one(grader: Grader, sample: str, item: dict[str, Any], settings: GraderSettings) -> float | str:
    row = shown(str(item.get("prompt", "")), str(item.get("reference", "")), sample, beside=item)
    try:
        (value,) = rewards(grader, [row], Bench(folder=Path("/nonexistent"), judge=settings.judge))
    except SettingsError as error:
        return f"{error.found}; wanted: {error.wanted}"
    return value


def _wrong(grader: Grader, why: str) -> dict[str, Any]:
    """Return which kind of error it was."""
    if "no place '" in why:
        return {"invalid_variable_error": True}
    if isinstance(grader, PythonGrader):
        return {"python_grader_runtime_error": True, "python_grader_runtime_error_details": why}
    if "cannot be read" in why:
        return {"model_grader_parse_error": True}
    if isinstance(grader, ScoreModel | LabelModel):
        return {"model_grader_server_error": True, "model_grader_server_error_details": why}
    return {"other_error": True}


def _plain(grader: Grader) -> dict[str, Any]:
    return grader.model_dump(mode="json", exclude_none=True)
