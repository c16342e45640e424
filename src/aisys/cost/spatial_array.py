"""Spatial arrays: each distinct op is mapped once onto the memories and the array, and priced by its loop nest.

A row is one einsum (two for attention, whose scores stay in the array's last shared memory as far as they fit). The
mapping is the fastest, and of those the one of least energy (`loop_nest.optimum`). Its search narrows after MOST_NESTS
partial nests; count `mapping_gap` says how far the cycles may then lie above the optimum, relative. A row-stationary
device runs convolutions by its own compiler's rule. Ops that multiply nothing stream through the main memory. Not
modelled: softmax between the two products of attention, the vector unit, and whether weights of the next op are already
there.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from aisys.cost.loop_nest import Einsum, Hierarchy, Operand, attention, conv, evaluate, matmul
from aisys.cost.loop_nest.optimum import optimum
from aisys.cost.loop_nest.row_stationary import Chip, ConvLayer, best_mapping, dram_words, glb_words, processing_cycles
from aisys.cost.loop_nest.zeros import saved
from aisys.cost.types import CostTable, Floats, Tier
from aisys.errors import Unsupported
from aisys.frozen import FrozenMap
from aisys.ir import OpTable, dtype
from aisys.machine import Device, SpatialArray

MOST_NESTS = 3_000_000
"""Partial nests of each shape that are looked at without narrowing: a few seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """One einsum on one device: cycles of the array and of the main memory, and what each memory moves.

    gap: how far the cycles may lie above those of the best mapping, relative.
    """

    cycles: float
    memory_cycles: float
    energy_joule: float
    traffic_bytes: FrozenMap[str, float]
    utilisation: float
    macs: int
    gap: float = 0.0


def price(table: OpTable, device: Device, *, tier: Tier = "analytic") -> CostTable:
    """Time, energy and traffic of every row of `table` on spatial array `device`.

    Raises Unsupported for an op kind without an einsum.
    """
    if table.kind != "stream" and table.kind not in _EINSUMS:
        raise Unsupported(
            f"a spatial array has no cost model for op kind {table.kind!r}; it has {', '.join((*_EINSUMS, 'stream'))}"
        )
    array = device.architecture
    assert isinstance(array, SpatialArray)
    if table.kind == "stream":
        return _stream(table, device)
    rows = [_EINSUMS[table.kind](table, row) for row in range(len(table))]
    if tier == "limit":
        return _limit(rows, device)
    machine = Hierarchy.of(device)
    found = [[_priced(einsum, machine, device) for einsum in row] for row in rows]
    return _table(found, device)


@lru_cache(maxsize=4096)
def _priced(einsum: Einsum, machine: Hierarchy, device: Device) -> Priced:
    array = device.architecture
    assert isinstance(array, SpatialArray)
    if array.dataflow == "rs" and einsum.name == "conv" and _is_square(einsum):
        return _row_stationary(einsum, device, Chip.of(array))
    found = optimum(einsum, machine.storing_whole(), "latency", most_nests=MOST_NESTS)
    cost = evaluate(einsum, machine, found.best)
    traffic = dict.fromkeys(device.memories, 0.0)
    for (level, name), counts in cost.accesses.items():
        bits = float(cost.element_bits[level, name].flat[0])
        traffic[level] += float(counts.reads[0] + counts.fills[0] + counts.updates[0]) * bits / 8
    main = machine.levels[0].name
    waiting = float(cost.cycles[0] - max(cost.compute_cycles[0], *(c[0] for c in cost.level_cycles.values())))
    inside = max(cost.compute_cycles[0], *(c[0] for name, c in cost.level_cycles.items() if name != main))
    return Priced(
        cycles=float(inside) + waiting,
        memory_cycles=float(cost.level_cycles[main][0]), energy_joule=float(cost.energy_joule[0]),
        traffic_bytes=FrozenMap(traffic), utilisation=float(cost.utilisation[0]), macs=einsum.num_macs,
        gap=found.certificate.gap,
    )  # fmt: skip


def _is_square(einsum: Einsum) -> bool:
    e = einsum.extents
    return e["p"] == e["q"] and e["r"] == e["s"]


