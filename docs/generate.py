"""Write the pages of docs/ that the program itself knows best: commands, settings, errors, the map of the rooms.

python docs/generate.py            write them
python docs/generate.py --check    exit 1 and name the pages that are not current
"""

import ast
import inspect
import re
import sys
import tomllib
import types
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.main import get_command

from metier.cli.app import app
from metier.core.errors import MetierError
from metier.core.settings import Settings
from metier.project import Project

ROOT = Path(__file__).resolve().parents[1]
NOTE = "<!-- Written by docs/generate.py (`make docs`); do not edit. -->\n"


def pages() -> dict[str, str]:
    """Return the generated pages by file name."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return {
        "cli.md": commands_page(get_command(app)),
        "settings.md": settings_page(Project),
        "errors.md": errors_page(MetierError),
        "map.md": map_page(ROOT / "src" / "metier", layers(contract)),
    }


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` compare them; return the exit code."""
    stale = []
    for name, text in pages().items():
        path = ROOT / "docs" / name
        current = path.read_text(encoding="utf-8") if path.exists() else ""
        if text != current:
            stale.append(name)
            if "--check" not in arguments:
                path.write_text(text, encoding="utf-8")
    if "--check" in arguments and stale:
        print(f"not current: {', '.join(stale)}; do: make docs")
        return 1
    return 0


# --- commands -------------------------------------------------------------------------------------------------------


def commands_page(group: Any) -> str:
    """Describe every command of a Typer application."""
    parts = [NOTE, "# Commands\n", f"{_plain(group.help)}\n", _parameters("metier", group)]
    for name, command in group.commands.items():
        if not command.hidden:
            parts += [f"## metier {name}\n", f"{_plain(command.help)}\n", _parameters(f"metier {name}", command)]
    return "\n".join(part for part in parts if part)


def _parameters(name: str, command: Any) -> str:
    rows = []
    usage = [name]
    for parameter in command.params:
        if parameter.hidden:
            continue
        if parameter.param_type_name == "argument":
            shown = parameter.metavar or parameter.name.upper()
            usage.append(shown if parameter.required else f"[{shown}]")
        else:
            shown = ", ".join([*parameter.opts, *parameter.secondary_opts])
            shown = f"{shown} {parameter.metavar}" if parameter.metavar else shown
        rows.append(f"| `{shown}` | {_cell(parameter.help or '')} | {_default(parameter.default)} |")
    usage += ["[OPTIONS]"] if any(row.startswith("| `-") for row in rows) else []
    table = "\n".join(["| option | what it does | default |", "|---|---|---|", *rows]) + "\n" if rows else ""
    return f"```\n{' '.join(usage)}\n```\n\n{table}"


def _default(value: Any) -> str:
    return "" if value in (None, False, "", ()) else f"`{value}`"


# --- settings -------------------------------------------------------------------------------------------------------


def settings_page(root: type[Settings]) -> str:
    """Describe every setting of `root` and of the sections inside it."""
    intro = (
        "What may stand in `metier.yaml`. A setting left out has its default; `null` means that the program derives it"
        " and prints its choice with the reason. On a command line the same names are written"
        " `--train.learning-rate 2e-4`.\n"
    )
    parts = [NOTE, "# Settings\n", intro]
    for path, kind in sections(root):
        parts += [f"## {path or 'metier.yaml'}\n", f"{_plain(kind.__doc__)}\n", _fields(kind)]
    return "\n".join(parts)


def sections(kind: type[Settings], path: str = "") -> Iterator[tuple[str, type[Settings]]]:
    """Yield (dotted path, settings class) for a class and everything nested in it, in the order of the fields."""
    yield path, kind
    for name, field in kind.model_fields.items():
        for inner in _settings_in(field.annotation):
            yield from sections(inner, f"{path}.{name}" if path else name)


def _settings_in(annotation: Any) -> list[type[Settings]]:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [annotation]
    return [found for part in get_args(annotation) for found in _settings_in(part)]


def _fields(kind: type[Settings]) -> str:
    rows = ["| setting | kind | default | what it does |", "|---|---|---|---|"]
    for name, field in kind.model_fields.items():
        cells = (f"`{name}`", _kind(field), _field_default(field), _cell(field.description or ""))
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _kind(field: FieldInfo) -> str:
    limits = [limit for entry in field.metadata for limit in _limits(entry)]
    return ", ".join([type_text(field.annotation), *limits])


