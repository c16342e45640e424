"""Four networks on one systolic array, cut by dataflow mirroring, against four equal quarters.

Published (Dataflow Mirroring, DAC 2021): AlexNet, ResNet-50, NCF and a Transformer on 256 x 256 units gain 46.4 % and
34.8 % of system throughput (STP) over the equal split; we take the two for batches of 1 and 4, in that order. At
64 x 64 there are pairs that gain nothing; which, we do not know, so that every pair is held against none. Tolerances:
8 points of the gain; for pairs half of the last printed digit, 0.05 points.

The layers are those of SCALE-Sim's MLPerf topologies, which the publication ran in it: they have its numbers of
layers (8, 54, 8 and 891). They hold no padding, and one position of one query in the Transformer. Times are the exact
cycles of a rigid grid, or the time of the bytes that cross the memory where that is longer; elements are one byte.
Nothing is calibrated. Not modelled: 2,048 rows of accumulators (moves a gain by half a point), DRAM timing.
"""

from dataclasses import replace
from itertools import combinations

from aisys.cost.systolic_array.sharing import resized
from aisys.frozen import FrozenMap
from aisys.ir import DTYPES, Graph, Segment
from aisys.machine.load import device
from aisys.machine.types import Device
from aisys.search.dataflow_mirroring import Times, best_cut, equal_cut
from aisys.study.outcome import Outcome, Row
from aisys.units import Sourced
from aisys.workload.image.layers import Layers, Window

SOURCE = "Dataflow Mirroring, DAC 2021; layers: SCALE-Sim (Samajdar et al. 2020), topologies/mlperf"
PUBLISHED = {1: 0.464, 4: 0.348}
"""Batch to gain in STP of all four networks at 256 x 256."""

POINTS, PRINTED = 0.08, 0.0005
SMALL = 64
MOVE = 0.2

Layer = tuple[int, int, int, int, int, int]
"""Height and width (both), kernel (both), channels in and out, stride, and how often the layer runs."""

NETWORKS: dict[str, tuple[Layer, ...]] = {
    "AlexNet": (
        (227, 11, 3, 64, 4, 1), (27, 5, 64, 192, 1, 1), (13, 3, 192, 384, 1, 1), (13, 3, 384, 256, 1, 1),
        (13, 3, 256, 256, 1, 1), (6, 6, 256, 4096, 1, 1), (1, 1, 4096, 4096, 1, 1), (1, 1, 4096, 1000, 1, 1),
    ),
    "ResNet-50": (
        (224, 7, 3, 64, 2, 1), (56, 1, 64, 64, 1, 1), (56, 3, 64, 64, 1, 3), (56, 1, 64, 256, 1, 4),
        (56, 1, 256, 64, 1, 2), (56, 1, 256, 128, 2, 1), (28, 3, 128, 128, 1, 4), (28, 1, 128, 512, 1, 4),
        (56, 1, 256, 512, 2, 1), (28, 1, 512, 128, 1, 3), (28, 1, 512, 256, 2, 1), (14, 3, 256, 256, 1, 6),
        (14, 1, 256, 1024, 1, 6), (28, 1, 512, 1024, 2, 1), (14, 1, 1024, 256, 1, 5), (14, 1, 1024, 512, 2, 1),
        (7, 3, 512, 512, 1, 3), (7, 1, 512, 2048, 1, 3), (14, 1, 1024, 2048, 2, 1), (7, 1, 2048, 512, 1, 2),
        (1, 1, 2048, 1000, 1, 1),
    ),
    "NCF": (
        (1, 1, 138_000, 8, 1, 2), (1, 1, 138_000, 32, 1, 2), (1, 1, 64, 32, 1, 1), (1, 1, 32, 16, 1, 1),
        (1, 1, 16, 8, 1, 1), (1, 1, 16, 1, 1, 1),
    ),
    "Transformer": (
        (1, 1, 512, 64, 1, 432), (1, 1, 512, 512, 1, 145), (1, 1, 512, 2048, 1, 12), (1, 1, 2048, 512, 1, 12),
        (512, 1, 1, 33_708, 1, 2), (64, 1, 1, 64, 1, 144), (64, 1, 64, 1, 1, 144),
    ),
}  # fmt: skip
"""Images are square but in the Transformer, which has columns: 512 rows of an embedding, 64 features of a head."""

FLAT = ("Transformer",)


def run() -> Outcome:
    """The gains of all four networks on the large array, and of every pair on a small one."""
    large = device("tpu-like-256")
    rows = []
    for batch, gain in PUBLISHED.items():
        rows.append(
            Row(
                quantity=f"STP over equal split: 4 networks, 256 x 256, batch {batch}",
                ours=gain_of(tuple(NETWORKS), batch, large), published=1 + gain, tolerance=POINTS / (1 + gain),
            )
        )  # fmt: skip
    small = resized(large, SMALL, SMALL)
    rows += [
        Row(
            quantity=f"STP over equal split: {' and '.join(pair)}, {SMALL} x {SMALL}, batch {batch}",
            ours=gain_of(pair, batch, small), published=1.0, tolerance=PRINTED,
        )
        for batch in PUBLISHED
        for pair in combinations(NETWORKS, 2)
    ]  # fmt: skip
    return Outcome(
        name="dataflow_mirroring", source=SOURCE, rows=tuple(rows), sensitivity=_sensitivity(large, rows[0].ours)
    )


def gain_of(names: tuple[str, ...], batch: int, machine: Device) -> float:
    """STP with the best cuts over STP of the equal split."""
    times = Times.of([network(name, batch) for name in names], machine)
    return best_cut(times).stp / equal_cut(times).stp


def network(name: str, batch: int) -> Graph:
    """The layers of one network, each on data of its own."""
    segments = []
    for number, (side, kernel, channels, filters, stride, repeat) in enumerate(NETWORKS[name], 1):
        layers = Layers(f"layer{number}", batch, DTYPES["int8"])
        x = layers.image("x", channels, (side, 1 if name in FLAT else side))
        y = layers.conv("y", x, filters, Window(kernel=(kernel, kernel), stride=stride, hangs=True))
        segments.append(Segment(layers.block((x,), (y,)), repeat))
    return Graph(name=name, segments=tuple(segments))


def _sensitivity(machine: Device, at_rest: float) -> tuple[tuple[str, float], ...]:
    """How far the gain of all four at batch 1 moves with memory bandwidth and buffer."""

    def moved(part: str, field: str) -> float:
        gains = [gain_of(tuple(NETWORKS), 1, _with(machine, part, field, 1 + by)) for by in (MOVE, -MOVE)]
        return max(abs(gain / at_rest - 1) for gain in gains)

    fields = (("hbm", "bandwidth_bytes_per_s"), ("sram", "capacity_bytes"))
    return tuple((f"{part}.{field}", moved(part, field)) for part, field in fields)


def _with(machine: Device, part: str, field: str, factor: float) -> Device:
    memory = machine.memories[part]
    value: Sourced = getattr(memory, field)
    scaled = Sourced(value * factor, source=f"{value.source}, times {factor}", kind="assumed", key=value.key)
    changed = replace(memory, **{field: scaled})  # type: ignore[arg-type]  # no text field is meant
    return replace(machine, memories=FrozenMap({**machine.memories, part: changed}))
