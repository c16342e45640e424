"""Every example that we print runs: docstrings, and the python and console blocks of every page."""

import doctest
import os
import pkgutil
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import aisys

ROOT = Path(aisys.__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
NEEDS_EXTRA = ("aisys.measure", "aisys.rtl", "aisys.web")
SET_UP = ("pip", "git", "cd", "python -m venv", "pytest")
"""Commands of a set-up: .ci/run does them in an environment of its own."""

PROGRAM = ["-c", "from aisys.cli import main; main()"]

MODULES = [
    module.name
    for module in pkgutil.walk_packages(aisys.__path__, "aisys.")
    if not module.name.startswith(NEEDS_EXTRA) and ".template" not in module.name
]


def blocks(page: Path, language: str) -> list[str]:
    return [text for found, text in FENCE.findall(page.read_text(encoding="utf-8")) if found == language]


def pages_with(language: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, language)]


def commands(page: Path) -> Iterator[tuple[str, str]]:
    """Each command of the console blocks with what is printed below it ("" where nothing is)."""
    for block in blocks(page, "console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output
    text = page.read_text(encoding="utf-8")
    for line in re.findall(r"^    ((?:pip install .* && )?aisys \S.*)$", text, re.MULTILINE):
        yield line, ""


COMMANDS = [(page, command, output) for page in PAGES for command, output in commands(page)]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str) -> None:
    failed, _ = doctest.testmod(import_module(name), optionflags=FLAGS)
    assert failed == 0


@pytest.mark.parametrize("page", pages_with("python"), ids=lambda page: str(page.relative_to(ROOT)))
def test_the_python_examples_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for number, block in enumerate(blocks(page, "python"), 1):
        where = f"{page.name}, example {number}"
        if ">>>" not in block:
            exec(compile(block, where, "exec"), names)
            continue
        test = doctest.DocTestParser().get_doctest(block, names, where, str(page), 0)
        runner.run(test, clear_globs=False)
        names |= test.globs
    assert runner.summarize().failed == 0


@pytest.mark.parametrize(
    ("page", "command", "output"), COMMANDS, ids=[f"{page.stem}: {command[:60]}" for page, command, _ in COMMANDS]
)
def test_a_printed_command_does_what_the_page_shows(page: Path, command: str, output: str, tmp_path: Path) -> None:
    for part in command.split(" && "):
        if part.startswith(SET_UP):
            continue
        words = shlex.split(part)
        assert words[0] in ("aisys", "python"), f"{page.name}: {part!r} is no command of ours"
        own = [sys.executable, *(PROGRAM if words[0] == "aisys" else []), *words[1:]]
        done = subprocess.run(own, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "COLUMNS": "160"})
        assert done.returncode == 0, f"{part}: {done.stderr}"
        if output:
            assert doctest.OutputChecker().check_output(output, done.stdout, FLAGS), f"{part} prints\n{done.stdout}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_inside_the_repository_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
