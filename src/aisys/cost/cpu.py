"""Processors: a roofline for dense ops; caches, outstanding misses and branches for traversals.

Not modelled: translation misses, contention between cores in the shared cache, frequency that depends on load.
"""

from dataclasses import dataclass

import numpy as np

from aisys.cost.gpu import limit
from aisys.cost.gpu.timing import Floats, by_name
from aisys.cost.traversal import compulsory_bytes, held
from aisys.cost.types import CostTable, Tier
from aisys.errors import Unsupported
from aisys.frozen import FrozenMap
from aisys.ir import OpTable
from aisys.ir.record import LINE_BYTES, AccessRecord, Phase, Stream
from aisys.machine import Cpu, Device
from aisys.units import Sourced

_KINDS = ("matmul", "grouped_matmul", "conv", "attention", "stream", "traversal")


def price(table: OpTable, device: Device, *, tier: Tier = "analytic") -> CostTable:
    """Time, energy and traffic of every row of `table` on processor `device`.

    Raises Unsupported for an op kind or a number format without a model.
    """
    if table.kind not in _KINDS:
        raise Unsupported(f"a CPU has no cost model for op kind {table.kind!r}; it has {', '.join(_KINDS)}")
    if table.kind == "traversal":
        return _traversals(table, device, tier)
    cpu = device.architecture
    assert isinstance(cpu, Cpu)
    work = limit.work(table)
    moved = work.read_bytes + work.write_bytes
    share = 1.0 if tier == "limit" else float(_constant(device, "memory_efficiency"))
    compute = work.flop / by_name(work.math, lambda math: _flop_per_s(device, math))
    memory = moved / (float(device.main_memory.bandwidth_bytes_per_s) * share)
    keys = {peak.key for math, peak in cpu.flop_per_s.items() if math in set(work.math)}
    keys |= set() if tier == "limit" else {_constant(device, "memory_efficiency").key}
    return _table(device, (compute, memory, np.maximum(compute, memory)), moved, np.ones(len(table)), keys)


def _flop_per_s(device: Device, math: str) -> float:
    cpu = device.architecture
    assert isinstance(cpu, Cpu)
    if not math:
        return np.inf
    if math not in cpu.flop_per_s:
        raise Unsupported(f"{device.name} has no {math} arithmetic; it has {', '.join(cpu.flop_per_s)}")
    return float(cpu.flop_per_s[math])


def _constant(device: Device, name: str) -> Sourced:
    cpu = device.architecture
    assert isinstance(cpu, Cpu)
    if name not in cpu.constants:
        raise Unsupported(f"{device.name} does not say its {name}; add constants.{name} to its file")
    return cpu.constants[name]


