"""The project's database: one code for SQLite and PostgreSQL, also when processes begin at once."""

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sql

from metier.core.database import open_database
from metier.core.errors import MissingExtraError, RunError, SettingsError

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
