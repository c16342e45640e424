"""Processors beside DRAM banks (UPMEM): instructions and block transfers of the busiest bank, and the host between.

A bank's threads share one pipeline in turns: a thread issues once per `cycles_per_instruction_per_thread`, so few
threads leave slots empty. Bank memory moves in blocks, one at a time, while other threads compute. Weights and streamed
data lie in the banks already; inputs and results of a matmul, and every byte from one bank to another, pass the host.
Source: Gomez-Luna et al. 2022 (PrIM, IEEE Access), sections 3 and 4. Not modelled: transfers of unequal sizes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aisys.cost.gpu.timing import Floats, by_name, bytes_per_element
from aisys.cost.traversal import imbalance, remote_bytes
from aisys.cost.types import CostTable, Tier
from aisys.errors import Unsupported
from aisys.frozen import FrozenMap
from aisys.ir import AccessRecord, OpTable, Phase, Stream, dtype
from aisys.machine import Device, PimBank
from aisys.units import Sourced

_LEAST_BLOCK_BYTES, _MOST_BLOCK_BYTES = 8, 2048
"""The shortest and longest transfer between bank and scratchpad. Source: Gomez-Luna et al. 2022 (PrIM), section 3.2."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Load:
    """What each row asks for: arrays [rows].

    slots, dma_cycles: instructions and block transfers of the busiest bank. cycles: the two together, as threads take
    turns. all_slots: instructions of all banks. bank_bytes: read and written in all banks; host_bytes: past the host.
    """

    slots: Floats
    dma_cycles: Floats
    cycles: Floats
    all_slots: Floats
    bank_bytes: Floats
    host_bytes: Floats


def price(table: OpTable, device: Device, *, tier: Tier = "analytic") -> CostTable:
    """Time, energy and traffic of every row of `table` on the banks of `device`.

    Raises Unsupported for an op kind, or an operation in a number format, that the banks have no instructions for.
    """
    if table.kind not in _LOADS:
        raise Unsupported(f"PIM banks have no cost model for op kind {table.kind!r}; they have {', '.join(_LOADS)}")
    load, keys = _LOADS[table.kind](table, device)
    bank, memory = _bank(device), device.main_memory
    clock, banks = float(bank.clock_hz), float(bank.num_banks)
    host = load.host_bytes / float(bank.host_bytes_per_s)
    least_compute, least_memory = (
        load.all_slots / (clock * banks),
        load.bank_bytes / float(memory.bandwidth_bytes_per_s),
    )
    least = np.maximum(np.maximum(least_compute, least_memory), host)
    if tier == "limit":
        time, compute, transfers = least, least_compute, least_memory
    else:
        time = np.maximum(load.cycles / clock + host, least)
        compute, transfers = load.slots / clock, load.dma_cycles / clock
    energy = (
        load.all_slots * float(bank.energy_joule_per_cycle)
        + load.bank_bytes * float(memory.energy_joule_per_byte)
        + time * float(device.idle_watt)
    )
    read = (
        bank.num_banks, bank.num_threads, bank.clock_hz, bank.cycles_per_instruction_per_thread, bank.scratchpad_bytes,
        bank.dma_setup_cycles, bank.dma_bytes_per_cycle, bank.host_bytes_per_s, bank.energy_joule_per_cycle,
        memory.bandwidth_bytes_per_s, memory.energy_joule_per_byte, device.idle_watt,
    )  # fmt: skip
    nowhere = np.full(len(table), np.nan)
    return CostTable(
        time_s=time, energy_joule=energy,
        traffic_bytes=FrozenMap({memory.name: load.bank_bytes, "host": load.host_bytes}),
        bound=np.array(["compute", "memory", "host"])[np.argmax([compute, transfers, host], axis=0)],
        error_low=nowhere, error_high=nowhere, counts=FrozenMap(slots=load.all_slots, dma_cycles=load.dma_cycles),
        keys=frozenset(keys | {number.key for number in read}),
    )  # fmt: skip


