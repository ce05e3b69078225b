"""How long files and functions may be, and how many parameters and settings a reader must hold in mind."""

import ast
from collections.abc import Mapping
from pathlib import Path

from tests.house.faults import Fault, Module, functions, modules

FILE_LINES = 400
FUNCTION_LINES = 60
PARAMETERS = 6


def measure(folder: Path) -> dict[str, int]:
    """Return everything below `folder` that is over a budget.

    Names: "file.py" for the lines of a file, "file.py:f" for those of a function, "file.py:f()" for its parameters.
    """
    over: dict[str, int] = {}
    for module in modules(folder):
        lines = module.text.count("\n")
        if lines > FILE_LINES:
            over[module.name] = lines
        for name, node in functions(module.tree):
            over.update(_function(module, name, node))
    return over


def _function(module: Module, name: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, int]:
    over = {}
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if lines > FUNCTION_LINES:
        over[f"{module.name}:{name}"] = lines
    arguments = node.args
    names = [entry.arg for entry in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    count = len(names) - (names[:1] in (["self"], ["cls"]))
    if count > PARAMETERS:
        over[f"{module.name}:{name}()"] = count
    return over


def check(folder: Path, exemptions: Mapping[str, int]) -> list[Fault]:
    """Compare what is over a budget with the exemptions, which may only shrink.

    An exemption holds today's exact size: growth breaks it, and so does shrinking (then lower or delete the number).
    """
    found = measure(folder)
    faults = []
    for name, size in found.items():
        if name not in exemptions:
            faults.append(Fault(name, f"{size} is over the budget ({_budget(name)})"))
        elif size > exemptions[name]:
            faults.append(Fault(name, f"grew from {exemptions[name]} to {size}; an exemption may only shrink"))
        elif size < exemptions[name]:
            faults.append(Fault(name, f"is {size} now; lower its exemption from {exemptions[name]}"))
    faults += [
        Fault(name, "is within its budget now; delete the exemption") for name in exemptions if name not in found
    ]
    return faults


def _budget(name: str) -> str:
    if name.endswith("()"):
        return f"{PARAMETERS} parameters"
    return f"{FUNCTION_LINES} lines a function" if ":" in name else f"{FILE_LINES} lines a file"
