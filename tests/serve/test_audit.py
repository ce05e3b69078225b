"""The audit log: what was written cannot be changed, taken out, cut off or put in without being found."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
from sqlalchemy.exc import DatabaseError
from typer.testing import CliRunner

from metier.cli.app import app
from metier.serve.audit import HEAD, Audit
from metier.serve.database import connect
from metier.serve.tables import AUDIT

LINES = 8


@pytest.fixture
def log(tmp_path: Path) -> Audit:
    audit = Audit(connect(tmp_path), tmp_path)
    for number in range(LINES):
        audit.note("key", f"POST /v1/files/{number}", status=200, odd="é\n\x1b[31m")
    return audit


def change(folder: Path, statement: Any) -> None:
    """Change the log as somebody would who may do everything to the database."""
    with connect(folder).begin() as connection:
        for name in ("audit_no_UPDATE", "audit_no_DELETE"):
            connection.execute(sql.text(f"DROP TRIGGER IF EXISTS {name}"))
        connection.execute(statement)


def test_an_untouched_log_is_unbroken_and_goes_on_after_a_restart(log: Audit, tmp_path: Path) -> None:
    assert log.verify().faults == ()
    again = Audit(connect(tmp_path), tmp_path)
    again.note("key", "more")
    verdict = again.verify()
    assert (verdict.lines, verdict.faults) == (LINES + 1, ())
    assert [line["number"] for line in again.lines(2)] == [LINES + 1, LINES]


def test_the_database_itself_refuses_to_change_a_line(log: Audit, tmp_path: Path) -> None:
    for statement in (AUDIT.update().values(who="nobody"), AUDIT.delete()):
        with pytest.raises(DatabaseError, match="append-only"), connect(tmp_path).begin() as connection:
            connection.execute(statement)
    assert log.verify().faults == ()


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        (lambda: AUDIT.update().where(AUDIT.c.number == 3).values(who="other"), "line 3: was changed"),
        (lambda: AUDIT.update().where(AUDIT.c.number == 3).values(milliseconds=1), "line 3: was changed"),
        (lambda: AUDIT.update().where(AUDIT.c.number == 5).values(facts="{}"), "line 5: was changed"),
        (lambda: AUDIT.update().where(AUDIT.c.number == 5).values(digest="0" * 64), "line 6: does not follow"),
        (lambda: AUDIT.delete().where(AUDIT.c.number == 4), "line 4: missing"),
        (lambda: AUDIT.delete().where(AUDIT.c.number == 1), "line 1: missing"),
        (lambda: AUDIT.delete().where(AUDIT.c.number > 6), "line 8: was there"),
        (AUDIT.delete, "line 8: was there"),
    ],
)  # fmt: skip
def test_a_planted_change_is_found(log: Audit, tmp_path: Path, planted: Callable[[], Any], found: str) -> None:
    change(tmp_path, planted())
    assert any(found in fault for fault in log.verify().faults)


def test_a_forged_chain_is_found_by_the_file_beside_it(log: Audit, tmp_path: Path) -> None:
    change(tmp_path, AUDIT.delete())
    (tmp_path / HEAD).rename(tmp_path / "kept")
    forged = Audit(connect(tmp_path), tmp_path)
    for number in range(LINES):
        forged.note("key", f"POST /v1/files/{number}")
    assert forged.verify().faults == ()
    (tmp_path / "kept").rename(tmp_path / HEAD)
    assert "or is another" in forged.verify().faults[0]
    (tmp_path / HEAD).unlink()
    assert "cut off" in forged.verify().faults[0]


def test_the_command_says_so_and_ends_with_one(tmp_path: Path) -> None:
    (tmp_path / "metier.yaml").write_text("base: metier-tiny\ndata: none.jsonl\n")
    run = CliRunner()
    assert run.invoke(app, ["key", "ann", "--scope", "train", "--project", str(tmp_path)]).exit_code == 0
    assert run.invoke(app, ["key", "ann", "--revoke", "--project", str(tmp_path)]).exit_code == 0
    whole = run.invoke(app, ["audit", "--project", str(tmp_path)])
    assert whole.exit_code == 0
    assert "key make" in whole.output
    assert "2 lines, unbroken" in whole.output
    change(tmp_path / ".metier", AUDIT.update().where(AUDIT.c.number == 1).values(who="x"))
    broken = run.invoke(app, ["audit", "--json", "--project", str(tmp_path)])
    assert broken.exit_code == 1
    assert json.loads(broken.stdout)["faults"] == ["line 1: was changed"]
