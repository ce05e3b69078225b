"""Graders that come with a request: read, refused where they would run code or ask a judge unasked, tried; no torch."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from metier.core.errors import SettingsError
from metier.score.graders.openai import (
    LabelModel,
    Multi,
    Part,
    PythonGrader,
    ScoreModel,
    StringCheck,
    TextSimilarity,
)
from metier.score.graders.places import Shown, shown
from metier.score.graders.settings import named
from metier.score.graders.values import Bench, rewards, together
from metier.serve.refusal import Refusal, unsupported
from metier.serve.settings import GraderSettings
from metier.serve.wire.tuning import JudgeSampling, TrialBody

Grader = StringCheck | TextSimilarity | PythonGrader | ScoreModel | LabelModel | Multi
_READ: TypeAdapter[Grader] = TypeAdapter(Annotated[Grader, Field(discriminator="type")])
_MOST_PARTS = 16
"""Graders in a `multi`: each may run a program for seconds, or ask a judge for minutes."""
_LONGEST, _LONGEST_ITEM, _DEEPEST = 1 << 18, 1 << 20, 64
"""Characters of a grader and of an item as JSON, and how far their values may stand inside each other."""
_AT_ONCE = 2
_ERRORS = (
    "formula_parse_error", "invalid_variable_error", "model_grader_parse_error", "model_grader_refusal_error",
    "model_grader_server_error", "other_error", "python_grader_runtime_error", "python_grader_server_error",
    "sample_parse_error", "truncated_observation_error", "unresponsive_reward_error",
)  # fmt: skip


class Trials:
    """How many graders are tried at this moment: a few, for each may hold one of the threads that all requests share.

    Belongs to the server's loop.
    """

    def __init__(self) -> None:
        self._now = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Let one more be tried inside the block.

        Raises:
            Refusal: enough are.
        """
        if self._now >= _AT_ONCE:
            raise Refusal(429, f"{_AT_ONCE} graders are being tried already; try again in a moment", code="busy")
        self._now += 1
        try:
            yield
        finally:
            self._now -= 1


def read(value: Any, settings: GraderSettings, param: str) -> Grader:
    """Understand a grader as OpenAI writes it.

    Args:
        value: as it came.
        settings: what requests may bring.
        param: what to call it in a refusal.

    Raises:
        Refusal: it is none, or does what the server's settings do not allow.
    """
    _require_plain(value, param, _LONGEST)
    try:
        grader = _READ.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([param, *(str(part) for part in first["loc"][1:])])
        words = str(first["msg"]).removeprefix("Value error, ")
        raise Refusal(400, f"{place}: {words[:1000]}", param=param, code="invalid_value") from error
    parts = _parts(grader)
    if len(parts) > _MOST_PARTS:
        raise Refusal(400, f"{param}: {len(parts)} graders in one; wanted: at most {_MOST_PARTS}", param=param)
    for part in parts:
        _require_allowed(part, settings, param)
    return grader


def _require_allowed(part: Grader, settings: GraderSettings, param: str) -> None:
    if isinstance(part, PythonGrader) and not settings.python:
        raise unsupported(
            f"{param}: python", "it would run code of a request; serve.graders.python allows it, within limits"
        )
    if isinstance(part, ScoreModel | LabelModel):
        if settings.judge.url is None:
            raise unsupported(f"{param}: {part.type}", "this server knows no judge; serve.graders.judge.url names one")
        if part.model is None and settings.judge.model is None:
            raise Refusal(400, f"{param}.model: missing; wanted: the judge's model", param=param)
        try:
            JudgeSampling.model_validate(part.sampling_params)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join([f"{param}.sampling_params", *(str(name)[:80] for name in first["loc"])])
            raise Refusal(400, f"{place}: {first['msg']}", param=param, code="invalid_value") from error


