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
from metier.serve.wire.tuning import (
    Hyperparameters,
    JobBody,
    Method,
    PreferenceHyperparameters,
    Preferences,
    Supervised,
)

_SECTIONS = ("train.", "model.")


def check(body: JobBody) -> None:
    """Check that everything that a request asks for is obeyed.

    Raises:
        Refusal: it is not; names the parameter.
    """
    if body.method is not None:
        _check_method(body.method)
    if body.method is not None and body.hyperparameters is not None:
        raise unsupported("hyperparameters", "method says the same")
    if hyperparameters(body).learning_rate_multiplier not in ("auto", 1):
        raise unsupported(
            "learning_rate_multiplier", 'set the rate itself: extra_body={"settings": {"train.learning_rate": 1e-4}}'
        )
    for name, value in (body.metadata or {}).items():
        if len(name) > 64 or len(value) > 512:
            raise Refusal(400, "metadata: names up to 64 and values up to 512 characters", param="metadata")
    overrides(body)


def _check_method(method: Method) -> None:
    if method.type == "reinforcement":
        raise unsupported("method.type", "only 'supervised' and 'dpo' are trained here")
    for other in ("supervised", "dpo", "reinforcement"):
        if other != method.type and getattr(method, other) is not None:
            raise unsupported(f"method.{other}", f"the method is of the type {method.type!r}")


def hyperparameters(body: JobBody) -> Hyperparameters:
    """Return how a job trains, wherever the request says it."""
    if body.method is None:
        return body.hyperparameters or Hyperparameters()
    if body.method.type == "dpo":
        return (body.method.dpo or Preferences()).hyperparameters
    return (body.method.supervised or Supervised()).hyperparameters


def overrides(body: JobBody) -> list[str]:
    """Return the settings of a job as arguments of the command line.

    Raises:
        Refusal: a setting that a request may not make.
    """
    chosen = hyperparameters(body)
    settings: dict[str, Any] = dict(body.settings or {})
    for name in settings:
        if not name.startswith(_SECTIONS) or not name.replace(".", "").replace("_", "").isalnum() or "file" in name:
            raise Refusal(400, f"settings: {name[:80]!r}; wanted: names under train and model", param="settings")
    if isinstance(chosen, PreferenceHyperparameters):
        settings["train.objective.name"] = "prefer"
        if chosen.beta != "auto":
            settings["train.objective.prefer.beta"] = chosen.beta
    if chosen.n_epochs != "auto":
        settings["train.epochs"] = chosen.n_epochs
    if chosen.batch_size != "auto":
        settings["train.rows_per_step"] = chosen.batch_size
    arguments = [f"--{name.replace('_', '-')}={json.dumps(value)}" for name, value in settings.items()]
    try:
        parse_overrides(arguments)
    except (SettingsError, InputError) as error:
        raise Refusal(400, f"settings: {error}", param="settings") from error
    return arguments


def write(folder: Path, body: JobBody, base: Base, *, training: bytes, validation: bytes | None) -> None:
    """Write the project of a job; metier.yaml comes last, so that its existence means that the project is whole."""
    data = {"train": "train.jsonl"}
    artefact.write_file(folder / "train.jsonl", training)
    if validation is not None:
        data["validation"] = "validation.jsonl"
        artefact.write_file(folder / "validation.jsonl", validation)
    chosen = base.name if base.kind in ("bundled", "hub") else str(base.folder)
    project: dict[str, Any] = {
        "name": "job",
        "base": {"config": chosen} if base.kind == "config" else chosen,
        "data": data,
        "seed": body.seed or 0,
        "prepare": {"test_share": 0},
    }
    artefact.write_file(folder / "metier.yaml", yaml.safe_dump(project, sort_keys=False))
