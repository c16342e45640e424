"""What `aisys new` writes is an idea that already works: its own tests and study run."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from aisys import plugins
from aisys.errors import AisysError, BadInput, UnknownName
from aisys.testing.new import SENTENCES, new

NEEDS_INSTALL = ("schedule", "workload")
"""Their studies ask AISys for them by name, which it knows once the package is installed."""


def test_there_is_a_template_for_every_kind_of_plug_in() -> None:
    assert SENTENCES.keys() == plugins.KINDS.keys()


@pytest.mark.parametrize("kind", plugins.KINDS)
def test_the_new_package_passes_its_own_tests(kind: str, tmp_path: Path) -> None:
    files = new(kind, f"own_{kind}", tmp_path)
    assert sorted(path.name for path in files) == sorted(path.name for path in (tmp_path / f"own_{kind}").iterdir())
    folder = files[0].parent
    run(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={folder}", "--override-ini=addopts=", ".")
    if kind not in NEEDS_INSTALL:
        assert f"own_{kind}" in run(folder, f"study_own_{kind}.py")


@pytest.mark.slow
@pytest.mark.parametrize("kind", plugins.KINDS)
def test_its_study_runs_where_it_is_installed(kind: str, tmp_path: Path, fresh: Callable[[Path], Path]) -> None:
    folder = new(kind, f"own_{kind}", tmp_path)[0].parent
    python = fresh(folder)
    printed = run(folder, f"study_own_{kind}.py", python=python)
    assert len(printed.splitlines()) == 2


def run(folder: Path, *words: str, python: Path | str = sys.executable) -> str:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([python, *words], cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", plugins.KINDS)
def test_its_entry_point_is_of_the_group_that_is_read(kind: str, tmp_path: Path) -> None:
    path = next(file for file in new(kind, "my_idea", tmp_path) if file.name == "pyproject.toml")
    project = tomllib.loads(path.read_text())["project"]
    assert project["entry-points"] == {f"aisys.{kind}": {"my_idea": "my_idea"}}
    assert project["name"] == "aisys-my-idea"


@pytest.mark.parametrize(
    "name", ["", "My_idea", "my-idea", "1idea", "_idea", "my idea", "class", "a/b", "..", "my__idea", "x" * 41, "idée"]
)
def test_a_name_that_is_no_module_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is no name for a module"):
        new("technique", name, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["recompute", "json", "numpy", "aisys"])
def test_a_name_that_is_taken_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"already|is the name of an installed"):
        new("technique", name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "my_idea").mkdir()
    (tmp_path / "my_idea" / "notes").write_text("mine")
    with pytest.raises(BadInput, match="exists already"):
        new("technique", "my_idea", tmp_path)
    assert [path.name for path in (tmp_path / "my_idea").iterdir()] == ["notes"]


def test_an_unknown_kind_and_an_absent_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown kind of plug-in 'techniqe'; nearest known: technique"):
        new("techniqe", "my_idea", tmp_path)
    for folder in (tmp_path / "absent", Path("/dev/null")):
        with pytest.raises(AisysError, match="cannot be written"):
            new("technique", "my_idea", folder)
