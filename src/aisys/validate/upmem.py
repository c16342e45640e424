"""Predicts tables of kind upmem: PrIM kernels on real UPMEM ranks, and the host's copies in and out.

Columns: set, bench, dpus, dpu_ms, cpu_dpu_ms, dpu_cpu_ms. Input sizes are those of the scripts that wrote the logs
(brisco007/vPIM, run_strong_full.py for full_results and run_vprim.py for results). Benchmarks that are no matmul or
stream, and sets whose sizes are not known, are skipped. The calibrated tier is the analytic one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from aisys.cost import Tier, cost
from aisys.frozen import FrozenMap
from aisys.ir import OpTable
from aisys.machine import Device, PimBank, load
from aisys.units import Sourced
from aisys.validate.prediction import Compared, Options, Prediction, no_interval
from aisys.validate.table import Table

DEVICE = "upmem-60"


@dataclass(frozen=True, slots=True)
class Stream:
    """A kernel that passes its elements once: what it reads and writes of each, and its copies in and out.

    bytes_out 0: results are copied back one bank after another, or are few; such copies are skipped.
    """

    function: str
    dtype: str
    read_bytes: int
    write_bytes: int
    bytes_in: int
    bytes_out: int


STREAMS: Mapping[str, Stream] = {
    "VA": Stream("add", "int32", 8, 4, 8, 4),
    "RED": Stream("reduce", "int64", 8, 0, 8, 0),
    "SCAN-SSA": Stream("scan_then_add", "int64", 16, 16, 8, 8),
    "SCAN-RSS": Stream("reduce_then_scan", "int64", 16, 8, 8, 8),
    "SEL": Stream("select", "int64", 8, 4, 8, 0),
    "UNI": Stream("unique", "int64", 8, 4, 8, 0),
}
"""Source: Gomez-Luna et al. 2022 (PrIM), section 5, and its code."""

SIZES: Mapping[str, Mapping[str, int]] = {
    "full_results": {
        "VA": 167772160, "RED": 419430400, "SCAN-SSA": 251658240, "SCAN-RSS": 251658240, "SEL": 251658240,
        "UNI": 251658240,
    },
    "results": {
        "VA": 104857600, "RED": 314572800, "SCAN-SSA": 251658240, "SCAN-RSS": 251658240, "SEL": 125829120,
        "UNI": 125829120,
    },
}  # fmt: skip
GEMV_SIZES: Mapping[str, tuple[int, int]] = {"full_results": (163840, 4096), "results": (8192, 76800)}
"""Outputs and inputs of the matrix-vector product, in 32-bit integers."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One row's op, and the bytes that the host copies (0: not predicted)."""

    table: OpTable
    bytes_in: int
    bytes_out: int


def kernel_of(log: str, bench: str, dpus: int) -> Kernel | None:
    """The kernel of one row; None where it is no matmul or stream, or its size is not known."""
    if bench == "GEMV" and log in GEMV_SIZES:
        n, k = GEMV_SIZES[log]
        formats: dict[str, Any] = dict.fromkeys(("a_dtype", "b_dtype", "out_dtype", "math"), "int32")
        table = OpTable.of("matmul", batch=1, m=1, n=n, k=k, b_is_weight=True, **formats)
        return Kernel(table, 4 * (n * k + k * dpus), 4 * n)
    count = SIZES.get(log, {}).get(bench)
    if count is None:
        return None
    what = STREAMS[bench]
    table = OpTable.of(
        "stream", read_bytes=what.read_bytes * count, write_bytes=what.write_bytes * count, flop=count, rows=1,
        cols=count, function=what.function, dtype=what.dtype,
    )  # fmt: skip
    return Kernel(table, what.bytes_in * count, what.bytes_out * count)


def device_of(dpus: int) -> Device:
    """The logged machine with so many of its banks at work."""
    device = load.device(DEVICE)
    bank = device.architecture
    assert isinstance(bank, PimBank)
    share = dpus / bank.num_banks
    memories = {
        name: replace(memory, bandwidth_bytes_per_s=_scaled(memory.bandwidth_bytes_per_s, share))
        for name, memory in device.memories.items()
    }
    architecture = replace(bank, num_banks=_scaled(bank.num_banks, share))
    return replace(device, architecture=architecture, memories=FrozenMap(memories))


def _scaled(number: Sourced, share: float) -> Sourced:
    return Sourced(number * share, source=number.source, kind=number.kind, key=number.key)


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """The kernel time of each row beside the measured one, in ms; the host's copies beside theirs."""
    dpus, logs, benches = table.counts("dpus"), table.texts("set"), table.texts("bench")
    names = ("dpu_ms", "cpu_dpu_ms", "dpu_cpu_ms")
    measured = {name: table.numbers(name, above=-1, empty=float("nan")) for name in names}
    predicted = {name: np.full(len(table), np.nan) for name in names}
    skipped: list[tuple[int, str]] = []
    for row, (log, bench, count) in enumerate(zip(logs, benches, dpus.tolist(), strict=True)):
        kernel = kernel_of(str(log), str(bench), count)
        if kernel is None:
            skipped.append((row, f"{bench} of {log} is no matmul or stream of known size"))
            continue
        device = device_of(count)
        bank = device.architecture
        assert isinstance(bank, PimBank)
        priced = cost(kernel.table, device, tier=tier)
        host_s = priced.traffic_bytes["host"][0] / bank.host_bytes_per_s
        predicted["dpu_ms"][row] = 1e3 * (priced.time_s[0] - host_s)
        for name, moved in (("cpu_dpu_ms", kernel.bytes_in), ("dpu_cpu_ms", kernel.bytes_out)):
            predicted[name][row] = 1e3 * moved / bank.host_bytes_per_s if moved else np.nan
    others = {name: _compared(predicted[name], measured[name]) for name in names[1:]}
    unmeasured = [(row, "no kernel time") for row in range(len(table)) if not measured["dpu_ms"][row] > 0]
    known = {row for row, _ in skipped}
    return Prediction(
        predicted=predicted["dpu_ms"], measured=measured["dpu_ms"], **no_interval(len(table)),
        skipped=(*skipped, *(u for u in unmeasured if u[0] not in known)), group_columns=("set", "bench", "dpus"),
        others=FrozenMap(others),
    )  # fmt: skip


def _compared(predicted: np.ndarray[Any, Any], measured: np.ndarray[Any, Any]) -> Compared:
    return Compared(predicted=predicted, measured=measured, **no_interval(len(predicted)))
