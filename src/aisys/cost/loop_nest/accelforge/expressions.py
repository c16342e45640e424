"""The small Python expressions in accelforge files: numbers, and sets of tensors such as `input | output`.

Only what is listed here is evaluated, by walking the syntax tree; nothing of the file is ever run.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from aisys.errors import BadInput

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.BitOr: operator.or_, ast.BitAnd: operator.and_,
}  # fmt: skip
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip
_CALLS: dict[str, Callable[..., Any]] = {"len": len, "ceil": math.ceil, "floor": math.floor, "min": min, "max": max}


def value(expression: Any, names: Mapping[str, Any], bits: Mapping[str, int] | None = None) -> Any:
    """What an expression of a file means, given what its names stand for; `~` is taken from names["All"].

    bits: bits per value of each tensor, for `weight.bits_per_value`. Raises BadInput with the part that is not known.

    >>> sorted(value("~b | c", {"All": frozenset("abc"), "b": frozenset("b"), "c": frozenset("c")}))
    ['a', 'c']
    """
    if not isinstance(expression, str):
        return expression
    if expression.strip() in ("inf", "-inf"):
        return float(expression)
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except SyntaxError as error:
        raise BadInput(f"{expression!r} is no expression: {error.msg}") from error
    return _walk(tree.body, names, bits or {})


def _walk(node: ast.AST, names: Mapping[str, Any], bits: Mapping[str, int]) -> Any:
    match node:
        case ast.Constant(value=found):
            return found
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](_walk(left, names, bits), _walk(right, names, bits))
        case ast.UnaryOp(op=ast.Invert(), operand=operand):
            return names["All"] - _walk(operand, names, bits)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_walk(operand, names, bits)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _walk(body if _walk(test, names, bits) else orelse, names, bits)
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE:
            return _COMPARE[type(op)](_walk(left, names, bits), _walk(right, names, bits))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _CALLS:
            return _CALLS[name](*(_walk(argument, names, bits) for argument in arguments))
        case ast.Attribute(value=inner, attr="bits_per_value"):
            return max(bits[tensor] for tensor in _walk(inner, names, bits))
        case ast.Attribute(value=inner, attr="tensors"):
            return _walk(inner, names, bits)
    raise BadInput(f"{ast.unparse(node)!r} is not understood here; known names: {', '.join(sorted(names))}")
