"""The program starts fast, says what it is, and ends as it promises."""

import os
import resource
import subprocess
import sys

import pytest

COMMANDS = ("plan", "op", "explain", "diff", "validate", "run", "study", "show", "list", "new")
HEAVY = ("numpy", "numba", "plotly", "torch", "scipy", "rich.markdown")


def cpu_s_of(*command: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom aisys.cli import main\nsys.argv = ['aisys', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("LOADED []")


def test_help_takes_less_than_three_tenths_of_a_cpu_second():
    command = (sys.executable, "-c", "from aisys.cli import main; main()", "--help")
    typer = (sys.executable, "-c", "import typer, rich.console, rich.table")
    bars = (0.3, 2 * min(cpu_s_of(*typer) for _ in range(3)))  # a busy machine slows both
    assert min(cpu_s_of(*command) for _ in range(3)) < max(bars)


def test_every_command_explains_itself_with_examples(aisys):
    listing = aisys("--help").out
    for command in COMMANDS:
        assert command in listing
        ended = aisys(command, "--help")
        assert ended.code == 0
        assert f"aisys {command}" in ended.out
        assert "--json" in ended.out


def test_version_is_printed(aisys):
    assert aisys("--version").out.startswith("aisys ")


def test_an_unknown_command_exits_with_2(aisys):
    ended = aisys("plam")
    assert ended.code == 2
    assert ended.out == ""


def test_without_words_the_program_explains_itself(aisys):
    ended = aisys()
    assert ended.code == 0
    assert "Commands" in ended.out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("plan",), "Missing argument 'WORKLOAD'; see aisys plan --help"),
        (("plan", "gpt2"), "Missing option '--on'; see aisys plan --help"),
        (("plan", "gpt2", "--on", "dgx-h100", "--batch", "two"), "Invalid value for '--batch'"),
        (("plan", "gpt2", "--onn", "dgx-h100"), "No such option: --onn"),
        (("plam",), "Did you mean 'plan'"),
    ],
)
def test_words_that_no_command_has_are_one_sentence(aisys, words, sentence):
    ended = aisys(*words)
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("aisys: ")
    assert ended.err.count("\n") == 1
    assert sentence in ended.err


def test_the_shell_is_offered_known_names():
    state = {"_AISYS_COMPLETE": "complete_bash", "COMP_WORDS": "aisys plan llama-3.1", "COMP_CWORD": "2"}
    code = "from aisys.cli import main; import sys; sys.argv = ['aisys']; main()"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **state}, capture_output=True, text=True)
    assert "llama-3.1-8b" in done.stdout.split()
