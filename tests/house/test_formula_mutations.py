"""A sign or a constant that changes in a formula makes some quick test fall."""

import ast
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import find_spec, spec_from_file_location
from io import StringIO
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
SWAPPED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult}
PER_FORMULA = 3
"""How many places of each formula are changed, spread over its length."""
PATIENCE_CPU_S = 30

LIMIT = ("property/test_compulsory_work.py",)
KERNELS = ("property/test_kernel_goldens.py",)
SMALL = ("property/test_small_formulas.py",)
SENDS = ("kit/test_collectives.py",)
OVERLAPPED = ("published/test_overlapped_arrays.py",)
IMAGES = ("property/test_image_plans.py",)
SHARED = ("property/test_dataflow_mirroring.py",)
FORMULAS = (
    ("cost/gpu/limit.py", "memory_s", LIMIT),
    ("cost/gpu/limit.py", "compute_s", LIMIT),
    ("cost/gpu/limit.py", "_matmul", LIMIT),
    ("cost/gpu/limit.py", "active_groups", LIMIT),
    ("cost/gpu/limit.py", "_grouped_matmul", LIMIT),
    ("cost/gpu/limit.py", "scores", LIMIT),
    ("cost/gpu/limit.py", "_attention", LIMIT),
    ("cost/gpu/matmul.py", "time", KERNELS),
    ("cost/gpu/matmul.py", "_fastest", (*KERNELS, "published/test_two_of_four.py")),
    ("cost/gpu/grouped_matmul.py", "time", KERNELS),
    ("cost/gpu/attention.py", "time", KERNELS),
    ("cost/gpu/attention.py", "_prefill", KERNELS),
    ("cost/gpu/attention.py", "_decode", KERNELS),
    ("cost/gpu/stream.py", "time", KERNELS),
    ("cost/gpu/energy.py", "joule", KERNELS),
    ("cost/loop_nest/zeros.py", "*", ("differential/test_loop_nest_zeros.py",)),
    ("ir/sparse_format.py", "*", ("property/test_densities.py",)),
    ("cost/systolic_array/exact.py", "*", ("published/test_systolic_formulas.py", *OVERLAPPED)),
    ("cost/systolic_array/overlapped.py", "time", OVERLAPPED),
    ("cost/systolic_array/overlapped.py", "crossing", OVERLAPPED),
    ("cost/systolic_array/overlapped.py", "_cycles", OVERLAPPED),
    ("cost/systolic_array/overlapped.py", "_serial", OVERLAPPED),
    ("cost/systolic_array/overlapped.py", "_repacking", OVERLAPPED),
    ("cost/systolic_array/overlapped.py", "_cached_far", OVERLAPPED),
    ("cost/systolic_array/sparse.py", "*", OVERLAPPED),
    ("cost/systolic_array/sharing.py", "*", SHARED),
    ("search/dataflow_mirroring.py", "*", SHARED),
    ("search/forward_pass.py", "_passing", IMAGES),
    ("search/forward_pass.py", "report", IMAGES),
    ("search/stages.py", "passing", IMAGES),
    ("cost/fpga/layers.py", "_of_conv", IMAGES),
    ("validate/tpu_v1.py", "rates", ("published/test_tpu_measured.py",)),
    ("cost/gpu/limit.py", "input_elements", ("property/test_convolutions.py",)),
    ("cost/gpu/limit.py", "_conv", ("property/test_convolutions.py",)),
    ("collective/types.py", "time_s", SMALL),
    ("collective/algorithm/ring_all_reduce.py", "*", SENDS),
    ("collective/algorithm/halving_doubling_all_reduce.py", "*", SENDS),
    ("lower/memory.py", "state_ways", SMALL),
    ("lower/memory.py", "in_flight", SMALL),
    ("lower/memory.py", "device_bytes", SMALL),
    ("lower/memory.py", "_whole_bytes", SMALL),
    ("lower/tail.py", "windows", SMALL),
    ("lower/tail.py", "exposed", SMALL),
    ("lower/schedule/one_f_one_b.py", "*", ("kit/test_schedules.py",)),
    ("lower/schedule/interleaved.py", "*", ("kit/test_schedules.py",)),
    ("ir/rules.py", "_matmul_flop", ("published/test_model_configurations.py",)),
    ("validate/summary.py", "*", ("property/test_error_summaries.py",)),
)
"""File, function ("*": the whole file) and the quick tests of formulas that results rest on.

Not among them: lower/tail.py, optimizer, since the flop and elements of an update bound its time on no device.
"""

TEXT = (ast.JoinedStr, ast.List)