def _row_stationary(einsum: Einsum, device: Device, chip: Chip) -> Priced:
    """Energy counts the DRAM, the global buffer and the arithmetic with four accesses of a scratchpad each."""
    array = device.architecture
    assert isinstance(array, SpatialArray)
    e = einsum.extents
    stride = max(einsum.operands[0].ranks[3].values()) if e["r"] > 1 else 1
    layer = ConvLayer(
        batch=e["n"], groups=e["g"], out_channels=e["m"], in_channels=e["c"], out_height=e["p"], kernel=e["r"],
        stride=stride, in_height=(e["p"] - 1) * stride + e["r"],
    )  # fmt: skip
    mapping = best_mapping(layer, chip)
    moved, buffered = 2.0 * float(sum(dram_words(layer, mapping))), 2.0 * float(glb_words(layer, mapping))
    cycles = float(processing_cycles(layer, mapping, chip))
    main, glb, pad = device.main_memory, device.memories["glb"], device.memories["psum_spad"]
    joule = moved * main.energy_joule_per_byte + buffered * glb.energy_joule_per_byte
    joule += einsum.num_macs * (array.energy_joule_per_mac + 8 * pad.energy_joule_per_byte)
    memory_cycles = moved / main.bandwidth_bytes_per_s * array.clock_hz
    traffic = {**dict.fromkeys(device.memories, 0.0), main.name: moved, glb.name: buffered}
    return Priced(
        cycles=cycles, memory_cycles=float(memory_cycles), energy_joule=float(joule), traffic_bytes=FrozenMap(traffic),
        utilisation=einsum.num_macs / (cycles * chip.rows * chip.cols), macs=einsum.num_macs,
    )  # fmt: skip


def _table(found: list[list[Priced]], device: Device) -> CostTable:
    array = device.architecture
    assert isinstance(array, SpatialArray)

    def total(pick: Callable[[Priced], float]) -> Floats:
        return np.array([sum(pick(one) for one in row) for row in found], float)

    compute, memory = total(lambda p: p.cycles), total(lambda p: p.memory_cycles)
    time = total(lambda p: max(p.cycles, p.memory_cycles)) / array.clock_hz
    nowhere = np.full(len(found), np.nan)
    macs, gap = total(lambda p: p.macs), np.array([max(one.gap for one in row) for row in found])
    return CostTable(
        time_s=time, energy_joule=total(lambda p: p.energy_joule) + time * float(device.idle_watt),
        traffic_bytes=FrozenMap(
            {name: total(lambda p, n=name: p.traffic_bytes[n]) for name in device.memories}  # type: ignore[misc]
        ),
        bound=np.where(compute >= memory, "compute", "memory"), error_low=nowhere, error_high=nowhere,
        counts=FrozenMap({"cycles": compute, "macs": macs, "mapping_gap": gap}), keys=_keys(device),
    )  # fmt: skip


def _limit(rows: list[list[Einsum]], device: Device) -> CostTable:
    """Every unit busy in every cycle, and each element across the main memory once; zeros where they must be."""
    array = device.architecture
    assert isinstance(array, SpatialArray)
    machine, main = Hierarchy.of(device), device.main_memory
    found = []
    for row in rows:
        moved = sum(
            _least_bits(machine, o) * o.elements(einsum.extents) / 8
            for einsum in row
            for o in einsum.operands
            if _is_outside(einsum, o)
        )
        macs = sum(einsum.num_macs for einsum in row)
        left = [(einsum.num_macs, saved(einsum, machine.zeros)) for einsum in row]
        done, timed = sum(num * one.done for num, one in left), sum(num * one.timed for num, one in left)
        joule = done * array.energy_joule_per_mac + moved * min(_joule_per_byte(device))
        found.append(
            [
                Priced(
                    cycles=timed / machine.num_macs,
                    memory_cycles=float(moved / _fastest(device) * array.clock_hz), energy_joule=float(joule),
                    traffic_bytes=FrozenMap({**dict.fromkeys(device.memories, 0.0), main.name: moved}), utilisation=1.0,
                    macs=macs,
                )
            ]
        )  # fmt: skip
    return _table(found, device)


def _least_bits(machine: Hierarchy, operand: Operand) -> float:
    """Bits of an element in the main memory: without zeros and metadata, where a format leaves zeros out."""
    return operand.bits * (operand.density.density if operand.role in machine.levels[0].formats else 1.0)


def _is_outside(einsum: Einsum, operand: Operand) -> bool:
    """Whether an operand must cross the main memory: scores between the two products of attention need not."""
    return (einsum.name, operand.role) not in {("scores", "output"), ("context", "input")}


