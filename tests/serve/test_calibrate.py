"""A model that is too sure is found out on its validation rows, and its decisions say less from then on."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from metier.cli.app import app
from metier.core import artefact
from metier.core.errors import DataError, InputError
from metier.score.temperature import Fit, fit, shares
from metier.serve import calibrated
from metier.serve.calibrated import Calibrations
from tests.serve import workshop
from tests.serve.workshop import LABELS, MODEL, Shop, application

HERE = {"host": "localhost"}


def fitted(temperature: float) -> Fit:
    """Return what is fitted to a model that is too sure by a factor."""
    chance = np.random.default_rng(0)
    honest = chance.normal(0, 1.5, (800, 2))
    right = np.array([chance.choice(2, p=row) for row in shares(honest)])
    return fit(honest * temperature, right, [str(row) for row in range(800)])


def decide(client: Any, model: str, labels: tuple[str, ...] = LABELS) -> dict[str, Any]:
    question = {"type": "choice", "instructions": "", "choices": [{"value": label} for label in labels]}
    asked = {"model": model, "input": "my card number 3", "questions": [question]}
    return client.post("/v1/decisions", json=asked, headers=HERE).json()["answers"][0]


def logit(answer: dict[str, Any]) -> float:
    first, second = (each["probability"] for each in answer["probabilities"])
    return float(np.log(first / second))


@pytest.mark.parametrize("kind", ["first", "head"])
def test_decisions_go_by_what_was_fitted_for_their_answers(
    kind: str, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrated, "_FRESH_SECONDS", 0.0)
    digest = artefact.read(shop.store / "runs" / shop.runs[kind] / "model", "model").digest
    with application(shop, store=tmp_path) as client:
        plain = decide(client, shop.runs[kind])
        assert plain["calibrated"] is False
        found = fitted(2.0)
        folder = calibrated.write(tmp_path, digest, fit=found, labels=LABELS, facts={})
        told = decide(client, shop.runs[kind])
        assert told["calibrated"] is True
        assert logit(told) == pytest.approx(logit(plain) / found.temperature, rel=1e-3)
        assert told["choice"] == plain["choice"]
        if kind == "first":  # a head has no other answers
            assert decide(client, shop.runs[kind], ("card", "other"))["calibrated"] is False
        (folder / "calibration.json").write_text('{"temperature": 9, "labels": ["card", "loan"]}')
        assert decide(client, shop.runs[kind])["calibrated"] is False  # not as it was written


def test_one_of_another_model_is_not_taken(tmp_path: Path) -> None:
    calibrated.write(tmp_path, "a" * 64, fit=fitted(2.0), labels=LABELS, facts={})
    assert Calibrations(tmp_path).of("a" * 64) is not None
    assert Calibrations(tmp_path).of("a" * 32 + "b" * 32) is None
    assert Calibrations(tmp_path).of("c" * 64) is None


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> tuple[Path, str]:
    """A project whose labels say nothing sure about its texts, with a run that is trained to be sure all the same."""
    folder, chance = tmp_path_factory.mktemp("calibrate"), random.Random(0)
    words = ["moon", "desk", "river", "paper", "green", "wheel", "salt", "lamp", "north", "glass", "stone", "field"]
    lines = [
        {"text": " ".join(chance.choices(words, k=9)) + f" {number}", "label": chance.choice(LABELS)}
        for number in range(160)
    ]
    (folder / MODEL).symlink_to(tiny_base)
    (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "metier.yaml").write_text(f"base: {MODEL}\ndata: rows.jsonl\n")
    split = ("--prepare.validation-share=0.3", "--prepare.test-share=0.1")
    return folder, workshop.train(folder, "--train.max-steps=12", "--train.learning-rate=0.05", *split)


def test_the_command_fits_tells_and_keeps(project: tuple[Path, str]) -> None:
    folder, run = project
    said = CliRunner().invoke(app, ["calibrate", run, "--project", str(folder), "--json"])
    assert said.exception is None, said.output
    facts = json.loads(said.output)
    assert facts["labels"] == sorted(LABELS)
    assert facts["rows"] >= 20
    assert facts["loss_after"] <= facts["loss_before"] + 0.05
    digest = artefact.read(folder / ".metier" / "runs" / run / "model", "model").digest
    found = Calibrations(folder / ".metier").of(digest)
    assert found is not None
    assert found.temperature == facts["temperature"]
    text = CliRunner().invoke(app, ["calibrate", run, "--project", str(folder)]).output
    assert "2 answers" in text
    assert "calibration error:" in text


def test_what_cannot_be_calibrated_is_said(project: tuple[Path, str], shop: Shop) -> None:
    folder, _ = project
    for name, kind, said in ((MODEL, InputError, "base itself"), ("nobody", InputError, "no such model")):
        error = CliRunner().invoke(app, ["calibrate", name, "--project", str(folder)]).exception
        assert isinstance(error, kind)
        assert said in str(error)
    few = CliRunner().invoke(app, ["calibrate", shop.runs["first"], "--project", str(shop.folder)]).exception
    assert isinstance(few, DataError)
    assert "validation rows" in str(few)
