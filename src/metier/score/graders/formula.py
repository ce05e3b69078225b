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
_FUNCTIONS: dict[str, Callable[..., float]] = {
    "min": min, "max": max, "abs": abs, "sqrt": math.sqrt, "log": math.log, "exp": math.exp,
    "floor": math.floor, "ceil": math.ceil,
}  # fmt: skip


def compiled(text: str, names: Mapping[str, object]) -> Callable[[Mapping[str, float]], float]:
    """Return a formula as a function of the numbers that it names.

    Raises:
        SettingsError: it is not arithmetic, or names something else than `names`.
    """
    wanted = f"arithmetic on {', '.join(names)}"
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise SettingsError(f"graders: calculate_output {text!r}", wanted) from error
    fault = _fault(tree, names)
    if fault:
        raise SettingsError(f"graders: calculate_output {text!r}: {fault}", wanted)
    return lambda values: float(_value(tree, values))


def _fault(node: ast.expr, names: Mapping[str, object]) -> str:
    """Return what is not understood in a formula, "" when all is."""
    match node:
        case ast.Constant(value=value) if isinstance(value, (int, float)) and not isinstance(value, bool):
            return ""
        case ast.Name(id=name):
            return "" if name in names else f"unknown name {name}"
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _BINARY:
            return _fault(left, names) or _fault(right, names)
        case ast.UnaryOp(op=sign, operand=inner) if type(sign) in _SINGLE:
            return _fault(inner, names)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS and args:
            return next((fault for part in args if (fault := _fault(part, names))), "")
    return f"'{ast.unparse(node)}' is not understood"


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
        case ast.Call(func=ast.Name(id=name), args=args):
            return float(_FUNCTIONS[name](*(_value(part, values) for part in args)))
    raise AssertionError(ast.dump(node))
