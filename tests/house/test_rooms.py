"""The rooms keep their order, and the light ones start without torch."""

import shutil
from pathlib import Path

import pytest

from tests.house import rooms
from tests.house.faults import ROOT, listed

CONFIGURATION = ROOT / "pyproject.toml"


def test_imports_follow_the_contract() -> None:
    faults = rooms.contract(ROOT / "src", CONFIGURATION)
    assert not faults, listed(faults)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """An empty house with every room, to plant faults in."""
    for room in [*rooms.layers(), "bundled"]:
        folder = tmp_path / "metier" / room
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("")
    (tmp_path / "metier" / "__init__.py").write_text("")
    shutil.copyfile(CONFIGURATION, tmp_path / "pyproject.toml")
    return tmp_path


def _plant(house: Path, name: str, text: str) -> None:
    path = house / "metier" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_an_empty_house_is_in_order(house: Path) -> None:
    faults = rooms.contract(house, house / "pyproject.toml")
    assert not faults, listed(faults)


@pytest.mark.parametrize(
    ("file", "text", "named"),
    [
        ("prepare/read.py", "from metier.train import loop\n", "metier.prepare.read -> metier.train.loop"),
        ("core/types.py", "import metier.text\n", "metier.core.types -> metier.text"),
        ("train/run.py", "from metier import evaluate\n", "metier.train.run -> metier.evaluate"),
        ("text/render.py", "import torch\n", "metier.text.render -> torch"),
    ],
)
def test_an_import_against_the_order_is_found_and_named(house: Path, file: str, text: str, named: str) -> None:
    _plant(house, "train/loop.py", "")
    _plant(house, file, text)
    faults = rooms.contract(house, house / "pyproject.toml")
    assert len(faults) == 1
    assert named in faults[0].rule


def test_light_rooms_import_no_torch() -> None:
    faults = rooms.torch_loaded(ROOT / "src", rooms.LIGHT_ROOMS, rooms.LIGHT_FILES)
    assert not faults, listed(faults)


def test_a_light_room_that_loads_torch_through_another_is_found(house: Path) -> None:
    _plant(house, "model/find.py", "")
    _plant(house, "model/load.py", "import peft\n")
    _plant(house, "flow/__init__.py", "")
    _plant(house, "score/exact.py", "from metier.model import load\n")
    (house / "peft.py").write_text("")
    faults = rooms.torch_loaded(house, ("core", "text", "score"), ["model/find.py"])
    assert [str(fault) for fault in faults] == ["metier.score.exact: imports peft"]


def test_a_module_that_cannot_be_imported_is_no_pass(house: Path) -> None:
    _plant(house, "core/types.py", "import nothing_of_this_name\n")
    assert "nothing_of_this_name" in rooms.torch_loaded(house, ["core"])[0].rule