def _limits(entry: Any) -> list[str]:
    match entry:
        case Ge(ge=bound):
            return [f"≥ {bound}"]
        case Gt(gt=bound):
            return [f"> {bound}"]
        case Le(le=bound):
            return [f"≤ {bound}"]
        case Lt(lt=bound):
            return [f"< {bound:,}"]
    return []


def type_text(annotation: Any) -> str:
    """Write a type as a reader of YAML would say it."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return "section"
    if (origin := get_origin(annotation)) is not None:
        return _composed(origin, get_args(annotation))
    names = {
        type(None): "null",
        str: "text",
        int: "whole number",
        float: "number",
        bool: "yes/no",
        date: "date",
        Any: "anything",
    }
    return names.get(annotation, str(annotation))


def _composed(origin: Any, parts: tuple[Any, ...]) -> str:
    if origin is Annotated:
        return type_text(parts[0])
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin in (Union, types.UnionType):
        return " or ".join(type_text(part) for part in parts)
    inner = dict.fromkeys(type_text(part) for part in parts if part is not Ellipsis)
    return f"{'list' if origin in (tuple, list) else 'map'} of {' to '.join(inner)}"


def _field_default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Settings):
        return "as below"
    if value is None or value is PydanticUndefined:
        return "`null`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{list(value) if isinstance(value, tuple) else value}`"


# --- errors ---------------------------------------------------------------------------------------------------------


def errors_page(root: type[MetierError]) -> str:
    """Describe the tree of errors with its exit codes."""
    intro = (
        "Every error says what was found, what was wanted and what to do; with `--json` these are the fields of one"
        " object.\nExit codes: 0 done · 1 the answer is no · 2 the input · 3 a fault of ours or of the machine · 75"
        " stopped on request, run the same command again.\n"
    )
    rows = ["| error | is a | exit code | meaning |", "|---|---|---|---|"]
    for kind in errors(root):
        parent = kind.__bases__[0].__name__
        meaning = _cell(inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0])
        rows.append(f"| `{kind.__name__}` | `{parent}` | {kind.exit_code} | {meaning} |")
    return "\n".join([NOTE, "# Errors\n", intro, *rows]) + "\n"


def errors(root: type[MetierError]) -> Iterator[type[MetierError]]:
    """Yield an error class and all of ours that derive from it, parents first."""
    yield root
    for kind in root.__subclasses__():
        if kind.__module__ == root.__module__:
            yield from errors(kind)


# --- the map --------------------------------------------------------------------------------------------------------


def layers(configuration: dict[str, Any]) -> list[list[str]]:
    """Read the rooms, top first, from the import contract in pyproject.toml."""
    contracts = configuration["tool"]["importlinter"]["contracts"]
    contract = next(entry for entry in contracts if entry["type"] == "layers")
    return [[room.strip() for room in re.split(r"[|:]", layer)] for layer in contract["layers"]]


def map_page(package: Path, rooms: list[list[str]]) -> str:
    """Draw the rooms in their order, and say what each file is for."""
    intro = (
        "A room may import what stands below it, never what stands above or beside it; the import contract in"
        " [pyproject.toml](../pyproject.toml) enforces it. How a row travels through them: [journey.md](journey.md).\n"
    )
    drawing = "\n   ↓\n".join("  |  ".join(layer) for layer in rooms)
    parts = [NOTE, "# Map\n", intro, f"```\n{drawing}\n```\n"]
    for room in [room for layer in rooms for room in layer]:
        parts.append(_room(package, room))
    return "\n".join(parts)


def _room(package: Path, room: str) -> str:
    folder = package / room
    single = package / f"{room}.py"
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [single]
    main_file = folder / "__init__.py" if folder.is_dir() else single
    rows = [
        f"- [`{path.relative_to(package)}`](../src/metier/{path.relative_to(package)}): {_first_sentence(path)}"
        for path in files
        if path.name != "__init__.py" and folder.is_dir()
    ]
    return f"## {room}\n\n{_first_sentence(main_file)}\n\n" + ("\n".join(rows) + "\n" if rows else "")


def _first_sentence(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return _cell(text.split("\n\n")[0])


def _cell(text: str) -> str:
    return " ".join(_plain(text).split()).replace("|", "\\|")


def _plain(text: str | None) -> str:
    """Return a docstring without indentation, Rich markup and the marks that forbid rewrapping."""
    plain = inspect.cleandoc(text or "").replace("\b", "")
    return re.sub(r"\[/?(?:bold|dim|italic|cyan|green|red|yellow)[^\]]*\]", "", plain)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
