"""The thin rivers besides GPUs: systolic arrays, UPMEM banks, a search on one core, rounded weights."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

import aisys
from aisys.cost import cost
from aisys.ir import OpTable
from aisys.kernel import bfs
from aisys.kernel.csr import kronecker
from aisys.machine import PimBank
from aisys.technique.weight_quantization import WeightQuantization
from aisys.validate import read_table, run
from aisys.validate.upmem import device_of, kernel_of

TABLES = Path(os.environ.get("AISYS_TABLES", ""))
SYSTOLIC = ("scalesim_gemm", "scalesim_resnet18")
SCALES, NUM_SOURCES = (18, 20), 8
UNFITTED = ("VA", "RED", "GEMV")

HEAD = """## Systolic arrays, near-memory banks, graphs, rounded weights

First versions behind the shared nouns, without targets yet and without intervals (`error` is None).

| figure | reached | target | rows | command |
|---|---|---|---|---|
"""

FOOT = """
The UPMEM device `upmem-60` holds one number per kernel, fitted on that kernel's only row here: those rows test nothing,
so the line above predicts three of them without any fit, from PrIM's published slots. What is known to be left out: the
clock of the logged machine is not stated (350 MHz is assumed), and its 32-bit multiplication ends early on small
numbers. The search is priced without any fitted constant, on graphs made to the same specification from other sources
than the measured ones; address translation, and branches that wait for what they read, are left out. SCALE-Sim rows are
simulated, not measured."""


def section() -> str:
    """The section in Markdown."""
    lines = [*_systolic(), _upmem(), *_searches(), _rounding()]
    return HEAD + "\n".join(lines) + "\n" + FOOT


def _systolic() -> list[str]:
    lines = []
    for name in SYSTOLIC:
        result = run(TABLES / "oracle" / f"{name}.csv")
        rows = result.errors.rows if result.errors else 0
        lines.append(
            f"| cycles and buffer accesses equal SCALE-Sim 3.0.0 (simulated) | {result.exact} of {rows} | all | {rows} "
            f"| `aisys validate {name}.csv` |"
        )
    return lines


def _upmem() -> str:
    """PrIM kernels with the slots that its authors published, nothing fitted."""
    table = read_table(TABLES / "measured" / "upmem_prim.csv")
    known = aisys.device("upmem").architecture
    device = device_of(60)
    bank = device.architecture
    assert isinstance(known, PimBank)
    assert isinstance(bank, PimBank)
    unfitted = replace(device, architecture=replace(bank, instructions=known.instructions))
    times = dict(zip(table.texts("bench"), table.numbers("dpu_ms", empty=np.nan), strict=True))
    ratios = []
    for bench in UNFITTED:
        kernel = kernel_of("full_results", bench, 60)
        assert kernel is not None
        priced = cost(kernel.table, unfitted)
        seconds = priced.time_s[0] - priced.traffic_bytes["host"][0] / bank.host_bytes_per_s
        ratios.append(f"{bench} {1e3 * seconds / times[bench]:.2f}")
    return (
        f"| PrIM kernels on 60 DPUs, nothing fitted: predicted / measured | {', '.join(ratios)} | - | {len(UNFITTED)} "
        "| `python benchmarks/make_accuracy.py` |"
    )


def _searches() -> list[str]:
    """Breadth-first search on one core, mean over sources, against two programs on the same kind of core."""
    table = read_table(TABLES / "measured" / "graph_kernels_one_core.csv")
    rows = list(
        zip(table.texts("graph"), table.texts("tool"), table.texts("kernel"), table.numbers("cpu_ms"), strict=True)
    )
    lines = []
    for scale in SCALES:
        gapbs = next(ms for g, tool, kernel, ms in rows if (g, tool) == (f"k{scale}", "gapbs") and "bfs" in kernel)
        numba = next(ms / 8 for g, tool, kernel, ms in rows if (g, tool) == (f"k{scale}", "numba") and "bfs" in kernel)
        predicted = _search_ms(scale)
        lines.append(
            f"| search of a Kronecker graph of scale {scale} on one core: predicted / measured "
            f"| {predicted / gapbs:.2f} of GAPBS, {predicted / numba:.2f} of numba | - | 2 "
            "| `python benchmarks/make_accuracy.py` |"
        )
    return lines


def _search_ms(scale: int) -> float:
    graph = kronecker(scale)
    sources = np.random.default_rng(scale).choice(np.flatnonzero(np.diff(graph.offsets)), NUM_SOURCES)
    records = [bfs.record(graph, bfs.run(graph, int(source))) for source in sources]
    return 1e3 * float(cost(OpTable.of("traversal", record=records), aisys.device("xeon-core")).time_s.mean())


def _rounding() -> str:
    """The error of really rounded weights against a uniform error of one step."""
    weights = np.random.default_rng(0).standard_normal((4096, 4096)).astype(np.float32)
    packed = WeightQuantization(bits=8, group=128).pack("w", weights)
    error = np.abs(packed.unpack() - weights) / packed.steps
    rms = float(np.sqrt((error**2).mean()) * np.sqrt(12))
    return (
        "| int8 weights, group 128: largest error in steps; root mean square over step / sqrt(12) "
        f"| {error.max():.4f}; {rms:.3f} | 0.5; 1 | {weights.size:,} weights | `python benchmarks/make_accuracy.py` |"
    )