def _require_plain(value: Any, param: str, most: int) -> None:
    """Check that a value is one that JSON can hold, and neither too long nor too deep to be looked at."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    if level:
        raise Refusal(400, f"{param}: more than {_DEEPEST} values inside each other", param=param)
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError as error:
        raise Refusal(400, f"{param}: not valid Unicode (half a surrogate pair)", param=param) from error
    except ValueError as error:
        raise Refusal(400, f"{param}: a number that is infinite, or none at all", param=param) from error
    if len(text) > most:
        raise Refusal(400, f"{param}: {len(text):,} characters of JSON; wanted: at most {most:,}", param=param)


def _parts(grader: Grader) -> list[Part]:
    return list(grader.graders.values()) if isinstance(grader, Multi) else [grader]


def validated(value: Any, settings: GraderSettings) -> dict[str, Any]:
    """Return a grader as it was understood; raises as `read` does."""
    return {"grader": _plain(read(value, settings, "grader"))}


def _plain(grader: Grader) -> dict[str, Any]:
    told: dict[str, Any] = {"name": named(grader)} | grader.model_dump(mode="json", exclude_none=True)
    if isinstance(grader, Multi):
        told["graders"] = {name: {"name": name} | part for name, part in told["graders"].items()}
    return told


def tried(body: TrialBody, settings: GraderSettings, seconds: float = 600.0) -> dict[str, Any]:
    """Let a grader look at one answer, and return what it says as the API writes it; raises as `read` does.

    Args:
        body: the grader, the answer, and the row that it answers.
        settings: what requests may bring.
        seconds: after which no further part of a `multi` is begun.
    """
    grader, started = read(body.grader, settings, "grader"), time.monotonic()
    item = body.item or {}
    _require_plain(item, "item", _LONGEST_ITEM)
    row = shown(str(item.get("prompt", "")), str(item.get("reference", "")), body.model_sample, beside=item)
    parts: dict[str, float | str] = {}
    if isinstance(grader, Multi):
        for name, part in grader.graders.items():
            late = time.monotonic() - started > seconds
            parts[name] = f"not begun within {seconds:g} s" if late else _one(part, row, settings)
        (reward,) = together(grader, {name: [value] for name, value in parts.items()})
    else:
        reward = _one(grader, row, settings)
    unread = row.sample["output_json"] is None and "sample.output_json" in json.dumps(body.grader)
    wrong = ({} if isinstance(reward, float) else _wrong(grader, parts, reward)) | {"sample_parse_error": unread}
    scores = {name: value if isinstance(value, float) else None for name, value in parts.items()}
    number = reward if isinstance(reward, float) else 0.0
    return {
        "reward": number,
        "sub_rewards": scores,
        "model_grader_token_usage_per_model": {},
        "metadata": {
            "name": named(grader), "type": grader.type, "scores": scores or {named(grader): number},
            "errors": dict.fromkeys(_ERRORS, False) | wrong, "execution_time": time.monotonic() - started,
            "token_usage": None, "sampled_model_name": None,
        },
    }  # fmt: skip


def _one(grader: Part, row: Shown, settings: GraderSettings) -> float | str:
    try:
        (value,) = rewards(grader, [row], Bench(folder=Path("/nonexistent"), judge=settings.judge))
    except SettingsError as error:
        return f"{error.found}; wanted: {error.wanted[:1000]}"
    return value


def _wrong(grader: Grader, parts: dict[str, float | str], why: str) -> dict[str, Any]:
    """Return which kind of error it was: that of the first part that gave no number, or of the grader itself."""
    if isinstance(grader, Multi):
        broken = next((name for name, value in parts.items() if isinstance(value, str)), None)
        return {"other_error": True} if broken is None else _wrong(grader.graders[broken], {}, str(parts[broken]))
    if why.startswith("graders: no place '"):
        return {"invalid_variable_error": True}
    if isinstance(grader, PythonGrader):
        return {"python_grader_runtime_error": True, "python_grader_runtime_error_details": why}
    if isinstance(grader, ScoreModel | LabelModel):
        if "cannot be read" in why:
            return {"model_grader_parse_error": True}
        return {"model_grader_server_error": True, "model_grader_server_error_details": why}
    return {"other_error": True}
