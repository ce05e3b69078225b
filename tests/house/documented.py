"""Everything a user can meet is explained: settings, commands, errors, and the links between pages."""

import ast
import importlib.util
import itertools
import re
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from markdown_it import MarkdownIt

from metier.core.errors import MetierError
from metier.core.settings import Settings
from tests.house.faults import ROOT, Fault, files

MOST_FIELDS = 15
_FEWEST_WORDS = 3


def generator(path: Path = ROOT / "docs" / "generate.py") -> types.ModuleType:
    """Load docs/generate.py, which is a script beside the pages it writes and not part of the package."""
    spec = importlib.util.spec_from_file_location("docs_generate", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def settings(sections: Iterable[tuple[str, type[Settings]]]) -> list[Fault]:
    """Check that every field says what it does and what null means, and that no class has too many."""
    faults = []
    for path, kind in sections:
        where = path or kind.__name__
        if len(kind.model_fields) > MOST_FIELDS:
            faults.append(Fault(where, f"{len(kind.model_fields)} settings in one class; at most {MOST_FIELDS}"))
        for name, field in kind.model_fields.items():
            text = field.description or ""
            if len(text.split()) < _FEWEST_WORDS:
                faults.append(Fault(f"{where}.{name}", "the setting has no docstring"))
            elif type(None) in _members(field.annotation) and "null" not in text:
                faults.append(Fault(f"{where}.{name}", "its docstring does not say what null means"))
    return faults


def _members(annotation: Any) -> set[Any]:
    return {annotation, *(inner for part in _arguments(annotation) for inner in _members(part))}


def _arguments(annotation: Any) -> tuple[Any, ...]:
    return annotation.__args__ if isinstance(annotation, types.UnionType) or "__args__" in dir(annotation) else ()


def untested(sections: Iterable[tuple[str, type[Settings]]], tests: Path) -> list[Fault]:
    """Check that every setting is named by a test outside the house: one that shows that it changes something."""
    words: set[str] = set()
    for path in files(tests, ".py"):
        if "house" not in path.relative_to(tests).parts:
            words.update(re.findall(r"[a-z][a-z0-9_]*", path.read_text(encoding="utf-8").replace("-", "_")))
    return [
        Fault(f"{path}.{name}" if path else name, "no test names this setting")
        for path, kind in sections
        for name in kind.model_fields
        if name not in words
    ]


def errors(module: Path, classes: Iterable[type[MetierError]]) -> list[Fault]:
    """Check that every error class has a docstring and stands in the tree drawn at the top of its file."""
    tree = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    faults = []
    for kind in classes:
        if not re.search(rf"\b{kind.__name__}\b", tree):
            faults.append(Fault(kind.__name__, f"not in the tree at the top of {module.name}"))
        if not (kind.__dict__.get("__doc__") or "").strip():
            faults.append(Fault(kind.__name__, "the error has no docstring"))
    return faults


def commands(group: Any) -> list[Fault]:
    """Check that every command and every option of it says what it does."""
    faults = []
    for name, command in group.commands.items():
        if len((command.help or "").split()) < _FEWEST_WORDS:
            faults.append(Fault(name, "the command has no help"))
        for parameter in command.params:
            if not parameter.hidden and not parameter.help:
                faults.append(Fault(f"{name} {parameter.name}", "the option has no help"))
    return faults


def docstrings(folder: Path) -> list[Fault]:
    """Check that every file says in its first line what it is for."""
    return [
        Fault(path.relative_to(folder).as_posix(), "no docstring at the top of the file")
        for path in files(folder, ".py")
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]


def links(folder: Path) -> list[Fault]:
    """Check that every relative link of every Markdown page below `folder` leads to a file and, if named, a heading."""
    faults = []
    for page in files(folder, ".md"):
        text = page.read_text(encoding="utf-8")
        for target in _targets(text):
            if re.match(r"[a-z][a-z0-9+.-]*:|//", target):
                continue
            path, _, anchor = unquote(target).partition("#")
            goal = (page.parent / path).resolve() if path else page
            where = page.relative_to(folder).as_posix()
            if not goal.exists():
                faults.append(Fault(where, f"link to {target}, which does not exist"))
            elif not goal.is_relative_to(folder.resolve()):
                faults.append(Fault(where, f"link to {target}, outside the repository"))
            elif anchor and goal.suffix == ".md" and anchor not in _anchors(goal.read_text(encoding="utf-8")):
                faults.append(Fault(where, f"link to {target}: no such heading"))
    return faults


def _targets(text: str) -> Iterator[str]:
    for token in _tokens(text):
        for name in ("href", "src"):
            if target := token.attrs.get(name):
                yield str(target)
        if token.type in {"html_inline", "html_block"}:
            yield from re.findall(r"(?:href|src)=[\"']([^\"']+)", token.content)


def _tokens(text: str) -> Iterator[Any]:
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        yield token
        yield from token.children or ()


def _anchors(text: str) -> set[str]:
    """Headings as GitHub names them in links."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    headings = [after.content for token, after in itertools.pairwise(tokens) if token.type == "heading_open"]
    plain = [re.sub(r"[`*_]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}


def version(about: Path, changelog: Path) -> list[Fault]:
    """Check that the version of the package is the top entry of the changelog."""
    found = re.search(r'__version__ = "([^"]+)"', about.read_text(encoding="utf-8"))
    top = re.search(r"^## \[?([^\s\]]+)", changelog.read_text(encoding="utf-8"), re.MULTILINE)
    ours, theirs = (match.group(1) if match else "none" for match in (found, top))
    return [] if ours == theirs != "none" else [Fault(changelog.name, f"top entry is {theirs}, the package is {ours}")]


def packages(tests: Path) -> list[Fault]:
    """Check that every folder with tests is a package: else two test files of one name cannot be collected together."""
    folders = sorted({path.parent for path in files(tests, ".py")})
    return [
        Fault(folder.relative_to(tests).as_posix(), "no __init__.py")
        for folder in folders
        if not (folder / "__init__.py").is_file()
    ]
