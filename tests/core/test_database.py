"""The project's database: one code for SQLite and PostgreSQL, also when processes begin at once."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sql

from metier.core.database import explained, open_database
from metier.core.errors import BusyError, DataError, DiskFullError, MissingExtraError, RunError, SettingsError

META = sql.MetaData()
THINGS = sql.Table("things", META, sql.Column("name", sql.String(16), primary_key=True))

_BEGIN = """
import sys
from pathlib import Path
from metier.core.database import open_database
from tests.core.test_database import META, THINGS
engine = open_database(Path(sys.argv[1]), META)
for number in range(20):
    with engine.begin() as connection:
        connection.execute(THINGS.insert().values(name=f"{sys.argv[2]}-{number}"))
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store, with its database in a file or in a server."""
    monkeypatch.delenv("METIER_DATABASE", raising=False)
    if request.param == "postgresql":
        monkeypatch.setenv("METIER_DATABASE", request.getfixturevalue("postgres"))
    return tmp_path / ".metier"


def test_processes_that_begin_at_once_make_the_tables_once_and_lose_no_row(store: Path) -> None:
    engine = open_database(store, sql.MetaData())
    META.drop_all(engine)
    children = [subprocess.Popen([sys.executable, "-c", _BEGIN, str(store), f"child{n}"]) for n in range(3)]
    assert [child.wait(120) for child in children] == [0, 0, 0]
    with engine.connect() as connection:
        assert connection.execute(sql.select(sql.func.count()).select_from(THINGS)).scalar() == 60
    engine.dispose()


def test_a_file_is_written_ahead_and_synced_where_that_is_asked(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("METIER_DATABASE", raising=False)
    found = []
    for durable in (False, True):
        engine = open_database(tmp_path, META, durable=durable)
        with engine.connect() as connection:
            asked = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
        found.append(asked)
        engine.dispose()
    assert found == [["wal", 1], ["wal", 2]]
    assert (tmp_path / "metier.db").is_file()


def test_a_server_that_does_not_answer_is_named_without_its_password(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("METIER_DATABASE", "postgresql://me:geheim@127.0.0.1:1/x")
    with pytest.raises(RunError, match=r"127\.0\.0\.1:1/x") as caught:
        open_database(tmp_path, META)
    assert "geheim" not in str(caught.value)


def filled(folder: Path) -> Path:
    """Make a database of a hundred pages, and leave none of it in a write-ahead log."""
    engine = open_database(folder, META)
    with engine.begin() as connection:
        connection.execute(THINGS.insert(), [{"name": f"{number:016d}"} for number in range(10_000)])
    engine.dispose()
    return folder / "metier.db"


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    hole = b"\xa5" * 4096
    path.write_bytes({
        "garbage": b"no database at all, and longer than a header of one hundred bytes is. " * 100,
        "cut": content[:5000],
        "cut half": content[: len(content) // 2],
        "header": content[:40] + b"\xff" * 60 + content[100:],
        "hole": content[:8192] + hole * ((len(content) - 16384) // 4096) + content[-8192:],
    }[how])  # fmt: skip


def read(folder: Path) -> list[str]:
    engine = open_database(folder, META)
    with explained(engine), engine.connect() as connection:
        return list(connection.execute(sql.select(THINGS.c.name).order_by(THINGS.c.name)).scalars())


@pytest.mark.parametrize("how", ["garbage", "cut", "header", "hole"])
def test_a_damaged_file_is_told_as_damaged_and_nothing_is_advised_that_loses_more(
    how: str, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.delenv("METIER_DATABASE", raising=False)
    path = filled(tmp_path)
    damage(path, how)
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"metier.db: damaged \(") as caught:
        read(tmp_path)
    assert "put it back from a copy" in caught.value.do
    assert "keep them" in caught.value.do
    assert "delete" not in str(caught.value)
    assert "start it" not in str(caught.value)
    assert caught.value.exit_code == 2
    assert path.read_bytes() == before


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="no sqlite3 on this machine")
def test_what_is_advised_saves_what_can_be_read(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("METIER_DATABASE", raising=False)
    path = filled(tmp_path)
    damage(path, "cut half")
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    path.rename(tmp_path / "moved.db")
    for beside in tmp_path.glob("metier.db-*"):
        beside.unlink()
    command = caught.value.do.partition("`")[2].partition("`")[0].replace("MOVED", "moved.db")
    subprocess.run(command, shell=True, cwd=tmp_path, check=False)
    engine = open_database(tmp_path, META)
    with engine.connect() as connection:
        assert connection.execute(sql.select(sql.func.count()).select_from(THINGS)).scalar() > 1000
    engine.dispose()


def test_a_disk_that_is_full_is_told_of_a_database_too(small_disk: Path, monkeypatch) -> None:
    monkeypatch.delenv("METIER_DATABASE", raising=False)
    engine = open_database(small_disk, META)
    with (
        pytest.raises(DiskFullError, match=r"metier.db: no space left"),
        explained(engine),
        engine.begin() as connection,
    ):
        connection.execute(THINGS.insert(), [{"name": f"{number:016d}"} for number in range(20_000)])
    with explained(engine), engine.begin() as connection:
        assert connection.execute(sql.select(sql.func.count()).select_from(THINGS)).scalar() == 0
    engine.dispose()


def test_a_file_that_cannot_be_opened_and_a_statement_that_is_wrong(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("METIER_DATABASE", raising=False)
    (tmp_path / "metier.db").mkdir()
    with pytest.raises(RunError, match=r"metier.db: cannot be read or written \(unable to open"):
        open_database(tmp_path, META)
    engine = open_database(tmp_path / "other", META)
    with pytest.raises(sql.exc.OperationalError), explained(engine), engine.connect() as connection:
        connection.exec_driver_sql("SELECT nothing FROM nowhere")  # the planted fault: that is a bug of ours
    engine.dispose()


def test_another_that_writes_all_the_time_is_told(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("METIER_DATABASE", raising=False)
    monkeypatch.setattr("metier.core.database._PATIENCE_MS", 50)
    engine = open_database(tmp_path, META)
    with closing(sqlite3.connect(tmp_path / "metier.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(BusyError, match="another process"), explained(engine), engine.begin() as connection:
            connection.execute(THINGS.insert().values(name="mine"))
        other.rollback()
    with explained(engine), engine.begin() as connection:
        connection.execute(THINGS.insert().values(name="mine"))
    engine.dispose()


@pytest.mark.parametrize("address", ["nonsense", "nosuch://host/x", "postgresql+nodriver://host/x"])
def test_an_address_of_nothing_is_refused(address: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("METIER_DATABASE", address)
    with pytest.raises(SettingsError, match="METIER_DATABASE"):
        open_database(tmp_path, META)


def test_a_missing_driver_is_named(tmp_path: Path, monkeypatch) -> None:
    from metier.core import extras

    monkeypatch.setitem(extras.EXTRAS, "postgres", ("not_a_module_of_anybody",))
    monkeypatch.setenv("METIER_DATABASE", "postgresql://host/x")
    with pytest.raises(MissingExtraError, match=r"metier\[postgres\]"):
        open_database(tmp_path, META)


@pytest.fixture(params=["sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a database that several projects share."""
    is_server = request.param == "postgresql"
    address = request.getfixturevalue("postgres") if is_server else f"sqlite:///{tmp_path}/all.db"
    monkeypatch.setenv("METIER_DATABASE", address)
    return address


