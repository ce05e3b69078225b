"""The formula of a `multi` grader: arithmetic on the numbers of its parts, and nothing else; imports no torch."""

import ast
import math
import operator
from collections.abc import Callable, Mapping

from metier.core.errors import SettingsError

_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.Pow: math.pow,
}  # fmt: skip
_SINGLE: dict[type[ast.unaryop], Callable[[float], float]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_OF_ONE: dict[str, Callable[[float], float]] = {
    "abs": abs, "sqrt": math.sqrt, "log": math.log, "exp": math.exp, "floor": math.floor, "ceil": math.ceil,
}  # fmt: skip
_OF_MANY: dict[str, Callable[[list[float]], float]] = {"min": min, "max": max}

_LONGEST = 2000
"""Characters of a formula: a longer one would be too deep for the parser, or for us."""
_DEEPEST = 100


def compiled(text: str, names: Mapping[str, object]) -> Callable[[Mapping[str, float]], float]:
    """Return a formula as a function of the numbers that it names.

    Raises:
        SettingsError: it is not arithmetic, or names something else than `names`.
    """
    wanted = f"arithmetic on {', '.join(names)}"
    shown = f"graders: calculate_output {text[:200]!r}"
    if len(text) > _LONGEST:
        raise SettingsError(f"{shown}: {len(text):,} characters", f"{wanted}, at most {_LONGEST:,} characters")
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise SettingsError(shown, wanted) from error
    fault = _fault(tree, names, _DEEPEST)
    if fault:
        raise SettingsError(f"{shown}: {fault}", wanted)
    return lambda values: float(_value(tree, values))


def _fault(node: ast.expr, names: Mapping[str, object], deep: int) -> str:
    """Return what is not understood in a formula that may be so `deep`, "" when all is."""
    inner = _inner(node)
    if inner is None:
        return f"what begins at character {node.col_offset + 1} is not understood"
    if deep == 0:
        return f"more than {_DEEPEST} steps one inside the other"
    if isinstance(node, ast.Name) and node.id not in names:
        return f"unknown name {node.id}"
    return next((fault for part in inner if (fault := _fault(part, names, deep - 1))), "")


def _inner(node: ast.expr) -> list[ast.expr] | None:
    """Return what a step of a formula works on; None: it is no such step."""
    match node:
        case ast.Constant(value=bool()):
            return None
        case ast.Constant(value=int() | float()) | ast.Name():
            return []
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _BINARY:
            return [left, right]
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in _SINGLE:
            return [operand]
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if _takes(name, len(args)):
            return args
    return None


def _takes(function: str, count: int) -> bool:
    return count == 1 if function in _OF_ONE else function in _OF_MANY and count > 0


def _value(node: ast.expr, values: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.Name(id=name):
            return values[name]
        case ast.BinOp(left=left, op=sign, right=right):
            return _BINARY[type(sign)](_value(left, values), _value(right, values))
        case ast.UnaryOp(op=sign, operand=inner):
            return _SINGLE[type(sign)](_value(inner, values))
        case ast.Call(func=ast.Name(id=name), args=[only]) if name in _OF_ONE:
            return float(_OF_ONE[name](_value(only, values)))
        case ast.Call(func=ast.Name(id=name), args=args):
            return _OF_MANY[name]([_value(part, values) for part in args])
    raise AssertionError(ast.dump(node))