def _bank(device: Device) -> PimBank:
    bank = device.architecture
    assert isinstance(bank, PimBank)
    return bank


def _slots_of(bank: PimBank, operation: str) -> Sourced:
    """Issue slots of one operation. Raises Unsupported where the banks have no instructions for it."""
    if operation not in bank.instructions:
        known = ", ".join(sorted(bank.instructions))
        raise Unsupported(f"these PIM banks do not say what {operation} takes; they know {known}")
    return bank.instructions[operation]


def _block_bytes(bank: PimBank) -> float:
    """The block that each thread moves: two of them per thread in the scratchpad, a power of two, at most 2 KiB."""
    share = float(bank.scratchpad_bytes) / (2 * float(bank.num_threads))
    return float(min(2.0 ** np.floor(np.log2(share)), _MOST_BLOCK_BYTES))


def _streamed(bank: PimBank, num_bytes: Floats | float) -> Floats:
    """Cycles of moving so many bytes in full blocks."""
    per_byte = float(bank.dma_setup_cycles) / _block_bytes(bank) + 1 / float(bank.dma_bytes_per_cycle)
    return np.asarray(num_bytes * per_byte)


def _cycles(bank: PimBank, slots: Floats | float, dma: Floats | float, threads: float) -> Floats:
    """The pipeline, the transfers, or each thread's own turns: whichever takes longest."""
    in_turns = (float(bank.cycles_per_instruction_per_thread) * slots + dma) / threads
    return np.maximum(np.maximum(slots, dma), in_turns)


def _matmul(table: OpTable, device: Device) -> tuple[Load, set[str]]:
    """Columns of b spread over the banks; the rows of a that fit half a scratchpad share one pass over them."""
    bank = _bank(device)
    batch, m, n, k = (table[name].astype(float) for name in ("batch", "m", "n", "k"))
    a, b, out = (bytes_per_element(table[f"{name}_dtype"]) for name in ("a", "b", "out"))
    columns = np.ceil(batch * n / float(bank.num_banks))
    used = np.ceil(batch * n / columns)
    family = np.array([f"mac_{dtype(str(math)).family}" for math in table["math"]])
    per_mac = by_name(family, lambda name: float(_slots_of(bank, name)))
    rows_held = np.clip(np.floor(float(bank.scratchpad_bytes) / 2 / (k * a)), 0, m)
    passes = np.ceil(m / np.maximum(rows_held, 1))
    again = np.where(rows_held < 1, columns * m * k * a, m * k * a)
    moved = columns * k * b * passes + again + columns * m * out
    slots = columns * m * k * per_mac
    dma = _streamed(bank, moved)
    inputs = np.maximum(used, batch) * m * k * a + np.where(table["b_is_weight"], 0.0, batch * k * n * b)
    load = Load(
        slots=slots, dma_cycles=dma, cycles=_cycles(bank, slots, dma, float(bank.num_threads)),
        all_slots=batch * m * n * k * per_mac, bank_bytes=moved * used, host_bytes=inputs + batch * m * n * out,
    )  # fmt: skip
    return load, {_slots_of(bank, name).key for name in set(family.tolist())}


def _stream(table: OpTable, device: Device) -> tuple[Load, set[str]]:
    """Elements spread over the banks, each read and written once; a function without slots of its own is additions."""
    bank = _bank(device)
    elements = (table["rows"] * table["cols"]).astype(float)
    family = [dtype(str(name)).family for name in table["dtype"]]
    own = np.array([f"{f}_{d}" for f, d in zip(table["function"], family, strict=True)])
    has_own = np.isin(own, list(bank.instructions))
    operation = np.where(has_own, own, np.array([f"add_{d}" for d in family]))
    count = np.where(has_own, elements, table["flop"])
    used = np.unique(operation[count > 0]).tolist()
    slots = count * by_name(operation, lambda name: float(_slots_of(bank, name)) if name in used else 0.0)
    moved = table["read_bytes"] + table["write_bytes"]
    share = np.ceil(elements / float(bank.num_banks)) / elements
    dma = _streamed(bank, moved * share)
    load = Load(
        slots=slots * share, dma_cycles=dma, cycles=_cycles(bank, slots * share, dma, float(bank.num_threads)),
        all_slots=slots, bank_bytes=moved, host_bytes=np.zeros(len(table)),
    )  # fmt: skip
    return load, {_slots_of(bank, name).key for name in used}


