"""Does the page on machines say what the loader does?"""

import doctest
import re
from dataclasses import fields
from pathlib import Path

import pytest

from aisys.machine import load
from aisys.machine.build import ARCHITECTURES

PAGE = Path(__file__).parents[2] / "docs" / "machines.md"
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_every_example_on_the_page_runs() -> None:
    failed, tried = doctest.testfile(str(PAGE), module_relative=False)
    assert (failed, tried > 0) == (0, True)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_file_on_the_page_loads(block: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(block)
    assert load.machine(str(path)).num_devices >= 1


def test_the_page_has_three_files() -> None:
    assert len(BLOCKS) == 3


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_page_names_every_field_of_every_architecture(name: str) -> None:
    row = next(line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{name}`"))
    for field in fields(ARCHITECTURES[name]):
        assert field.name in row or field.name == "constants"
