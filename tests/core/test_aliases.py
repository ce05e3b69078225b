"""Aliases: what they mean and have meant, in a file and in PostgreSQL, also when processes move them at once."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from metier.core.aliases import Aliases
from metier.core.errors import InputError


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("METIER_DATABASE", raising=False)
    if request.param == "postgresql":
        monkeypatch.setenv("METIER_DATABASE", request.getfixturevalue("postgres"))
    return tmp_path / ".metier"


@pytest.fixture
def aliases(store: Path) -> Iterator[Aliases]:
    with Aliases(store) as opened:
        with opened._engine.begin() as connection:
            connection.execute(opened._moves.delete())
        yield opened


def back(aliases: Aliases) -> int:
    return aliases.back("support", "production", allowed=lambda number: None).number


def test_rolling_back_goes_back_one_promotion_at_a_time(aliases: Aliases) -> None:
    for number in (1, 2, 3):
        aliases.point("support", "production", number)
    assert [back(aliases), back(aliases)] == [2, 1]
    with pytest.raises(InputError, match="nothing before support@1"):
        back(aliases)
    aliases.point("support", "production", 4, reason="a better one")
    assert back(aliases) == 1
    told = [(move.kind, move.number) for move in aliases.history("support")]
    assert told == [
        ("promoted", 1), ("promoted", 2), ("promoted", 3), ("rolled back", 2), ("rolled back", 1), ("promoted", 4),
        ("rolled back", 1),
    ]  # fmt: skip
    assert aliases.history("support")[5].reason == "a better one"


def test_to_point_where_it_points_writes_nothing(aliases: Aliases) -> None:
    assert aliases.point("support", "production", 1) == aliases.point("support", "production", 1)
    assert len(aliases.history("support")) == 1
    aliases.point("support", "candidate", 1)
    aliases.point("other", "production", 9)
    assert {key: move.number for key, move in aliases.all().items()} == {
        ("support", "production"): 1, ("support", "candidate"): 1, ("other", "production"): 9,
    }  # fmt: skip


def test_what_is_not_allowed_moves_nothing(aliases: Aliases) -> None:
    aliases.point("support", "production", 1)
    aliases.point("support", "production", 2)

    def never(number: int) -> None:
        raise InputError(f"{number} is broken")

    with pytest.raises(InputError, match="1 is broken"):
        aliases.back("support", "production", allowed=never)
    with pytest.raises(InputError, match="no such alias"):
        aliases.back("support", "candidate", allowed=never)
    current = aliases.current("support", "production")
    assert current is not None
    assert current.number == 2


_MOVE = """
import sys
from pathlib import Path
from metier.core.aliases import Aliases
with Aliases(Path(sys.argv[1])) as aliases:
    for number in range(15):
        aliases.point("support", "production", int(sys.argv[2]) + number)
"""


def test_moves_at_once_make_one_line(aliases: Aliases, store: Path) -> None:
    command = [sys.executable, "-c", _MOVE, str(store)]
    children = [subprocess.Popen([*command, str(1000 * n)]) for n in (1, 2)]
    assert [child.wait(240) for child in children] == [0, 0]
    moves = sorted(aliases.history("support"), key=lambda move: move.step)
    assert [move.step for move in moves] == list(range(1, 31))
    assert [move.below for move in moves] == [None, *range(1, 30)]
    assert sorted(move.number for move in moves) == [*range(1000, 1015), *range(2000, 2015)]
