"""Two projects that share one PostgreSQL database: neither sees the other's keys, files, jobs, traces or log."""

from pathlib import Path

import pytest
import sqlalchemy as sql

from metier.model.find import find
from metier.serve.audit import Audit
from metier.serve.database import connect
from metier.serve.keys import OPEN, Keys
from metier.serve.refusal import Refusal
from metier.serve.tables import TRACES
from metier.serve.tuning.files import Files, Page
from metier.serve.tuning.jobs import Jobs
from metier.serve.wire.tuning import JobBody
from tests.serve.workshop import chat_rows


def test_nothing_of_one_project_is_in_the_other(
    postgres: str, tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METIER_DATABASE", postgres)
    stores = [tmp_path / name / ".metier" for name in ("one", "two")]
    engines = [connect(store) for store in stores]
    base = find(str(tiny_base), tmp_path)
    jobs = [
        Jobs(engine, store / "jobs", base=base, files=Files(engine))
        for engine, store in zip(engines, stores, strict=True)
    ]
    key = Keys(engines[0]).make("ann", ["infer"])
    file = jobs[0].files.add(OPEN, filename="a.jsonl", purpose="fine-tune", content=chat_rows().encode())
    job = jobs[0].create(OPEN, JobBody(model=base.name, training_file=file["id"]))
    with engines[0].begin() as connection:
        connection.execute(TRACES.insert().values(id="chatcmpl-1", finish="stop"))
    Audit(engines[0], stores[0]).note("ann", "did something")

    assert Keys(engines[0]).caller(f"Bearer {key}") is not None
    assert Keys(engines[1]).caller(f"Bearer {key}") == OPEN  # the other has no keys at all
    assert [found["id"] for found in jobs[0].all(OPEN)] == [job["id"]]
    assert jobs[1].all(OPEN) == []
    assert jobs[1].in_state("queued") == []  # nor will its foreman train it
    assert jobs[1].files.listed(OPEN, Page(after=None, limit=9), None)["data"] == []
    with pytest.raises(Refusal, match="no 'file-"):
        jobs[1].files.content(OPEN, file["id"])
    with engines[1].connect() as connection:
        assert connection.execute(sql.select(sql.func.count()).select_from(TRACES)).scalar() == 0
    assert [Audit(engine, store).verify().lines for engine, store in zip(engines, stores, strict=True)] == [1, 0]
    for engine in engines:
        engine.dispose()
