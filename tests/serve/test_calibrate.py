"""A model that is too sure is found out on its validation rows, and its decisions say less from then on."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from metier import flow
from metier.cli.app import app
from metier.core import artefact, registry
from metier.core.errors import DataError, InputError
from metier.core.progress import Silent
from metier.model.find import find
from metier.project import Place, load
from metier.score.temperature import Fit, fit, shares
from metier.serve import calibrated
from metier.serve.calibrate import for_version
from metier.serve.calibrated import Calibrations
from metier.serve.catalogue import Catalogue
from metier.serve.run import mixable
from metier.text.settings import TextSettings
from tests.serve import workshop
from tests.serve.workshop import LABELS, MODEL, Shop, application

HERE = {"host": "localhost"}
SPLIT = ("--prepare.validation-share=0.3", "--prepare.test-share=0.1")
PLAN = ("--train.max-steps=12", "--train.learning-rate=0.05", *SPLIT)


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
    return folder, workshop.train(folder, *PLAN)


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


QUICK = ("--evaluate.resampling.samples=100", "--evaluate.retention=false", "--evaluate.max-new-tokens=3")


def promoted(folder: Path, *options: str) -> flow.Promoted:
    """Promote the run of the project, whatever the gate says of it."""
    place = Place(project=load(folder, [*PLAN, *QUICK, *options]), folder=folder)
    return flow.promote(place, None, alias="candidate", despite="a trial")


def test_a_promoted_version_brings_how_sure_it_should_be(
    project: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("METIER_DATABASE", raising=False)
    folder = Path(shutil.copytree(project[0], tmp_path / project[0].name, symlinks=True))
    shutil.rmtree(folder / ".metier" / "calibrations", ignore_errors=True)
    place = Place(project=load(folder, [*PLAN, *QUICK]), folder=folder)
    run = flow.locate(place, flow.prepare(place).path)
    flow.evaluate(place, run)
    flow.prove(place, run)
    off = promoted(folder, "--promote.registry.calibrate=false")
    assert not (off.version.path / "calibration.json").exists()
    assert registry.checked(off.version, place.store)["calibration"] == {"reason": "as set"}
    version = promoted(folder, "--promote.registry.licence=mit").version
    facts = registry.checked(version, place.store)["calibration"]
    held = json.loads((version.path / "calibration.json").read_text())
    assert (held["split"], held["labels"]) == ("validation", sorted(LABELS))
    assert held["rows"] >= 20
    assert facts["error_after"] == held["error_after"] >= 0
    assert "it decides: 2 answers" in facts["reason"]
    assert "## How sure it is" in (version.path / "README.md").read_text()
    with application(Shop(folder), store=tmp_path / "elsewhere") as client:  # where nothing was fitted
        assert decide(client, version.reference)["calibrated"] is True
        assert decide(client, off.version.reference)["calibrated"] is False
        assert decide(client, run.id)["calibrated"] is False
    with application(Shop(folder)) as client:  # here, run and version share what was fitted
        assert decide(client, run.id)["calibrated"] is True


def test_what_is_promoted_is_calibrated_where_it_decides(project: tuple[Path, str], shop: Shop, tmp_path: Path) -> None:
    """Planted faults: rows that the version was judged by, too few rows, answers that hardly ever come again."""
    folder, run = project
    base = find(MODEL, folder)
    models = Catalogue(folder, folder / ".metier", base, text=TextSettings(), mixable=mixable)
    served = models.find(run)
    assert served is not None
    few = Catalogue(shop.folder, shop.store, base, text=TextSettings(), mixable=mixable).find(shop.runs["first"])
    for model, split, words in (
        (served, "validation", "what it was evaluated on"), (few, "test", "validation rows"), (None, "test", "nothing"),
    ):  # fmt: skip
        found, choice = for_version(model, tmp_path, Silent(), wanted=None, judged_by=split)
        assert (found, choice.value) == (None, False)
        assert words in choice.reason
        with pytest.raises(InputError, match=words):
            for_version(model, tmp_path, Silent(), wanted=True, judged_by=split)
    found, choice = for_version(served, tmp_path, Silent(), wanted=None, judged_by="test")
    assert found is not None
    assert (choice.name, choice.value) == ("promote.registry.calibrate", True)
    again, kept = for_version(served, tmp_path, Silent(), wanted=None, judged_by="test")
    assert (again, kept.reason) == (found, "metier calibrate has fitted it already")


def test_answers_that_hardly_ever_come_again_are_no_decisions(tmp_path: Path, tiny_base: Path) -> None:
    (tmp_path / MODEL).symlink_to(tiny_base)
    lines = [{"text": f"number {number}", "label": f"answer {number % 30}"} for number in range(160)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "metier.yaml").write_text(f"base: {MODEL}\ndata: rows.jsonl\n")
    run = workshop.train(tmp_path, "--train.max-steps=1", "--prepare.validation-share=0.3")
    models = Catalogue(tmp_path, tmp_path / ".metier", find(MODEL, tmp_path), text=TextSettings(), mixable=mixable)
    found, choice = for_version(models.find(run), tmp_path / "x", Silent(), wanted=None, judged_by="test")
    assert found is None
    assert "are no decisions" in choice.reason


def test_what_cannot_be_calibrated_is_said(project: tuple[Path, str], shop: Shop) -> None:
    folder, _ = project
    for name, kind, said in ((MODEL, InputError, "base itself"), ("nobody", InputError, "no such model")):
        error = CliRunner().invoke(app, ["calibrate", name, "--project", str(folder)]).exception
        assert isinstance(error, kind)
        assert said in str(error)
    few = CliRunner().invoke(app, ["calibrate", shop.runs["first"], "--project", str(shop.folder)]).exception
    assert isinstance(few, DataError)
    assert "validation rows" in str(few)
