"""Rules that one walk over the syntax tree can check."""

import ast
from collections.abc import Collection, Iterator
from pathlib import Path

from tests.house.faults import Fault, Module, functions, modules

PACKAGE = "metier"
LAZY = ("cli/", "flow/")
"""Only these import rooms inside functions: so the command line starts without torch."""

PICKLERS = {"pickle", "_pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}
PICKLING_CALLS = {"torch.save", "torch.load", "numpy.save", "np.save", "pandas.read_pickle", "pd.read_pickle"}
BROAD = {"Exception", "BaseException"}
MUTATORS = {
    "append", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "clear", "remove", "discard", "sort",
}  # fmt: skip
VAGUE = {"utils", "util", "helpers", "helper", "manager", "common", "misc", "base", "handlers", "tools"}


def check(folder: Path, allowed: Collection[str] = ()) -> list[Fault]:
    """Return every breach below `folder`; `allowed` names breaches that stay, as "file.py:function: rule"."""
    faults = []
    unused = set(allowed)
    for module in modules(folder):
        for function, fault in _breaches(module):
            name = f"{module.name}:{function}: {fault.rule}"
            unused.discard(name)
            if name not in allowed:
                faults.append(Fault(f"{fault.where} ({function})" if function else fault.where, fault.rule))
    faults += [Fault(name, "is not needed any more; delete it from the allowed list") for name in unused]
    return faults


def _breaches(module: Module) -> Iterator[tuple[str, Fault]]:
    """Yield (the function it stands in, the breach)."""
    owners = _owners(module.tree)
    for node in ast.walk(module.tree):
        for rule in (*_imports(module, node, owners.get(node, "")), *_handlers(node), *_calls(node)):
            yield owners.get(node, ""), module.fault(node, rule)
    yield from _state(module, owners)
    stem = Path(module.name).stem
    if stem in VAGUE:
        yield "", Fault(module.name, f"a file named '{stem}' says nothing about what is in it")


def _owners(tree: ast.Module) -> dict[ast.AST, str]:
    """Map every node inside a function to the dotted name of the innermost function."""
    owners: dict[ast.AST, str] = {}
    for name, function in sorted(functions(tree), key=lambda pair: pair[0].count(".")):
        for node in ast.walk(function):
            if node is not function:
                owners[node] = name
    return owners


def _imports(module: Module, node: ast.AST, owner: str) -> Iterator[str]:
    if not isinstance(node, ast.Import | ast.ImportFrom):
        return
    found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    roots = {name.partition(".")[0] for name in found}
    if roots & PICKLERS:
        yield "no pickle: safetensors and JSON are what is read and written"
    relative = isinstance(node, ast.ImportFrom) and node.level > 0
    if owner and (PACKAGE in roots or relative) and not module.name.startswith(LAZY):
        yield "no first-party import inside a function (only cli/ and flow/ are lazy)"
    if relative:
        yield "no relative import: the full name says which room"
    names = {alias.name for alias in node.names}
    if "__future__" in roots and "annotations" in names:
        yield "no 'from __future__ import annotations': it hides import cycles"
    if "typing" in roots and "TYPE_CHECKING" in names:
        yield "no TYPE_CHECKING import: it hides import cycles"


def _handlers(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.ExceptHandler):
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        if any(entry is None or (isinstance(entry, ast.Name) and entry.id in BROAD) for entry in caught):
            yield "no broad except: name what can go wrong"
    suppressing = isinstance(node, ast.Call) and _dotted(node.func).rpartition(".")[2] == "suppress"
    if suppressing and any(isinstance(entry, ast.Name) and entry.id in BROAD for entry in node.args):
        yield "no broad except: name what can go wrong"


def _calls(node: ast.AST) -> Iterator[str]:
    if not isinstance(node, ast.Call):
        return
    name = _dotted(node.func)
    if name in PICKLING_CALLS or any(word.arg == "allow_pickle" and _true(word.value) for word in node.keywords):
        yield "no pickle: safetensors and JSON are what is read and written"
    literal = len(node.args) > 1 and isinstance(node.args[1], ast.Constant) and isinstance(node.args[1].value, str)
    if name in {"getattr", "hasattr", "setattr", "delattr"} and literal:
        yield f"no {name} with a literal name: say what the object is"


def _true(node: ast.AST) -> bool:
    return not (isinstance(node, ast.Constant) and node.value is False)


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _state(module: Module, owners: dict[ast.AST, str]) -> Iterator[tuple[str, Fault]]:
    """Yield writes to module-level names from inside functions."""
    rule = "no module state: a function writes a module-level name"
    shared = {name for node in module.tree.body for name in _bound(node)}
    for name, function in functions(module.tree):
        local = _locals(function)
        for node in ast.walk(function):
            if owners.get(node) != name:
                continue
            if isinstance(node, ast.Global) or ((written := _written(node)) and written in shared - local):
                yield name, module.fault(node, rule)


def _bound(node: ast.AST) -> set[str]:
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    return {entry.id for target in targets for entry in ast.walk(target) if isinstance(entry, ast.Name)}


def _locals(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """Names bound inside the function: parameters and everything stored."""
    arguments = function.args
    listed = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    names = {entry.arg for entry in listed if entry is not None}
    declared = {name for node in ast.walk(function) if isinstance(node, ast.Global) for name in node.names}
    stored = {
        node.id
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del)
    }
    return (names | stored) - declared


def _written(node: ast.AST) -> str:
    """Return the plain name whose content this node changes, or ""."""
    if isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
        return _root(node)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
        return _root(node.func)
    return ""


def _root(node: ast.AST) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