def names(folder: Path, *new: str) -> list[str]:
    """Write names into a project's table and return all that are in it."""
    engine = open_database(folder, META)
    with engine.begin() as connection:
        for name in new:
            connection.execute(THINGS.insert().values(name=name))
        found = list(connection.execute(sql.select(THINGS.c.name).order_by(THINGS.c.name)).scalars())
        assert list(connection.exec_driver_sql("SELECT name FROM things ORDER BY name").scalars()) == found
    engine.dispose()
    return found


def test_projects_that_share_a_database_see_nothing_of_each_other(shared: str, tmp_path: Path) -> None:
    assert names(tmp_path / "one", "a") == ["a"]
    assert names(tmp_path / "two", "a", "b") == ["a", "b"]  # not even their ids are in each other's way
    assert names(tmp_path / "one") == ["a"]


def test_machines_of_one_project_share_a_schema_by_its_name(
    shared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = "&" if "?" in shared else "?"
    monkeypatch.setenv("METIER_DATABASE", f"{shared}{mark}schema=support_{tmp_path.name[-8:].replace('-', '_')}")
    assert names(tmp_path / "one", "a") == ["a"]
    assert names(tmp_path / "two", "b") == ["a", "b"]
    monkeypatch.setenv("METIER_DATABASE", f'{shared}{mark}schema=a";drop')
    with pytest.raises(SettingsError, match="schema"):
        open_database(tmp_path, META)
