"""The rooms stay closed: imports point to earlier rooms, and to few packages from outside."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import aisys

SOURCE = Path(aisys.__file__).parent
ROOMS = (
    "errors", "units", "frozen", "user_file", "plugins", "ir", "kernel", "workload", "machine", "collective", "dram",
    "cost", "plan", "technique", "sim", "lower", "report", "search", "validate", "measure", "rtl", "study", "testing",
    "web", "cli",
)  # fmt: skip
"""In import order: a room imports itself and those before it."""

PUBLIC_DOOR = ("study", "testing", "cli", "web")
"""Rooms that may use the public names of `aisys` itself."""

ANYWHERE = {"numpy", "numba"}
ONLY_IN = {
    "rich": {"cli", "report"},
    "typer": {"cli"},
    "plotly": {"report", "web"},
    "torch": {"measure", "technique"},
    "yaml": {"cost"},
    "jinja2": {"cost"},
    "amaranth": {"rtl"},
}
FILES = sorted(p for p in SOURCE.rglob("*.py") if p.name != "__init__.py" or p.parent != SOURCE)


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of every module or name that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: a relative import; write it in full"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def test_every_folder_is_a_room_with_a_place_in_the_order() -> None:
    found = {room_of(path) for path in FILES}
    assert found <= set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_to_earlier_rooms(path: Path) -> None:
    own = room_of(path)
    for line, name in imports(path):
        parts = name.split(".")
        if parts[0] != "aisys":
            continue
        is_room = len(parts) > 1 and parts[1] in ROOMS
        if not is_room:
            assert own in PUBLIC_DOOR, f"{path}:{line}: {own} uses the public door of aisys; import from a room"
        elif own != parts[1]:
            assert ROOMS.index(parts[1]) < ROOMS.index(own), f"{path}:{line}: {own} imports {parts[1]}, a later room"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_room_imports_few_packages_from_outside(path: Path) -> None:
    for line, name in imports(path):
        package = name.split(".")[0]
        if package != "aisys" and package not in sys.stdlib_module_names and package not in ANYWHERE:
            assert room_of(path) in ONLY_IN.get(package, ()), f"{path}:{line}: {room_of(path)} imports {package}"
