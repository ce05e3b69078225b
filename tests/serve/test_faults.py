"""What people wrote stays out of the log, whatever goes wrong with the database."""

import logging
import time
from pathlib import Path

import pytest
import sqlalchemy as sql
from sqlalchemy.exc import DBAPIError, IntegrityError

from metier.model.find import find
from metier.serve.audit import Audit
from metier.serve.database import connect
from metier.serve.faults import told
from metier.serve.keys import OPEN
from metier.serve.rollouts.book import Rollouts, wanted_of
from metier.serve.rollouts.overseer import Overseer
from metier.serve.settings import RolloutSettings
from metier.serve.tuning.files import Files
from metier.serve.tuning.foreman import Foreman
from metier.serve.tuning.jobs import Jobs
from metier.serve.webhooks import Courier, Webhooks
from metier.serve.wire.tuning import JobBody
from tests.serve.workshop import Shop, application

PLANTED = "the card of Ann Elm is lost"


def without(folder: Path, *tables: str) -> sql.Engine:
    """Return a project's database in which tables are missing: every statement about them fails, with its values."""
    engine = connect(folder)
    with engine.begin() as connection:
        for table in tables:
            connection.execute(sql.text(f"DROP TABLE {table}"))
    return engine


def test_an_error_is_told_by_kind_code_and_place(tmp_path: Path) -> None:
    with sql.create_engine("sqlite://").begin() as connection:
        connection.execute(sql.text("create table t (a text unique)"))
        rows = [{"a": PLANTED}, {"a": PLANTED}]
        with pytest.raises(IntegrityError) as raised:
            connection.execute(sql.text("insert into t values (:a)"), rows)
    assert PLANTED in str(raised.value)  # what SQLAlchemy would print
    assert told(raised.value) == "IntegrityError (UNIQUE constraint failed: t.a)"
    postgres = DBAPIError("insert", {}, Exception({"C": "23505", "D": f"Key (a)=({PLANTED}) already exists."}))
    assert told(postgres) == "DBAPIError 23505"
    with pytest.raises(DBAPIError) as ours:
        Files(without(tmp_path, "files")).add(OPEN, filename=PLANTED, purpose="fine-tune", content=PLANTED.encode())
    assert PLANTED not in str(ours.value)
    assert told(ours.value).startswith("OperationalError (no such table: files) at files.py:")


def test_threads_that_stumble_do_not_say_over_what(
    tmp_path: Path, tiny_base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = connect(tmp_path)
    hooks, rollouts = Webhooks(database, ()), Rollouts(database, tmp_path)
    files, base = Files(database), find(str(tiny_base), tmp_path)
    jobs = Jobs(database, tmp_path / "jobs", base=base, files=files, webhooks=hooks)
    file = files.add(OPEN, filename="a.jsonl", purpose="fine-tune", content=PLANTED.encode())
    jobs.create(OPEN, JobBody(model=base.name, training_file=file["id"], metadata={"note": PLANTED}))
    rollouts.start(wanted_of(RolloutSettings(), "production", ("old", PLANTED)))
    without(tmp_path, "events", "deliveries", "traces")
    threads = [Foreman(jobs, tmp_path / "jobs"), Courier(hooks), Overseer(rollouts, Audit(database, tmp_path), bool)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 30
    said = ("jobs stumbled", "webhooks could not", "rollouts could not")
    while time.monotonic() < deadline and not all(each in caplog.text for each in said):
        time.sleep(0.05)
    for thread in threads:
        thread.stop()
    for each in said:
        assert each in caplog.text
    assert "no such table" in caplog.text
    assert PLANTED not in caplog.text


def test_a_request_that_the_database_fails_is_logged_without_its_words(
    shop: Shop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with application(shop, store=tmp_path) as client:
        without(tmp_path, "files")
        sent = {"file": ("a.jsonl", PLANTED.encode())}
        answer = client.post("/v1/files", files=sent, data={"purpose": "fine-tune"}, headers={"host": "localhost"})
    assert answer.status_code == 500
    name = answer.json()["error"]["message"].rpartition(" ")[2]
    assert f"{name}: POST /v1/files: OperationalError (no such table: files)" in caplog.text
    assert PLANTED not in caplog.text
