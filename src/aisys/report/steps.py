"""The steps of a cost model as it ran on one op: each formula of its source, with the numbers put in.

Nothing is written down twice: the formulas are read from the model's own file and the numbers from its own variables,
so that an explanation cannot differ from the model that it explains.
"""

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from textwrap import dedent
from types import CodeType, FrameType
from typing import Any

import numpy as np

import aisys.cost
from aisys.report.quantity import number, scaled, seconds

_ROOM = str(Path(aisys.cost.__file__).parent)
_PLUMBING = ("__init__", "types", "timing", "lookup", "interval", "stack", "limit")
_NO_FORMULA = (ast.Constant, ast.ListComp, ast.DictComp, ast.Name)
_NO_STEP = ("full(", "zeros(", "argmin(", "array(", "by_name(", "unique(")
_PLAIN = (
    (".astype(float)", ""), ("np.maximum(", "max("), ("np.minimum(", "min("), ("np.where(", "choose("), ("np.", ""),
)  # fmt: skip
_UNITS = (("_bytes", "B"), ("_flop", "flop"), ("_joule", "J"), ("_watt", "W"), ("_hz", "Hz"))


EXACT_BELOW = 10_000_000
"""Whole numbers below this are shown in full."""


@dataclass(frozen=True, slots=True)
class Step:
    """One assignment of a model: `name` = `formula` = `numbers` = `value`. place: its function, as file.function."""

    place: str
    name: str
    formula: str
    numbers: str
    value: float

    @property
    def shown(self) -> str:
        """The value with its unit, which the name ends with."""
        return quantity(self.name, self.value)


def quantity(name: str, value: float) -> str:
    """`value` as a name says it: seconds where it ends in _s, bytes where it ends in _bytes.

    >>> quantity("launch_s", 2.5e-6), quantity("waves", 7.757)
    ('2.50 µs', '7.76')
    """
    last = name.rpartition(".")[2]
    for ending, unit in _UNITS if "_per_" not in last else ():
        if last.endswith(ending):
            return scaled(value, unit)
    if last.endswith("_s") and "_per_" not in last:
        return seconds(value)
    if value == inf:
        return "inf"
    if value.is_integer() and abs(value) < EXACT_BELOW:
        return f"{value:,.0f}"
    return number(value) if abs(value) >= 1e-3 or not value else f"{value:.3g}"


def steps_of(run: Callable[[], object], *, only: str = "") -> list[Step]:
    """The steps that cost models take while `run` runs, in order, for tables of one row.

    only: the file of the room whose steps count; "" takes the models without the limit and the plumbing. Of arrays
    over a menu (tiles, splits) the entry is shown that the model chose.
    """
    calls: list[_Call] = []

    def on_call(frame: FrameType, event: str, argument: object) -> Any:
        code = frame.f_code
        stem = Path(code.co_filename).stem
        is_model = code.co_filename.startswith(_ROOM) and (stem == only if only else stem not in _PLUMBING)
        if event != "call" or not is_model or code.co_name.startswith("<"):
            return None
        calls.append(_Call(code, _statements(code)))
        return calls[-1].on_event

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        run()
    finally:
        sys.settrace(before)
    return [step for call in calls for step in call.steps()]


Names = dict[str, Any]


