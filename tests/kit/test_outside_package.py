"""Thirty lines of an outside package, installed into a fresh environment, show up and run."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Fresh = Callable[[Path], Path]

PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "aisys-light-moments"
version = "1.0"
[project.entry-points."aisys.technique"]
light_moments = "light_moments"
[tool.setuptools]
py-modules = ["light_moments"]
"""
MODULE = '''
from dataclasses import dataclass, replace
from aisys.ir import Block, Graph, dtype, verify

@dataclass(frozen=True)
class LightMoments:
    """Keep the moments of the optimizer in 8 bits."""

    def apply(self, graph: Graph) -> Graph:
        return verify(graph.map_blocks({block: self._light(block) for block in graph.blocks}))

    def _light(self, block: Block) -> Block:
        moments = [t for t in block.tensors_of("optimizer_state") if t.name.startswith("exp_avg")]
        return block.with_tensors({t.name: replace(t, dtype=dtype("int8")) for t in moments})
'''
USE = """
import json
import aisys
graph = aisys.read("llama-3.1-8b", batch=8, tokens=2048)
plan = aisys.Plan(data=8, sharding="zero1", recompute="full")
runs = {
    name: aisys.evaluate(graph, aisys.machine("dgx-h100"), techniques=[aisys.TrainingStep(), *more], plan=plan)
    for name, more in (("plain", []), ("light", [aisys.technique("light_moments")()]))
}
print(json.dumps({name: [run.time_s, run.memory_bytes["optimizer_state"]] for name, run in runs.items()}))
"""


@pytest.fixture(scope="module")
def python(fresh: Fresh, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the package."""
    package = tmp_path_factory.mktemp("package")
    (package / "pyproject.toml").write_text(PYPROJECT)
    (package / "light_moments.py").write_text(MODULE)
    return fresh(package)


def run(python: Path, *words: str) -> str:
    done = subprocess.run([python, *words], capture_output=True, text=True, cwd=python.parent)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_package_has_at_most_thirty_lines() -> None:
    lines = [line for line in (PYPROJECT + MODULE).splitlines() if line.strip()]
    assert len(lines) <= 30


@pytest.mark.slow
def test_it_is_listed_with_the_package_that_it_comes_from(python: Path) -> None:
    main = "from aisys.cli import main; main()"
    document = json.loads(run(python, "-c", main, "list", "techniques", "--json"))
    listed = {row["name"]: row for row in document["techniques"]}
    assert listed["light_moments"]["from"] == "aisys-light-moments"
    assert "recompute" in listed


@pytest.mark.slow
def test_it_runs_through_evaluate_and_does_what_it_says(python: Path) -> None:
    found = json.loads(run(python, "-c", USE))
    moments, master = 2 * 4, 4
    assert found["light"][1] / found["plain"][1] == pytest.approx((moments / 4 + master) / (moments + master))
    assert found["light"][0] <= found["plain"][0]


@pytest.mark.slow
def test_it_is_unknown_where_it_is_not_installed() -> None:
    code = "import aisys; aisys.technique('light_moments')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "unknown technique 'light_moments'" in done.stderr
