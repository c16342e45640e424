"""The public names are there on purpose, cost nothing until used, and the typed surface shows them as they are."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import aisys

ROOT = Path(aisys.__file__).parents[2]
HEAVY = ("numpy", "numba", "plotly", "torch", "scipy", "rich", "typer")
PROMISED = (
    "read", "machine", "evaluate", "evaluate_many", "search", "Plan", "PlanTable", "TrainingStep", "Recompute",
    "TensorParallel", "technique", "list_techniques", "AisysError",
)  # fmt: skip


def test_import_loads_nothing_heavy() -> None:
    code = f"import sys, aisys; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_typed_surface_is_current() -> None:
    spec = importlib.util.spec_from_file_location("surface", ROOT / "scripts" / "write_public_surface.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.TARGET.read_text() == script.surface(), "run python scripts/write_public_surface.py"


def test_the_typed_surface_and_the_names_at_run_time_are_the_same() -> None:
    stub = ast.parse(Path(aisys.__file__).with_suffix(".pyi").read_text())
    typed = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed == set(dir(aisys))


@pytest.mark.parametrize("name", sorted({*PROMISED, *dir(aisys)}))
def test_every_public_name_exists_and_is_documented(name: str) -> None:
    found = getattr(aisys, name)
    assert callable(found)
    assert found.__doc__


def test_rooms_that_are_functions_too_answer_under_both_uses() -> None:
    code = """
import aisys.machine.load, aisys.technique.recompute
from aisys.machine import Gpu
print(aisys.machine("dgx-h100").num_devices, aisys.machine.load.__name__, aisys.technique("recompute").__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "8 aisys.machine.load Recompute\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Tensorparallel'"):
        _ = aisys.Tensorparallel
