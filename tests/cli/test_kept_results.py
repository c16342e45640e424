"""Results of a search that was stopped: what is kept, by whom it may be read again, and what damage does."""

import json
import os
import sqlite3
import subprocess
import sys

import pytest

from aisys.search import store as store_room

pytestmark = pytest.mark.slow
SMALL = ("plan", "gpt2", "--on", "dgx-h100", "--tokens", "512", "--batch", "16")
PROCESS = """
import os, resource, signal, sys
from aisys.search import exhaustive
from aisys.search.store import Store
exhaustive.BATCH_OF_PLANS = 64
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs deaf to it
{change}
sys.argv = ["aisys", *{words!r}]
from aisys.cli import main
main()
"""
STOP = """
kept, puts = Store.put, []
def put(self, *arguments):
    kept(self, *arguments)
    puts.append(1)
    if len(puts) == 2:
        os.kill(os.getpid(), signal.SIGINT)
Store.put = put
"""
COUNT = """
kept = Store.put
def put(self, *arguments):
    print("evaluated", file=sys.stderr)
    kept(self, *arguments)
Store.put = put
"""
NO_SPACE = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
"""


def start(*words, change=""):
    """A process of its own, with search tables of 64 plans."""
    code = PROCESS.format(change=change, words=words)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process):
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The file that a search left which got SIGINT after two tables, and what it said."""
    folder = tmp_path_factory.mktemp("stopped")
    code, out, err = ended(start(*SMALL, "--out", str(folder), change=STOP))
    assert (code, out) == (130, "")
    assert "--resume" in err
    assert err.count("\n") == 1
    assert os.listdir(folder) == ["search.sqlite"]
    return (folder / "search.sqlite").read_bytes()


def resume(folder, change=COUNT):
    return ended(start(*SMALL, "--out", str(folder), "--resume", "--json", change=change))


@pytest.fixture(scope="module")
def fresh():
    code, out, err = ended(start(*SMALL, "--json"))
    assert code == 0, err
    return json.loads(out)


def test_what_was_found_is_not_evaluated_again(stopped, fresh, tmp_path):
    (tmp_path / "search.sqlite").write_bytes(stopped)
    code, out, err = resume(tmp_path)
    assert code == 0, err
    assert json.loads(out) == fresh
    (tmp_path / "search.sqlite").write_bytes(b"")
    again = resume(tmp_path)[2].count("evaluated")
    assert err.count("evaluated") == again - 2


def test_results_of_other_code_are_not_used(stopped, tmp_path):
    (tmp_path / "search.sqlite").write_bytes(stopped)
    other = COUNT + "import aisys.search.store as room\nroom.code_digest = lambda: 'other'\n"
    unused = resume(tmp_path, other)[2].count("evaluated")
    assert unused == resume(tmp_path)[2].count("evaluated")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_file_cut_short_is_refused_or_not_believed(stopped, fresh, tmp_path, share):
    (tmp_path / "search.sqlite").write_bytes(stopped[: int(len(stopped) * share)])
    code, out, err = resume(tmp_path, "")
    if code == 0:
        assert json.loads(out) == fresh
    else:
        assert (code, err.count("\n")) == (2, 1)
        assert "cannot hold results of a search" in err


def test_a_damaged_result_is_evaluated_again(stopped, fresh, tmp_path):
    file = tmp_path / "search.sqlite"
    file.write_bytes(stopped)
    with sqlite3.connect(file) as opened:
        opened.execute("UPDATE steps SET steps = substr(steps, 1, length(steps) - 40)")
    code, out, err = resume(tmp_path)
    assert code == 0, err
    assert json.loads(out) == fresh


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path):
    code, out, err = ended(start(*SMALL, "--out", str(tmp_path / "out"), change=NO_SPACE))
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert "cannot" in err
    assert not (tmp_path / "out").exists()


def test_two_processes_may_share_a_file(fresh, tmp_path):
    both = [start(*SMALL, "--out", str(tmp_path), "--resume", "--json") for _ in range(2)]
    for code, out, err in map(ended, both):
        assert code == 0, err
        assert json.loads(out) == fresh
    assert not list(tmp_path.glob("*.partial"))


def test_the_digest_of_the_code_covers_catalogues_and_changes_with_them(tmp_path, monkeypatch):
    package = tmp_path / "aisys"
    (package / "machine").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    catalogue = package / "machine" / "a.toml"
    catalogue.write_text("clock_hz = 1e9")
    monkeypatch.setattr(store_room.plugins, "__file__", str(package / "__init__.py"))
    before = store_room.code_digest.__wrapped__()
    assert before == store_room.code_digest.__wrapped__()
    catalogue.write_text("clock_hz = 2e9")
    assert before != store_room.code_digest.__wrapped__()


def test_a_store_in_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = ended(start(*SMALL, "--out", str(tmp_path / "file" / "out")))
    assert (code, err.count("\n")) == (2, 1)
