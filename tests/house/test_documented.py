"""What a user can meet is explained, the pages are current, the links lead somewhere; each guard catches a fault."""

import types
from pathlib import Path
from typing import Literal

import pytest
import typer
from typer.main import get_command

from metier.cli.app import app
from metier.core.errors import InputError, MetierError
from metier.core.settings import Settings
from metier.project import Project
from tests.house import documented
from tests.house.faults import ROOT, SOURCE, listed

UNTESTED: set[str] = set()
"""Settings that no test names yet; may only shrink."""


@pytest.fixture(scope="module")
def generate() -> types.ModuleType:
    return documented.generator()


def test_every_setting_is_documented(generate: types.ModuleType) -> None:
    faults = documented.settings(generate.sections(Project))
    assert not faults, listed(faults)


def test_every_setting_is_named_by_a_test(generate: types.ModuleType) -> None:
    faults = documented.untested(generate.sections(Project), ROOT / "tests")
    assert {fault.where for fault in faults} == UNTESTED, listed(faults)


def test_every_error_is_documented(generate: types.ModuleType) -> None:
    faults = documented.errors(SOURCE / "core" / "errors.py", generate.errors(MetierError))
    assert not faults, listed(faults)


def test_every_command_is_documented() -> None:
    faults = documented.commands(get_command(app))
    assert not faults, listed(faults)


def test_every_file_says_what_it_is_for() -> None:
    faults = documented.docstrings(SOURCE)
    assert not faults, listed(faults)


def test_generated_pages_are_current(generate: types.ModuleType) -> None:
    for name, text in generate.pages().items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text, f"docs/{name} is not current; do: make docs"


def test_every_relative_link_resolves() -> None:
    faults = documented.links(ROOT)
    assert not faults, listed(faults)


def test_the_version_is_the_top_of_the_changelog() -> None:
    faults = documented.version(SOURCE / "core" / "__about__.py", ROOT / "CHANGELOG.md")
    assert not faults, listed(faults)


def test_every_folder_of_tests_is_a_package() -> None:
    faults = documented.packages(ROOT / "tests")
    assert not faults, listed(faults)


# --- planted faults -------------------------------------------------------------------------------------------------


class _Careless(Settings):
    """Settings with faults."""

    silent: int = 0

    vague: int | None = None
    """How many of the things there are."""

    fine: Literal["a", "b"] | None = None
    """Which of the two; null: neither of them."""


_Crowded = type(
    "_Crowded",
    (Settings,),
    {"__annotations__": {f"field_{number}": int for number in range(16)}, "__doc__": "Too many."},
)


def test_a_setting_without_docstring_or_meaning_of_null_is_found() -> None:
    found = {fault.where: fault.rule for fault in documented.settings([("part", _Careless)])}
    assert found.keys() == {"part.silent", "part.vague"}
    assert "no docstring" in found["part.silent"]
    assert "null" in found["part.vague"]


def test_a_class_with_sixteen_settings_is_found() -> None:
    assert "16 settings" in documented.settings([("part", _Crowded)])[0].rule


def test_a_setting_that_no_test_names_is_found(tmp_path: Path) -> None:
    (tmp_path / "house").mkdir()
    (tmp_path / "house" / "test_x.py").write_text("silent")
    (tmp_path / "test_y.py").write_text("run('--part.vague'); fine = 1")
    faults = documented.untested([("part", _Careless)], tmp_path)
    assert [fault.where for fault in faults] == ["part.silent"]


def test_an_undocumented_error_is_found(tmp_path: Path) -> None:
    (tmp_path / "errors.py").write_text('"""MetierError and InputError."""\n')
    stray = types.new_class("StrayError", (InputError,))
    faults = documented.errors(tmp_path / "errors.py", [MetierError, InputError, stray])
    assert [fault.where for fault in faults] == ["StrayError", "StrayError"]
    del stray


def test_an_undocumented_command_and_option_are_found() -> None:
    planted = typer.Typer()

    @planted.command()
    def silent(name: str) -> None:
        pass

    @planted.command()
    def told() -> None:
        """Do this and that."""

    found = {fault.where for fault in documented.commands(get_command(planted))}
    assert found == {"silent", "silent name"}


def test_a_file_without_docstring_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    assert [fault.where for fault in documented.docstrings(tmp_path)] == ["a.py"]


def test_a_folder_of_tests_that_is_no_package_is_found(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").touch()
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "test_report.py").touch()
    assert [fault.where for fault in documented.packages(tmp_path)] == ["train"]


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "good.md").write_text("# A heading, `code` too\n\n[self](#a-heading-code-too)\n")
    (tmp_path / "page.md").write_text(
        "[good](good.md) [anchor](good.md#a-heading-code-too) [web](https://example.org/x) `[code](gone.md)`\n\n"
        "```\n[code](gone.md)\n```\n\n"
        "[gone](gone.md) [no heading](good.md#b) ![picture](gone.png) <img src='gone.svg'>\n\n"
        "[outside](../../../../../../etc/hostname)\n\n[reference][r]\n\n[r]: gone-too.md\n"
    )
    found = sorted(fault.rule.split()[2].rstrip(",:") for fault in documented.links(tmp_path))
    assert found == [
        "../../../../../../etc/hostname", "gone-too.md", "gone.md", "gone.png", "gone.svg", "good.md#b",
    ]  # fmt: skip


def test_a_version_without_its_entry_is_found(tmp_path: Path) -> None:
    (tmp_path / "about.py").write_text('__version__ = "0.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 0.1.0 (today)\n")
    assert (
        "top entry is 0.1.0, the package is 0.2.0"
        in documented.version(tmp_path / "about.py", tmp_path / "CHANGELOG.md")[0].rule
    )
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 0.2.0\n")
    assert not documented.version(tmp_path / "about.py", tmp_path / "CHANGELOG.md")


def test_a_stale_page_is_found_and_rewritten(
    tmp_path: Path, generate: types.ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "pages", lambda: {"cli.md": "new\n", "map.md": "same\n"})
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "cli.md").write_text("old\n")
    (tmp_path / "docs" / "map.md").write_text("same\n")
    assert generate.main(["--check"]) == 1
    assert "not current: cli.md; do: make docs" in capsys.readouterr().out
    assert (tmp_path / "docs" / "cli.md").read_text() == "old\n"
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