def _fastest(device: Device) -> float:
    """Bytes per second of the main memory, reads and writes at once."""
    array = device.architecture
    assert isinstance(array, SpatialArray)
    return device.main_memory.bandwidth_bytes_per_s + array.levels[device.main_memory.name].write_bandwidth_bytes_per_s


def _joule_per_byte(device: Device) -> tuple[float, float]:
    array = device.architecture
    assert isinstance(array, SpatialArray)
    main = device.main_memory
    return main.energy_joule_per_byte, array.levels[main.name].energy_joule_per_byte_written


def _stream(table: OpTable, device: Device) -> CostTable:
    main = device.main_memory
    array = device.architecture
    assert isinstance(array, SpatialArray)
    read, written = table["read_bytes"], table["write_bytes"]
    reading, writing = _joule_per_byte(device)
    found = [
        [
            Priced(
                cycles=0.0, memory_cycles=float(moved / main.bandwidth_bytes_per_s * array.clock_hz),
                energy_joule=float(r * reading + w * writing),
                traffic_bytes=FrozenMap({**dict.fromkeys(device.memories, 0.0), main.name: float(moved)}),
                utilisation=0.0, macs=0,
            )
        ]
        for r, w, moved in zip(read, written, read + written, strict=True)
    ]  # fmt: skip
    return _table(found, device)


def _keys(device: Device) -> frozenset[str]:
    """Every number of the device: the mapping depends on all of them."""
    array = device.architecture
    assert isinstance(array, SpatialArray)
    numbers = [array.clock_hz, array.energy_joule_per_mac, device.idle_watt]
    for memory in device.memories.values():
        numbers += [memory.capacity_bytes, memory.bandwidth_bytes_per_s, memory.energy_joule_per_byte]
    for level in array.levels.values():
        numbers += [level.write_bandwidth_bytes_per_s, level.energy_joule_per_byte_written, *level.fanout.values()]
    if array.dataflow == "rs":
        numbers += array.constants.values()
    return frozenset(number.key for number in numbers)


def _of_matmul(table: OpTable, row: int) -> list[Einsum]:
    einsum = matmul(**{name: int(table[name][row]) for name in ("m", "n", "k", "batch")})
    return [_with_bits(einsum, table, row, ("a", "b", "out"))]


def _of_grouped_matmul(table: OpTable, row: int) -> list[Einsum]:
    """Rows spread evenly over the groups that get any."""
    groups = min(int(table["groups"][row]), int(table["m"][row]))
    m = -(-int(table["m"][row]) // groups)
    einsum = matmul(batch=groups, m=m, n=int(table["n"][row]), k=int(table["k"][row]))
    return [_with_bits(einsum, table, row, ("a", "b", "out"))]


def _of_conv(table: OpTable, row: int) -> list[Einsum]:
    one = {name: int(table[name][row]) for name in table.columns if not name.endswith("dtype") and name != "math"}
    names = dict(
        n="batch", g="groups", m="out_channels", c="in_channels", p="out_h", q="out_w", r="kernel_h", s="kernel_w"
    )
    einsum = conv({dim: one[column] for dim, column in names.items()}, stride=one["stride"])
    return [_with_bits(einsum, table, row, ("a", "b", "out"))]


def _of_attention(table: OpTable, row: int) -> list[Einsum]:
    """Scores and context of every query head, masked part included; each key head is read once per query head."""
    if bool(table["is_backward"][row]):
        raise Unsupported("a spatial array has no cost model for the backward of fused attention; use EagerAttention")
    names = dict(b="batch", h="q_heads", q="q_len", t="kv_len", d="head_dim", e="value_dim")
    pair = attention({dim: int(table[column][row]) for dim, column in names.items()})
    return [_with_bits(einsum, table, row, ("q", "kv", "q")) for einsum in pair]


def _with_bits(einsum: Einsum, table: OpTable, row: int, columns: tuple[str, str, str]) -> Einsum:
    formats = [dtype(str(table[f"{column}_dtype"][row])) for column in columns]
    operands = tuple(
        replace(operand, bits=stored.bits, density=stored.density)
        for operand, stored in zip(einsum.operands, formats, strict=True)
    )
    return replace(einsum, operands=operands)


_EINSUMS: dict[str, Callable[[OpTable, int], list[Einsum]]] = {
    "matmul": _of_matmul,
    "grouped_matmul": _of_grouped_matmul,
    "conv": _of_conv,
    "attention": _of_attention,
}
