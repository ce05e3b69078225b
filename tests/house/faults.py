"""What a guard finds, and the files that guards look at."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "metier"
_NOT_OURS = {".venv", ".git", ".metier", "demo", "build", "dist", "node_modules", "shared", "__pycache__"}


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One breach of a house rule: where, and which rule."""

    where: str
    rule: str

    def __str__(self) -> str:
        return f"{self.where}: {self.rule}"


@dataclass(frozen=True, slots=True)
class Module:
    """A parsed Python file; `name` is its path below the folder that was looked at."""

    name: str
    text: str
    tree: ast.Module

    def fault(self, node: ast.AST, rule: str) -> Fault:
        return Fault(f"{self.name}:{node.lineno}", rule)  # pyrefly: ignore[missing-attribute]


def modules(folder: Path) -> Iterator[Module]:
    """Parse every Python file below `folder`."""
    for path in files(folder, ".py"):
        text = path.read_text(encoding="utf-8")
        yield Module(path.relative_to(folder).as_posix(), text, ast.parse(text, str(path)))


def files(folder: Path, suffix: str) -> list[Path]:
    """Return our own files with this suffix below `folder`, in order."""
    return sorted(
        path
        for path in folder.rglob(f"*{suffix}")
        if not _NOT_OURS.intersection(path.relative_to(folder).parts[:-1]) and path.is_file()
    )


def functions(tree: ast.AST) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield every function with its dotted name inside the file."""
    stack: list[tuple[str, ast.AST]] = [("", tree)]
    while stack:
        prefix, node = stack.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{prefix}{child.name}", child
            named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            stack.append((f"{prefix}{child.name}." if named else prefix, child))


def listed(faults: list[Fault]) -> str:
    """Write faults one a line, for a failing test to show."""
    return "\n" + "\n".join(str(fault) for fault in sorted(faults))
