"""The pages on the command line say what the commands do."""

import importlib.util
import re
import shlex
import sys
from pathlib import Path

import pytest

from aisys.cli import main
from aisys.cli.sweep import FIELDS, read_study

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cli" / "README.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs" / "cli" / "commands.md").read_text(encoding="utf-8")
OWN_FILES = ("my-", "my_", "aisys-out", "gpu_gemm", "training_step.csv", "./")
EXAMPLES = re.findall(r"^- `(aisys .*)`$", REFERENCE, re.MULTILINE)


def _marked(example: str) -> object:
    """Generated hardware needs an extra, and place and route takes minutes."""
    is_hardware = example.startswith("aisys rtl")
    return pytest.param(example, marks=[pytest.mark.slow, pytest.mark.rtl]) if is_hardware else example


@pytest.fixture(autouse=True)
def _extra(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("rtl"):
        pytest.importorskip("amaranth", reason="the extra rtl is not installed")


def test_the_reference_is_what_help_says():
    spec = importlib.util.spec_from_file_location("writer", ROOT / "scripts" / "write_command_page.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.page() == REFERENCE, "run python scripts/write_command_page.py"


@pytest.mark.parametrize("example", [_marked(e) for e in EXAMPLES if not any(name in e for name in OWN_FILES)])
def test_every_example_that_needs_no_file_of_ones_own_runs(example, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", shlex.split(example))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0, capsys.readouterr().err


def test_the_study_on_the_page_is_one(tmp_path):
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "study.toml").write_text(block)
    assert len(read_study(tmp_path / "study.toml")) == 4


def test_the_page_names_every_field_of_a_study():
    line = " ".join(PAGE.split("Names: ")[1].split("\n\n")[0].split()).split(".")[0]
    assert sorted(line.split(", ")) == sorted(FIELDS)
