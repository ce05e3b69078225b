"""What a reader is told about parity."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from metier.core import artefact
from metier.core.errors import DataError, ParityError
from metier.core.progress import Silent
from metier.promote import parity
from metier.promote.report import read, report, verdict
from metier.promote.settings import PromoteSettings
from tests.promote.conftest import Trained


@pytest.fixture(scope="module")
def certificate(runs: dict[str, Trained]) -> dict[str, Any]:
    trained = runs["layers"]
    parity.prove(trained.run, trained.base, settings=PromoteSettings(), progress=Silent())
    return read(trained.run)


def test_a_certificate_that_holds(certificate: dict[str, Any], runs: dict[str, Trained]) -> None:
    told = report(runs["layers"].run)
    assert told.verdict.good is True
    assert "trained = saved = reloaded = merged" in told.verdict.text
    assert [row[0] for row in told.tables[0].rows] == ["trained", "saved", "reloaded", "merged"]
    assert all(len(row) == len(told.tables[0].columns) for row in told.tables[0].rows)


def test_a_breach_is_told_with_its_hop(lora: Trained) -> None:
    (lora.run / "model" / "tokenizer.json").write_text("{}")
    with pytest.raises(ParityError):
        parity.prove(lora.run, lora.base, settings=PromoteSettings(), progress=Silent())
    told = report(lora.run)
    assert told.verdict.good is False
    assert "Broken at hop 'saved'" in told.verdict.text
    assert [row[1] for row in told.tables[0].rows] == ["yes", "NO"]


def test_a_proof_that_proves_little_is_no_yes(certificate: dict[str, Any]) -> None:
    faint = deepcopy(certificate)
    faint["from_base"]["largest_kl"] = 1e-9
    assert verdict(faint).good is None
    assert verdict(certificate | {"from_base": None}).good is True


def test_no_certificate_and_a_changed_one_are_refused(lora: Trained, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        read(tmp_path)
    with artefact.publish(lora.run / "parity", kind="parity") as folder:
        (folder / "parity.json").write_text("{}")
    (lora.run / "parity" / "parity.json").write_text('{"holds": true}')
    with pytest.raises(DataError, match=r"parity\.json"):
        report(lora.run)
