"""What a network takes on every rectangle of a grid that it shares with others.

Each of them has an equal share of the buffer and of the bandwidth of the main memory, whether it needs it or not.
A rectangle works like a grid of its size: mirrored dataflows enter and leave it at the edges of the grid.
Not modelled: an edge of the rectangle that is no edge of the grid costs nothing.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from aisys.cost.gpu.timing import Floats
from aisys.cost.systolic_array import exact
from aisys.errors import Unsupported
from aisys.frozen import FrozenMap
from aisys.ir import Graph, OpTable, kernels, tables
from aisys.machine import Device, SystolicArray
from aisys.units import Sourced


def array_of(device: Device) -> SystolicArray:
    """The one weight-stationary grid of `device`. Raises Unsupported where it has another architecture."""
    array = device.architecture
    if not isinstance(array, SystolicArray):
        raise Unsupported(f"{device.name} has no systolic array to share; use one like tpu-like-256")
    if (array.dataflow, array.timing, int(array.num_arrays)) != ("ws", "exact", 1):
        raise Unsupported(
            f"{device.name} has {int(array.num_arrays)} arrays of dataflow {array.dataflow} and timing {array.timing}; "
            "sharing has a model for 1 of ws and exact"
        )
    return array


def share_of(device: Device, num_networks: int) -> Device:
    """The whole grid with one of `num_networks` equal shares of its buffer and of its memory bandwidth."""
    buffer, main = next(iter(device.memories.values())), device.main_memory
    changed = {
        buffer.name: replace(buffer, capacity_bytes=_share(buffer.capacity_bytes, num_networks)),
        main.name: replace(main, bandwidth_bytes_per_s=_share(main.bandwidth_bytes_per_s, num_networks)),
    }
    return replace(device, memories=FrozenMap({**device.memories, **changed}))


def resized(device: Device, rows: int, cols: int) -> Device:
    """The same device with a grid of `rows` x `cols`."""
    array = array_of(device)
    sides = {"rows": rows, "cols": cols}
    changed = {name: Sourced(n, source=f"a part of {device.name}", kind="assumed") for name, n in sides.items()}
    return replace(device, architecture=replace(array, rows=changed["rows"], cols=changed["cols"]))


def times_s(graph: Graph, device: Device) -> Floats:
    """Seconds of one run of `graph` on each rectangle of the grid: array [rows + 1, cols + 1], infinite at 0.

    Raises Unsupported for an op kind that the grid has no mapping for.
    """
    array = array_of(device)
    rows, cols = int(array.rows), int(array.cols)
    taken = np.zeros((rows + 1, cols + 1))
    taken[0, :] = taken[:, 0] = np.inf
    for table, repeat in _work(graph):
        for high in range(1, rows + 1):
            taken[high, 1:] += _seconds(table, device, high, np.arange(1, cols + 1)[:, None]) @ repeat
    return taken


def whole_s(graph: Graph, device: Device) -> float:
    """Seconds of one run of `graph` with all of `device` to itself. Raises Unsupported as `times_s`."""
    array = array_of(device)
    rows, cols = int(array.rows), np.array([[int(array.cols)]])
    return float(sum(_seconds(table, device, rows, cols)[0] @ repeat for table, repeat in _work(graph)))


def _seconds(table: OpTable, device: Device, rows: int, cols: NDArray[np.int64]) -> Floats:
    """Of each row of `table` on grids `rows` high: array [cols, table]."""
    clock_hz = float(array_of(device).clock_hz)
    grids = exact.Grids(rows=np.asarray(rows), cols=cols)
    done = exact.run_table(table, grids, next(iter(device.memories.values())))
    memory_s = done.main_bytes / float(device.main_memory.bandwidth_bytes_per_s)
    return np.asarray(np.broadcast_to(np.maximum(done.cycles / clock_hz, memory_s), (len(cols), len(table))))


def _work(graph: Graph) -> list[tuple[OpTable, Floats]]:
    """The distinct kernels of `graph`, and how often each runs: array [rows of the table]."""
    runs = [(s.repeat, kernel.row) for s in graph.segments for kernel in kernels(s.block.ops, s.block.tensors)]
    made = tables([row for _, row in runs])
    return [
        (table, np.bincount(index, [n for n, row in runs if row[0] == kind], len(table)).astype(float))
        for kind, (table, index) in made.items()
    ]


def _share(number: Sourced, num_networks: int) -> Sourced:
    source = f"{number.source}; one of {num_networks} equal shares"
    return Sourced(float(number) / num_networks, source=source, kind=number.kind, key=number.key)