def _table(
    device: Device, times: tuple[Floats, Floats, Floats], moved: Floats, busy_share: Floats, keys: set[str]
) -> CostTable:
    """times: of computing, of memory, and of both together. busy_share: share of the cores that work."""
    compute, memory, time = times
    watt = device.idle_watt + (device.max_watt - device.idle_watt) * busy_share
    main = device.main_memory
    read = (main.bandwidth_bytes_per_s, main.energy_joule_per_byte, device.idle_watt, device.max_watt)
    nowhere = np.full(len(time), np.nan)
    return CostTable(
        time_s=time, energy_joule=watt * time + moved * float(main.energy_joule_per_byte),
        traffic_bytes=FrozenMap({main.name: moved}), bound=np.where(compute >= memory, "compute", "memory"),
        error_low=nowhere, error_high=nowhere, counts=FrozenMap(),
        keys=frozenset(keys | {number.key for number in read}),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Core:
    """What one core does per cycle and how far away each memory is: innermost cache first, main memory last."""

    num_cores: int
    clock_hz: float
    slots_per_cycle: float
    mispredict_cycles: float
    cache_bytes: tuple[float, ...]
    latency_s: tuple[float, ...]
    outstanding: float
    prefetched: float
    bandwidth_bytes_per_s: float
    barrier_s: float


def core_of(device: Device) -> tuple[Core, set[str]]:
    """The core of `device` and the keys of its numbers. Raises Unsupported where its file lacks one."""
    cpu, memory = device.architecture, device.main_memory
    assert isinstance(cpu, Cpu)
    names = ["slots_per_cycle", "mispredict_cycles", "prefetched_misses", "memory_efficiency", "barrier_s"]
    caches = [f"cache_latency_s.{level}" for level in range(len(cpu.cache_bytes))]
    found = {name: _constant(device, name) for name in (*names, *caches)}
    read = (cpu.num_cores, cpu.clock_hz, cpu.outstanding_misses, *cpu.cache_bytes, memory.latency_s, *found.values())
    core = Core(
        num_cores=int(cpu.num_cores), clock_hz=float(cpu.clock_hz), slots_per_cycle=float(found["slots_per_cycle"]),
        mispredict_cycles=float(found["mispredict_cycles"]), cache_bytes=tuple(float(c) for c in cpu.cache_bytes),
        latency_s=(*(float(found[name]) for name in caches), float(memory.latency_s)),
        outstanding=float(cpu.outstanding_misses), prefetched=float(found["prefetched_misses"]),
        bandwidth_bytes_per_s=float(memory.bandwidth_bytes_per_s * found["memory_efficiency"]),
        barrier_s=float(found["barrier_s"]),
    )  # fmt: skip
    return core, {number.key for number in read}


def _traversals(table: OpTable, device: Device, tier: Tier) -> CostTable:
    core, keys = core_of(device)
    records: list[AccessRecord] = list(table["record"])
    moved = np.array([compulsory_bytes(record) for record in records])
    slots = np.array([sum(_slots(p) for p in r.phases) for r in records], dtype=float)
    compute = slots / (core.slots_per_cycle * core.clock_hz * core.num_cores)
    memory = moved / float(device.main_memory.bandwidth_bytes_per_s)
    floor = np.maximum(compute, memory)
    if tier == "limit":
        return _table(device, (compute, memory, floor), moved, np.ones(len(table)), keys)
    done = [[_phase(phase, core) for phase in record.phases] for record in records]
    compute, memory, lines, busy = (np.array([sum(p[i] for p in phases) for phases in done]) for i in range(4))
    barriers = np.array([len(phases) for phases in done]) * (core.barrier_s if core.num_cores > 1 else 0.0)
    time = np.maximum(compute + memory + barriers, floor)
    moved = np.maximum(moved, lines * LINE_BYTES)
    return _table(device, (compute, memory, time), moved, busy / (time * core.num_cores), keys)


def _slots(phase: Phase) -> int:
    """Instructions of a phase: its operations and one load or store per access."""
    operations = sum(count for kind, count in phase.op_counts.items() if kind != "rare_branch")
    return operations + sum(stream.accesses for stream in phase.streams)


def _phase(phase: Phase, core: Core) -> tuple[float, float, float, float]:
    """Compute and memory time, lines from main memory, and core-seconds of a phase.

    A branch that goes the rare way is mispredicted, and what it waits for is not overlapped: the two times add up.
    """
    cores = max(1, min(core.num_cores, phase.parallel_slack))
    cycles = _slots(phase) / core.slots_per_cycle + phase.op_counts.get("rare_branch", 0) * core.mispredict_cycles
    compute = cycles / (core.clock_hz * cores)
    waits = [_waits(stream, core) for stream in phase.streams]
    lines = sum(count for _, count in waits)
    memory = max(sum(wait for wait, _ in waits) / cores, lines * LINE_BYTES / core.bandwidth_bytes_per_s)
    return compute, memory, lines, (compute + memory) * cores


def _waits(stream: Stream, core: Core) -> tuple[float, float]:
    """Seconds that one core waits for a stream beyond its innermost cache, and the lines from main memory."""
    missing = [stream.accesses * (1 - held(stream, size)) for size in core.cache_bytes]
    from_level = [*(-np.diff(missing)), missing[-1]]
    overlap = {"sequential": core.prefetched, "strided": core.prefetched, "gather": core.outstanding, "chase": 1.0}
    latency = sum(count * wait for count, wait in zip(from_level, core.latency_s[1:], strict=True))
    return float(latency / overlap[stream.pattern]), float(missing[-1])