class _Call:
    """One call of a model's function: for each of its statements the variables before and after it ran last."""

    def __init__(self, code: CodeType, statements: dict[int, ast.stmt]) -> None:
        self.place = f"{Path(code.co_filename).stem}.{code.co_name}"
        self.statements = statements
        self.ran: dict[ast.stmt, tuple[Names, Names]] = {}
        self.current: ast.stmt | None = None
        self.before: Names = {}
        self.result: Any = None

    def on_event(self, frame: FrameType, event: str, argument: object) -> Any:
        """What Python calls before each line of the function and when it returns."""
        statement = self.statements.get(frame.f_lineno)
        if event == "return":
            self.result = argument
        if event == "return" or statement is not self.current:
            names = {**frame.f_globals, **frame.f_locals}
            if self.current is not None:
                self.ran.pop(self.current, None)
                self.ran[self.current] = (self.before, names)
            self.current, self.before = statement, names
        return self.on_event

    def steps(self) -> Iterator[Step]:
        """The assignments of numbers, and the number that the function returns."""
        best = self.before.get("best")
        for statement, (before, after) in self.ran.items():
            if isinstance(statement, ast.Return):
                name, value, given = self.place.rpartition(".")[2].lstrip("_"), statement.value, self.result
            elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                name, value = statement.targets[0].id, statement.value
                given = after.get(name)
            else:
                continue
            found = _number(given, best)
            if value is None:
                continue
            value = _bare(value)
            formula = _plain(ast.unparse(value))
            if found is None or not isfinite(found) or formula.startswith(_NO_STEP) or isinstance(value, _NO_FORMULA):
                continue
            filled = _Filled(before, best).visit(ast.parse(ast.unparse(value), mode="eval").body)
            yield Step(self.place, name, formula, _plain(ast.unparse(filled)), found)


def _bare(value: ast.expr) -> ast.expr:
    """An expression without the conversions around and inside it that change no number."""

    class Bare(ast.NodeTransformer):
        def visit_Call(self, node: ast.Call) -> ast.AST:  # the name that ast looks for
            self.generic_visit(node)
            return node.args[0] if ast.unparse(node.func) in ("float", "np.asarray") and node.args else node

    bare: ast.expr = Bare().visit(ast.parse(ast.unparse(value), mode="eval").body)
    return bare


def _statements(code: CodeType) -> dict[int, ast.stmt]:
    """Line of the file to the assignment or return that stands on it."""
    try:
        tree = ast.parse(dedent(inspect.getsource(code)))
    except (OSError, SyntaxError):
        return {}
    found = [node for node in ast.walk(tree) if isinstance(node, (ast.Assign, ast.Return))]
    first = code.co_firstlineno - 1
    return {first + line: node for node in found for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}


class _Filled(ast.NodeTransformer):
    """Puts the value of a variable, an attribute or an entry in the place of its name."""

    def __init__(self, names: Names, best: Any) -> None:
        self.names, self.best = names, best

    def visit(self, node: ast.AST) -> Any:
        """The node, or its value as a name that prints as the number."""
        if isinstance(node, (ast.Name, ast.Attribute, ast.Subscript)) and isinstance(node.ctx, ast.Load):
            text = ast.unparse(node)
            found = _looked_up(node, self.names)
            value = _number(found, self.best)
            if value is not None:
                return ast.Name(quantity(text.strip("'\"]"), value), ast.Load())
            if isinstance(found, (bool, np.ndarray)) and np.size(found) == 1 and np.asarray(found).dtype.kind in "bU":
                return ast.Name(str(np.asarray(found).item()), ast.Load())
        return self.generic_visit(node)


def _looked_up(node: ast.AST, names: dict[str, Any]) -> Any:
    """What a name, an attribute of it or an entry under a fixed key stands for; None for anything else."""
    match node:
        case ast.Name(id=name):
            return names.get(name)
        case ast.Attribute(value=holder, attr=name):
            return getattr(_looked_up(holder, names), name, None)
        case ast.Subscript(value=holder, slice=ast.Constant(value=key)):
            found = _looked_up(holder, names)
            columns = getattr(found, "columns", found)
            return columns.get(key) if hasattr(columns, "get") else None
    return None


def _number(value: Any, best: Any) -> float | None:
    """`value` as one number: of an array over a menu, entry `best`, which was chosen. None for anything else."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.ndarray, np.number)):
        return None
    array = np.asarray(value)
    if array.dtype.kind not in ("if" if array.ndim == 0 else "f"):
        return None
    if array.size == 1:
        return float(array.reshape(-1)[0])
    if not isinstance(best, np.ndarray) or best.size != 1 or array.shape[-1:] != (array.size,):
        return None
    place = int(best.reshape(-1)[0])
    return float(array.reshape(-1)[place]) if place < array.size else None


def _plain(text: str) -> str:
    """A formula without the words that only Python needs."""
    for code, word in _PLAIN:
        text = text.replace(code, word)
    return re.sub(r"\[:, (0|None)\]|\[index\]", "", text)