def _traversal(table: OpTable, device: Device) -> tuple[Load, set[str]]:
    """Vertices spread over the banks in equal ranges, phase by phase; checks of other banks' vertices pass the host."""
    bank = _bank(device)
    records: list[AccessRecord] = list(table["record"])
    loads = [np.sum([_phase(phase, bank) for phase in record.phases], axis=0) for record in records]
    columns = np.array(loads, dtype=float).reshape(-1, 6).T
    operations = {kind for r in records for p in r.phases for kind in p.op_counts if kind != "rare_branch"}
    keys = {_slots_of(bank, operation).key for operation in operations | {"load_store"}}
    names = ("slots", "dma_cycles", "cycles", "all_slots", "bank_bytes", "host_bytes")
    return Load(**dict(zip(names, columns, strict=True))), keys


def _phase(phase: Phase, bank: PimBank) -> tuple[float, ...]:
    """The fields of a Load for one phase. Branches cost no more than their instruction: nothing is predicted."""
    banks = float(bank.num_banks)
    busiest = imbalance(phase.traffic, int(banks))
    counted = {kind: count for kind, count in phase.op_counts.items() if kind != "rare_branch"}
    operations = sum(count * float(_slots_of(bank, kind)) for kind, count in counted.items())
    accesses = sum(stream.accesses for stream in phase.streams)
    slots = operations + accesses * float(_slots_of(bank, "load_store"))
    even = sum(stream.accesses for stream in phase.streams if _is_even(stream)) / accesses
    factor = even + (1 - even) * busiest
    moved = [(_transfers(stream, bank), 1.0 if _is_even(stream) else busiest) for stream in phase.streams]
    dma = sum(cycles * times for (cycles, _), times in moved) / banks
    threads = min(float(bank.num_threads), max(1.0, phase.parallel_slack / banks))
    cycles = float(_cycles(bank, slots * factor / banks, dma, threads))
    num_bytes = sum(count for (_, count), _ in moved)
    return slots * factor / banks, dma, cycles, slots, num_bytes, 2 * remote_bytes(phase.traffic, int(banks))


def _is_even(stream: Stream) -> bool:
    """Whether the stream can be cut anywhere, so that every bank gets the same share."""
    return stream.pattern == "sequential" and stream.num_runs == 1


def _transfers(stream: Stream, bank: PimBank) -> tuple[float, float]:
    """Cycles of all block transfers of a stream, over all banks, and the bytes that they move.

    Gathers over no more than half a scratchpad per bank load it once; others are one transfer each.
    """
    setup, per_cycle = float(bank.dma_setup_cycles), float(bank.dma_bytes_per_cycle)
    asked = float(stream.accesses * stream.grain_bytes)
    if stream.pattern in ("sequential", "strided"):
        count = max(asked / _block_bytes(bank), float(stream.num_runs))
    elif stream.footprint_bytes / float(bank.num_banks) <= float(bank.scratchpad_bytes) / 2:
        asked = float(stream.footprint_bytes)
        count = asked / _block_bytes(bank)
    else:
        count = float(stream.accesses)
    moved = max(asked, count * _LEAST_BLOCK_BYTES)
    return count * setup + moved / per_cycle, moved


_LOADS: dict[str, Callable[[OpTable, Device], tuple[Load, set[str]]]] = {
    "matmul": _matmul,
    "stream": _stream,
    "traversal": _traversal,
}
