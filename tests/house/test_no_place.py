"""No tracked file knows the machine that it was written on."""

import re
import socket
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ABSOLUTE = re.compile(r"(?<![\w.}])/(?:home|root|work|Users|mnt|opt|srv)/\w|\b[A-Z]:\\\\?Users")


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout: there is no list of tracked files")
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_no_file_names_a_path_or_host_of_its_author() -> None:
    host = socket.gethostname()
    words = re.compile(rf"\b{re.escape(host)}\b") if len(host) > 5 else re.compile(r"(?!)")
    for path in tracked():
        if not path.is_file() or path == Path(__file__):
            continue
        text = path.read_bytes().decode("utf-8", "replace")
        for number, line in enumerate(text.splitlines(), 1):
            where = f"{path.relative_to(ROOT)}:{number}"
            assert not ABSOLUTE.search(line), f"{where}: an absolute path: {line.strip()[:90]}"
            assert not words.search(line), f"{where}: the name of a host"


def test_test_files_have_names_of_their_own() -> None:
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names)), "two test files share a name, and one would hide the other"
