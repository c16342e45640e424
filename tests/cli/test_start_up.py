"""The program starts fast, says what it is, and ends as it promises."""

import resource
import subprocess
import sys

COMMANDS = ("plan", "op", "explain", "diff", "validate", "run", "study", "show", "list", "new")
HEAVY = ("numpy", "numba", "plotly", "torch", "scipy")


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
    assert min(cpu_s_of(*command) for _ in range(3)) < 0.3


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
