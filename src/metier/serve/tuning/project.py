"""From a request for a fine-tuning to a project on disk and the arguments of `metier train`; imports no torch."""

import json
from pathlib import Path
from typing import Any

import yaml

from metier.core import artefact
from metier.core.errors import InputError, SettingsError
from metier.core.settings import parse_overrides
from metier.model.find import Base
from metier.serve.refusal import Refusal, unsupported
from metier.serve.settings import GraderSettings
from metier.serve.tuning import grading, results
from metier.serve.wire.tuning import (
    Hyperparameters,
    JobBody,
    Method,
    PreferenceHyperparameters,
    Preferences,
    Reinforcement,
    ReinforcementHyperparameters,
    Supervised,
)

_SECTIONS = ("train.", "model.")
_REWARDS = "train.objective.reinforce"
_OF_REWARDS = (".advantage", ".answers", ".max_new_tokens", ".held_out_answers")
"""What a setting of a request may say of rewards: never what grades, or which judge is asked."""

_BY_ITSELF: dict[str, Any] = {"train.check.keep_epochs": 3, "train.check.loss_rows": 256}
"""Settings of jobs that say nothing else: models of the last epochs are served beside the best one, and checks read
as many held-out rows as hosted fine-tuning tells the full loss of."""


def check(body: JobBody, graders: GraderSettings) -> None:
    """Check that everything that a request asks for is obeyed.

    Args:
        body: the request.
        graders: what the graders of requests may do.

    Raises:
        Refusal: it is not; names the parameter.
    """
    if body.method is not None:
        _check_method(body.method)
    if (wanted := reinforcement(body)) is not None:
        _check_reinforcement(wanted, graders)
    if body.method is not None and body.hyperparameters is not None:
        raise unsupported("hyperparameters", "method says the same")
    for name, value in (body.metadata or {}).items():
        if len(name) > 64 or len(value) > 512:
            raise Refusal(400, "metadata: names up to 64 and values up to 512 characters", param="metadata")
    overrides(body)


def _check_method(method: Method) -> None:
    if method.type == "reinforcement" and method.reinforcement is None:
        raise Refusal(400, "method.reinforcement: missing; wanted: a grader", param="method.reinforcement")
    for other in ("supervised", "dpo", "reinforcement"):
        if other != method.type and getattr(method, other) is not None:
            raise unsupported(f"method.{other}", f"the method is of the type {method.type!r}")


def reinforcement(body: JobBody) -> Reinforcement | None:
    """Return how a job learns from rewards; None: it learns from answers."""
    return body.method.reinforcement if body.method is not None and body.method.type == "reinforcement" else None


def _check_reinforcement(wanted: Reinforcement, graders: GraderSettings) -> None:
    grading.read(wanted.grader, graders, "method.reinforcement.grader")
    chosen = wanted.hyperparameters
    if wanted.response_format is not None:
        raise unsupported(
            "method.reinforcement.response_format",
            "answers are drawn freely, as the model writes them; let the grader reward the form",
        )
    if chosen.reasoning_effort != "default":
        raise unsupported("reasoning_effort", "this base knows no levels of effort")


def hyperparameters(body: JobBody) -> Hyperparameters:
    """Return how a job trains, wherever the request says it."""
    if body.method is None:
        return body.hyperparameters or Hyperparameters()
    if body.method.type == "dpo":
        return (body.method.dpo or Preferences()).hyperparameters
    if body.method.type == "reinforcement":
        assert body.method.reinforcement is not None  # checked when the job was made
        return body.method.reinforcement.hyperparameters
    return (body.method.supervised or Supervised()).hyperparameters


def overrides(body: JobBody) -> list[str]:
    """Return the settings of a job as arguments of the command line.

    Raises:
        Refusal: a setting that a request may not make.
    """
    chosen = hyperparameters(body)
    settings: dict[str, Any] = _BY_ITSELF | (body.settings or {})
    for name in settings:
        _require_allowed(name)
    said = _of_method(chosen) | {
        name: value for name, value in _of_all(chosen).items() if value != "auto"
    }  # fmt: skip
    if twice := sorted(settings.keys() & said.keys()):
        raise Refusal(400, f"settings: {twice[0]!r}; method or hyperparameters say the same", param="settings")
    settings |= said
    arguments = [f"--{name.replace('_', '-')}={json.dumps(value)}" for name, value in settings.items()]
    try:
        parse_overrides(arguments)
    except (SettingsError, InputError) as error:
        raise Refusal(400, f"settings: {error}", param="settings") from error
    return arguments


def _require_allowed(name: str) -> None:
    """Check that a request may set this: never a file, what grades answers, or which judge is asked."""
    if not name.startswith(_SECTIONS) or not name.replace(".", "").replace("_", "").isalnum() or "file" in name:
        raise Refusal(400, f"settings: {name[:80]!r}; wanted: names under train and model", param="settings")
    if name.startswith(_REWARDS) and name.removeprefix(_REWARDS) not in _OF_REWARDS:
        raise Refusal(400, f"settings: {name[:80]!r}; wanted: method.reinforcement.grader", param="settings")


def _of_all(chosen: Hyperparameters) -> dict[str, Any]:
    """Return the settings that every method has, as they were asked for."""
    return {
        "train.epochs": chosen.n_epochs,
        "train.rows_per_step": chosen.batch_size,
        "train.schedule.multiplier": chosen.learning_rate_multiplier,
    }


def _of_method(chosen: Hyperparameters) -> dict[str, Any]:
    """Return the settings that only one method has."""
    if isinstance(chosen, PreferenceHyperparameters):
        beta = {} if chosen.beta == "auto" else {"train.objective.prefer.beta": chosen.beta}
        return {"train.objective.name": "prefer"} | beta
    if isinstance(chosen, ReinforcementHyperparameters):
        samples, multiplier = chosen.eval_samples, chosen.compute_multiplier
        interval = {} if chosen.eval_interval == "auto" else {"train.check.steps": chosen.eval_interval}
        held_out = {} if samples == "auto" else {f"{_REWARDS}.held_out_answers": samples}
        answers = {} if multiplier == "auto" else {f"{_REWARDS}.answers": max(2, round(results.ANSWERS * multiplier))}
        return held_out | answers | interval
    return {}


def write(
    folder: Path, body: JobBody, base: Base, graders: GraderSettings, *, training: bytes, validation: bytes | None
) -> None:
    """Write the project of a job; metier.yaml comes last, so that its existence means that the project is whole."""
    data = {"train": "train.jsonl"}
    artefact.write_file(folder / "train.jsonl", training)
    if validation is not None:
        data["validation"] = "validation.jsonl"
        artefact.write_file(folder / "validation.jsonl", validation)
    chosen = base.name if base.kind in ("bundled", "hub") else str(base.folder.resolve())
    project: dict[str, Any] = {
        "name": "job",
        "base": {"config": chosen} if base.kind == "config" else chosen,
        "data": data,
        "seed": body.seed or 0,
        "prepare": {"test_share": 0},
    }
    if (wanted := reinforcement(body)) is not None:
        grader = grading.read(wanted.grader, graders, "method.reinforcement.grader")
        rewards = {
            "grader": grader.model_dump(mode="json", exclude_none=True),
            "judge": graders.judge.model_dump(mode="json", exclude_none=True),
        }
        project["prepare"]["format"] = "task"
        project["train"] = {"objective": {"name": "reinforce", "reinforce": rewards}}
    artefact.write_file(folder / "metier.yaml", yaml.safe_dump(project, sort_keys=False))
