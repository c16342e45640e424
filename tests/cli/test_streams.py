"""Output that cannot be written, as a shell gives it to a command: full, closed, or read by one who leaves early."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

AISYS = f"{sys.executable} -c 'from aisys.cli import main; main()'"
OP = "op matmul m=64 n=64 k=64 --on h100-sxm"
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


def shell(line: str) -> tuple[int, str]:
    """The exit code of the command in `line`, and what reached stderr."""
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@needs_full
@pytest.mark.parametrize("words", [OP, OP + " --json", "--help"])
def test_a_full_device_is_one_sentence(words: str) -> None:
    code, err = shell(f"{AISYS} {words} > /dev/full")
    assert code == 2
    assert err == "aisys: cannot read or write the output (No space left on device)\n"


@pytest.mark.parametrize("words", ["list machines", "list machines --json"])
def test_a_reader_may_leave_early(words: str) -> None:
    assert shell(f"{AISYS} {words} | true") == (0, "")


def test_a_closed_output_is_nowhere() -> None:
    assert shell(f"{AISYS} {OP} >&-") == (0, "")


@pytest.mark.parametrize("where", ["2>&-", pytest.param("2>/dev/full", marks=needs_full)])
def test_bad_input_is_exit_2_where_nobody_hears_why(where: str) -> None:
    assert shell(f"{AISYS} op matmul m=64 n=64 k=64 --on nope {where}") == (2, "")


@pytest.mark.parametrize(
    "words", ["explain {}", "diff {} {}", "show {}", "run {}", "plan {} --on dgx-h100", "validate {}"]
)
@pytest.mark.parametrize("file", ["/dev/zero", "claims 10 GB", "no text", "a folder"])
def test_a_file_that_cannot_be_what_is_asked_for_is_not_read(words: str, file: str, tmp_path: Path, aisys: Any) -> None:
    path = Path(file) if file.startswith("/") else tmp_path / "given"
    if file == "a folder":
        path.mkdir()
    elif file == "no text":
        path.write_bytes(b"\xff\xfe\x00" * 50)
    elif not path.exists():
        with path.open("wb") as sparse:
            sparse.truncate(10**10)
    ended = aisys(*(word.format(path) for word in words.split()))
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1), ended.err


def test_a_file_that_is_no_regular_file_is_not_replaced(tmp_path: Path, aisys: Any) -> None:
    table, pipe = tmp_path / "mine.csv", tmp_path / "pipe"
    header = "# table: gemm\n# kind: measured\n# source: ours\ndevice,dtype,m,n,k,us\n"
    table.write_text(header + "h100-sxm,bf16,4096,4096,4096,190\n")
    os.mkfifo(pipe)
    ended = aisys("validate", str(table), "--rows", str(pipe))
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert pipe.is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.csv", "pipe"]
