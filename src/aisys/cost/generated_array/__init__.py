"""Generated arrays: cycles of the circuit that `aisys rtl` writes, by a recurrence that the tests hold equal to it.

int8 matmuls run on the array, and convolutions as the products of im2col, group by group; what only moves bytes takes
the memory port's time. Not modelled: the host that starts the products and lays operands (windows too) out, and
softmax or norms, which it computes.
"""

import numpy as np

from aisys.cost.generated_array.cycles import cycles
from aisys.cost.generated_array.design import ArrayDesign, MemoryPort
from aisys.cost.generated_array.traffic import read_beats, streamed_vectors, write_beats
from aisys.cost.gpu import limit
from aisys.cost.systolic_array.products import products
from aisys.cost.types import CostTable, Floats, Tier
from aisys.errors import Unsupported
from aisys.frozen import FrozenMap
from aisys.ir import OpTable
from aisys.machine import Device
from aisys.machine.architecture import GeneratedArray
from aisys.units import Sourced

KINDS = ("matmul", "grouped_matmul", "conv", "stream")
FORMAT = "int8"


def price(table: OpTable, device: Device, *, tier: Tier = "analytic") -> CostTable:
    """Time, energy and traffic of every row of `table` on generated array `device`.

    Raises Unsupported for other op kinds, and for operands that are not int8.
    """
    array = device.architecture
    assert isinstance(array, GeneratedArray)
    if table.kind not in KINDS:
        raise Unsupported(f"a generated array has no cost model for op kind {table.kind!r}; it has {', '.join(KINDS)}")
    if table.kind == "stream":
        return _stream(table, device)
    for column in ("a_dtype", "b_dtype"):
        for name in np.unique(table[column]):
            if name != FORMAT:
                raise Unsupported(
                    f"{device.name} multiplies {FORMAT} and {column} is {name}; quantize the op to {FORMAT}, "
                    "or a network by technique integer_only"
                )
    shapes = _shapes(table)
    macs = np.array([batch * m * k * n for batch, m, k, n, _ in shapes], np.float64)
    elements = float(array.rows * array.cols)
    design, port = design_of(array), port_of(array)
    if tier == "limit":
        least = limit.work(table)
        kept = float(array.num_kept_weights / array.num_group_weights)
        return _table(
            device, macs / elements * kept, np.zeros(len(macs)), least.read_bytes + least.write_bytes, macs, {}
        )
    counts = {
        "cycles": [batch * cycles(design, m, k, n, port=port, is_raw=is_raw) for batch, m, k, n, is_raw in shapes],
        "streamed_vectors": [batch * streamed_vectors(design, m, k, n) for batch, m, k, n, _ in shapes],
        "read_beats": [batch * read_beats(design, m, k, n) for batch, m, k, n, _ in shapes],
        "write_beats": [batch * write_beats(design, m, n, is_raw=is_raw) for batch, m, _, n, is_raw in shapes],
    }
    arrays = {name: np.array(values, np.float64) for name, values in counts.items()}
    moved = (arrays["read_beats"] + arrays["write_beats"]) * design.port_bytes
    waiting = arrays["cycles"] - arrays["streamed_vectors"]
    return _table(device, arrays["streamed_vectors"], waiting, moved, macs, arrays)


def design_of(array: GeneratedArray) -> ArrayDesign:
    """The design that a machine file describes. Raises BadInput where it cannot be built."""
    kept, group = int(array.num_kept_weights), int(array.num_group_weights)
    return ArrayDesign(
        rows=int(array.rows), cols=int(array.cols), dataflow=array.dataflow, tile=int(array.num_vectors_per_tile),
        left_slots=int(array.num_left_slots), port_bytes=int(array.num_port_bytes), lanes=int(array.num_lanes),
        is_pipelined=array.num_multiplier_stages > 1, sparsity=None if kept == group else (kept, group),
    )  # fmt: skip


def port_of(array: GeneratedArray) -> MemoryPort:
    """The memory that a machine file describes."""
    return MemoryPort(
        latency_cycles=int(array.num_latency_cycles), cycles_per_beat=int(array.num_cycles_per_beat)
    )  # fmt: skip


def _shapes(table: OpTable) -> list[tuple[int, int, int, int, bool]]:
    """Products of each row that follow one another, their m, k and n, and whether results are wider than int8."""
    (work,) = products(table)
    columns = (work.batch, work.m, work.k, work.n, table["out_dtype"] != FORMAT)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _stream(table: OpTable, device: Device) -> CostTable:
    none = np.zeros(len(table))
    return _table(device, none, none, table["read_bytes"] + table["write_bytes"], none, {})


def _table(
    device: Device, busy: Floats, waiting: Floats, moved: Floats, macs: Floats, counts: dict[str, Floats]
) -> CostTable:
    array, main = device.architecture, device.main_memory
    assert isinstance(array, GeneratedArray)
    compute, memory = (busy + waiting) / float(array.clock_hz), moved / float(main.bandwidth_bytes_per_s)
    time = compute if counts else np.maximum(compute, memory)
    energy = (
        macs * float(array.energy_joule_per_mac)
        + moved * float(main.energy_joule_per_byte)
        + time * float(device.idle_watt)
    )
    read = [value for value in (getattr(array, name) for name in array.__slots__) if isinstance(value, Sourced)]
    read += [main.bandwidth_bytes_per_s, main.energy_joule_per_byte, device.idle_watt]
    nowhere = np.full(len(time), np.nan)
    is_busy = busy >= waiting if counts else compute >= memory
    return CostTable(
        time_s=time, energy_joule=energy, traffic_bytes=FrozenMap({main.name: moved}),
        bound=np.where(is_busy, "compute", "memory"), error_low=nowhere, error_high=nowhere,
        counts=FrozenMap(counts), keys=frozenset(number.key for number in read),
    )  # fmt: skip
