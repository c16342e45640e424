"""Files, functions and argument lists stay short, and everything public says what it gives."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import aisys

SOURCE = Path(aisys.__file__).parent
ROOT = SOURCE.parent.parent
FOLDERS = (SOURCE, ROOT / "scripts", ROOT / "benchmarks")
FILES = sorted(path for folder in FOLDERS for path in folder.rglob("*.py"))
PACKAGE = [path for path in FILES if path.is_relative_to(SOURCE)]
MAX_LINES, MAX_FUNCTION_LINES, MAX_ARGUMENTS, MAX_NESTING = 400, 50, 6, 3

PUBLIC_DOORS = {"search", "plan", "evaluate"}
"""Functions whose keyword arguments are what a user may say, each with a default, beyond the six."""

EXCEPTIONS = {
    "src/aisys/sim/engine.py: run_reference is 4 levels deep": "the event loop is read in one piece",
    "src/aisys/lower/recurrence.py: _order is 4 levels deep": "the event loop is read in one piece",
    "src/aisys/workload/transformer/draft.py: linear takes 7 arguments": "four of them have defaults",
    "src/aisys/validate/gpu_rows.py: predict_work is 4 levels deep": "devices, stacks and parts are three loops",
}
"""What is longer, wider or deeper than the rules, and why."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(parsed(path)) if isinstance(node, Function))


def is_compiled(function: Function) -> bool:
    """Whether numba compiles it: such a function takes arrays one by one and loops over them."""
    return any("njit" in ast.unparse(decorator) for decorator in function.decorator_list)


def is_command(path: Path) -> bool:
    """Whether the file holds a command, whose arguments are what a user types."""
    return path.parent == SOURCE / "cli"


def nesting(node: ast.AST) -> int:
    """How many loops, branches and blocks stand inside each other; an elif stands beside its if."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (*Function.__args__, ast.ClassDef)):
            continue
        is_elif = isinstance(node, ast.If) and node.orelse == [child] and isinstance(child, ast.If)
        opens = isinstance(child, (ast.If, ast.For, ast.While, ast.With, ast.Try)) and not is_elif
        deepest = max(deepest, nesting(child) + opens)
    return deepest


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES, f"{path} is long; split it by idea"
    for function in functions(path):
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        assert length <= MAX_FUNCTION_LINES, f"{path}: {function.name} has {length} lines"


def test_functions_take_few_arguments_and_are_not_nested_deeply() -> None:
    found = {line for path in PACKAGE for line in wide_or_deep(path)}
    assert sorted(found - EXCEPTIONS.keys()) == []
    assert sorted(EXCEPTIONS.keys() - found) == [], "these are mended; delete their exceptions"


def wide_or_deep(path: Path) -> Iterator[str]:
    for function in functions(path):
        if is_compiled(function):
            continue
        given = function.args
        names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs) if a.arg not in ("self", "cls")]
        where = f"{path.relative_to(ROOT)}: {function.name}"
        if len(names) > MAX_ARGUMENTS and not is_command(path) and function.name not in PUBLIC_DOORS:
            yield f"{where} takes {len(names)} arguments"
        if nesting(function) > MAX_NESTING:
            yield f"{where} is {nesting(function)} levels deep"


@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: str(path.relative_to(SOURCE)))
def test_everything_public_says_what_it_gives(path: Path) -> None:
    tree = parsed(path)
    for node in (tree, *public(tree)):
        name = getattr(node, "name", "the file")
        text = ast.get_docstring(node) or ""
        assert text, f"{path}: {name} has no docstring"
        assert text.partition("\n\n")[0].rstrip()[-1] in ".:?!", (
            f"{path}: {name}: the docstring starts with no sentence"
        )


def public(tree: ast.Module) -> Iterator[ast.ClassDef | Function]:
    """Public classes and functions, and the public methods of classes that are no protocol."""
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, *Function.__args__)) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef) and "Protocol" not in map(ast.unparse, node.bases):
                yield from (m for m in node.body if isinstance(m, Function) and needs_words(m))


def needs_words(method: Function) -> bool:
    """Properties may let their name speak."""
    is_property = any("property" in ast.unparse(d) for d in method.decorator_list)
    return not method.name.startswith("_") and not is_property