class Mutant(NamedTuple):
    """A file of the package with one place changed."""

    file: str
    text: str
    what: str
    tests: tuple[str, ...]


class Places(ast.NodeVisitor):
    """Collects the nodes of a formula that can be changed: operators, and numbers that are neither index nor text."""

    def __init__(self) -> None:
        self.found: list[ast.BinOp | ast.Constant] = []

    def visit_BinOp(self, node: ast.BinOp) -> None:
        sides = node.left, node.right
        if type(node.op) in SWAPPED and not any(isinstance(side, TEXT) or is_guard(side) for side in sides):
            self.found.append(node)
        for side in sides:
            if isinstance(side, ast.Constant) and type(side.value) in (int, float) and not is_guard(side):
                self.found.append(side)
            self.visit(side)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Text is no formula."""

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.visit(node.value)

    def visit_arguments(self, node: ast.arguments) -> None:
        """Annotations and defaults are no formula."""


class Changed(MetaPathFinder, SourceFileLoader):
    """Imports one module of the package from another text; as a loader it stands for that text."""

    def __init__(self, mutant: Mutant) -> None:
        name = "aisys." + mutant.file.removesuffix(".py").replace("/", ".")
        SourceFileLoader.__init__(self, name.removesuffix(".__init__"), str(source(mutant.file)))
        self.text = mutant.text

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        return spec_from_file_location(name, self.path, loader=self) if name == self.name else None

    def get_code(self, name: str) -> CodeType:
        return compile(self.text, self.path, "exec")


def source(file: str) -> Path:
    """A file of the package, which is not imported for that: each mutant needs a process that has not seen it."""
    package = find_spec("aisys")
    assert package
    assert package.origin
    return Path(package.origin).parent / file


def is_guard(node: ast.expr) -> bool:
    """Whether it is a number that only keeps a logarithm or a division away from zero."""
    return isinstance(node, ast.Constant) and isinstance(node.value, float) and 0 < node.value < 1e-9


def places(tree: ast.Module, function: str) -> list[ast.BinOp | ast.Constant]:
    """The places of `function`, evenly spread, PER_FORMULA of them."""
    visitor = Places()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and function in (node.name, "*"):
            for statement in node.body:
                visitor.visit(statement)
    found = list(dict.fromkeys(visitor.found))
    assert found, f"{function} has no formula"
    step = max(1, len(found) // PER_FORMULA)
    return found[step // 2 :: step][:PER_FORMULA]


def mutants() -> Iterator[Mutant]:
    for file, function, tests in FORMULAS:
        text = source(file).read_text(encoding="utf-8")
        for number in range(len(places(ast.parse(text), function))):
            tree = ast.parse(text)
            node = places(tree, function)[number]
            before = ast.unparse(node)
            if isinstance(node, ast.BinOp):
                node.op = SWAPPED[type(node.op)]()
            else:
                node.value = node.value * 2 or 1
            what = f"{file}, {function}, line {node.lineno}: {before} became {ast.unparse(node)}"
            yield Mutant(file, ast.unparse(tree), what, tests)


def give_up(*_: object) -> None:
    raise TimeoutError("this no longer ends")


def is_noticed(mutant: Mutant) -> bool:
    """Whether a test falls; runs in a process of its own. Examples are the same each time, and none is kept.

    A loop that no longer ends is stopped after PATIENCE_CPU_S, and a test falls by that.
    """
    from hypothesis import Phase, settings

    signal.signal(signal.SIGVTALRM, give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, PATIENCE_CPU_S)
    sys.meta_path.insert(0, Changed(mutant))
    settings.register_profile(
        "mutants", database=None, derandomize=True, deadline=None, phases=[Phase.explicit, Phase.generate]
    )
    settings.load_profile("mutants")
    files = [str(ROOT / "tests" / file) for file in mutant.tests]
    printed = StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"), *files])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED):
        raise RuntimeError(printed.getvalue())
    return code != pytest.ExitCode.OK


@pytest.mark.slow
def test_a_changed_formula_is_noticed() -> None:
    """Processes are forked from one that has loaded what is slow to load, but no file of the package."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["numpy", "numba", "hypothesis", "pytest", "rich.table", "typer"])
    every = list(mutants())
    untouched = {m.file: m._replace(text=source(m.file).read_text(encoding="utf-8")) for m in every}
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context, max_tasks_per_child=1) as pool:
        noticed = dict(zip((m.what for m in every), pool.map(is_noticed, every), strict=True))
        assert not any(pool.map(is_noticed, untouched.values())), "a test falls before anything is changed"
    survivors = [what for what, fell in noticed.items() if not fell]
    assert not survivors, "no quick test falls where\n" + "\n".join(survivors)
