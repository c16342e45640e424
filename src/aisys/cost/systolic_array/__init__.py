"""Systolic arrays: a rigid grid cycle by cycle (`exact`), or what a real chip does that overlaps folds (`overlapped`).

The device's `timing` says which.
"""

from dataclasses import dataclass

import numpy as np

from aisys.cost.gpu import limit
from aisys.cost.gpu.timing import Floats, Names
from aisys.cost.systolic_array import exact, overlapped, sparse
from aisys.cost.systolic_array.exact import DATAFLOWS, Run, run
from aisys.cost.systolic_array.products import PRODUCTS, Matmuls, products
from aisys.cost.types import CostTable, Tier
from aisys.errors import Unsupported, unknown_name
from aisys.frozen import FrozenMap
from aisys.ir import OpTable
from aisys.machine import Device, Memory, SystolicArray

__all__ = ["DATAFLOWS", "TIMINGS", "Matmuls", "Run", "exact", "overlapped", "price", "products", "run", "sparse"]

TIMINGS = ("exact", "overlapped")


def price(table: OpTable, device: Device, *, tier: Tier = "analytic") -> CostTable:
    """Time, energy, traffic and buffer accesses of every row of `table` on systolic array `device`.

    Raises Unsupported for an op kind without a mapping to the grid, UnknownName for a timing that is not known.
    """
    array = device.architecture
    assert isinstance(array, SystolicArray)
    if array.timing not in TIMINGS:
        raise unknown_name("timing", array.timing, TIMINGS)
    if table.kind not in (*PRODUCTS, "stream"):
        raise Unsupported(
            f"a systolic array has no cost model for op kind {table.kind!r}; it has {', '.join((*PRODUCTS, 'stream'))}"
        )
    if tier == "limit":
        return _cost_table(device, _limit(table, device))
    return _cost_table(device, _OF_TIMING[array.timing](table, device))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Work:
    """What each row takes and moves; error: factors of the 90 % interval."""

    time_s: Floats
    bound: Names
    main_bytes: Floats
    buffer_bytes: Floats
    macs: Floats
    counts: dict[str, Floats]
    error: tuple[Floats, Floats]
    keys: frozenset[str] = frozenset()


def _limit(table: OpTable, device: Device) -> _Work:
    """Every unit busy, and every byte moved once; an overlapped chip may find activations in its vector memory."""
    array = device.architecture
    assert isinstance(array, SystolicArray)
    least = limit.work(table)
    moved = least.read_bytes + least.write_bytes
    far = overlapped.least_bytes(table, device) if array.timing == "overlapped" else moved
    macs = np.asarray(sum(part.macs for part in products(table)), float) * np.ones(len(table))
    compute = macs / float(array.rows * array.cols * array.num_arrays * array.clock_hz)
    memory = far / float(device.main_memory.bandwidth_bytes_per_s)
    if array.timing == "overlapped":
        memory = np.maximum(memory, moved / float(_buffer(device).bandwidth_bytes_per_s))
    return _Work(
        time_s=np.maximum(compute, memory), bound=np.where(compute >= memory, "compute", "memory"), main_bytes=far,
        buffer_bytes=moved, macs=macs, counts={}, error=_nowhere(table),
    )  # fmt: skip


def _exact(table: OpTable, device: Device) -> _Work:
    array = device.architecture
    assert isinstance(array, SystolicArray)
    done = exact.run_table(table, array, _buffer(device))
    compute = done.cycles / float(array.clock_hz)
    memory = done.main_bytes / float(device.main_memory.bandwidth_bytes_per_s)
    return _Work(
        time_s=np.maximum(compute, memory), bound=np.where(compute >= memory, "compute", "memory"),
        main_bytes=done.main_bytes, buffer_bytes=done.buffer_bytes, macs=done.macs, counts=done.counts,
        error=_nowhere(table),
    )  # fmt: skip


def _overlapped(table: OpTable, device: Device) -> _Work:
    if any(bool(np.any(np.asarray(part.of) > 1)) for part in products(table)):
        raise Unsupported(f"{device.name} multiplies every weight, N:M or not; use a dense format, or timing exact")
    done = overlapped.time(table, overlapped.in_program(table), device)
    least = limit.work(table)
    return _Work(
        time_s=np.maximum(done.time_s, _limit(table, device).time_s), bound=done.bound, main_bytes=done.main_bytes,
        buffer_bytes=least.read_bytes + least.write_bytes, macs=np.asarray(least.flop / 2), counts=done.counts,
        error=done.error, keys=done.keys,
    )  # fmt: skip


_OF_TIMING = {"exact": _exact, "overlapped": _overlapped}


def _nowhere(table: OpTable) -> tuple[Floats, Floats]:
    return np.full(len(table), np.nan), np.full(len(table), np.nan)


def _buffer(device: Device) -> Memory:
    return next(iter(device.memories.values()))


def _cost_table(device: Device, work: _Work) -> CostTable:
    array = device.architecture
    assert isinstance(array, SystolicArray)
    main, buffer = device.main_memory, _buffer(device)
    energy = (
        work.macs * float(array.energy_joule_per_mac)
        + work.buffer_bytes * float(buffer.energy_joule_per_byte)
        + work.main_bytes * float(main.energy_joule_per_byte)
        + work.time_s * float(device.idle_watt)
    )
    read = (
        array.rows, array.cols, array.num_arrays, array.clock_hz, array.energy_joule_per_mac, device.idle_watt,
        main.bandwidth_bytes_per_s, main.energy_joule_per_byte, buffer.capacity_bytes, buffer.energy_joule_per_byte,
    )  # fmt: skip
    return CostTable(
        time_s=work.time_s, energy_joule=energy, bound=work.bound,
        traffic_bytes=FrozenMap({buffer.name: work.buffer_bytes, main.name: work.main_bytes}),
        error_low=work.error[0], error_high=work.error[1], counts=FrozenMap(work.counts),
        keys=frozenset(number.key for number in read) | work.keys,
    )  # fmt: skip
