"""The command line as a user types it, run in this process."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from aisys.cli import main


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


@pytest.fixture
def aisys(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """`aisys("op", "matmul", ...)` gives the exit code and what was printed."""

    def run(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["aisys", *words])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        printed = capsys.readouterr()
        return Ended(code, printed.out, printed.err)

    return run
