"""Mappings evaluated per second on one core; and ResNet-18 on ZigZag's TPU-like machine beside ZigZag, where installed.

    python benchmarks/mapper.py

Warm: the kernel is compiled before the clock starts. CPU time of this process. The other program is zigzag-dse from
PyPI, in the same interpreter, with the options of the table oracle/zigzag_resnet18_tpu_like.csv: loma, lpf_limit 6.
"""

import contextlib
import io
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import numpy as np

from aisys.cost.loop_nest import Hierarchy, MappingTable, matmul
from aisys.cost.loop_nest.optimum import optimum
from aisys.cost.loop_nest.ports import Layer, PortedArray, network_front
from aisys.cost.loop_nest.totals import totals
from aisys.frozen import FrozenMap
from aisys.machine import load
from aisys.units import MEGA, PICO

# fmt: off
RESNET18 = (
    (1, (64, 3, 112, 112, 7, 7, 2)), (4, (64, 64, 56, 56, 3, 3, 1)), (1, (128, 64, 28, 28, 3, 3, 2)),
    (1, (128, 64, 28, 28, 1, 1, 2)), (3, (128, 128, 28, 28, 3, 3, 1)), (1, (256, 128, 14, 14, 3, 3, 2)),
    (1, (256, 128, 14, 14, 1, 1, 2)), (3, (256, 256, 14, 14, 3, 3, 1)), (1, (512, 256, 7, 7, 3, 3, 2)),
    (1, (512, 256, 7, 7, 1, 1, 2)), (3, (512, 512, 7, 7, 3, 3, 1)), (1, (1000, 512, 1, 1, 1, 1, 1)),
)
"""Times each layer occurs; K C OX OY FX FY and the stride. Source: He et al. 2016 (CVPR)."""
# fmt: on


def mappings_per_second(device: str, num_rows: int = 2_000_000, repeats: int = 3) -> float:
    """Random perfect factors of the best nest of a 512 x 512 x 512 product (the best of `repeats`)."""
    einsum, machine = matmul(m=512, n=512, k=512), Hierarchy.of(load.device(device))
    nest = optimum(einsum, machine).best
    powers = np.random.default_rng(0).integers(0, 4, (num_rows, len(nest.loops)))
    table = MappingTable(nest, 2**powers)
    totals(einsum, machine, MappingTable(nest, table.factors[:10]))
    times = []
    for _ in range(repeats):
        start = process_time()
        totals(einsum, machine, table)
        times.append(process_time() - start)
    return num_rows / min(times)


def resnet18() -> tuple[float, float, float, int]:
    """Energy in pJ and cycles of the best product of both, CPU-seconds, and the number of nests."""
    layers = [
        Layer(
            extents=FrozenMap(dict(zip(("K", "C", "OX", "OY", "FX", "FY"), e[:6], strict=True))), stride=e[6],
            in_hw=(e[3] * e[6], e[2] * e[6]),
        )
        for times, e in RESNET18
        for _ in range(times)
    ]  # fmt: skip
    start = process_time()
    front = network_front(layers, PortedArray.of(load.device("zigzag-tpu-like")))
    best = int(np.argmin(front.joule * front.cycles))
    return float(front.joule[best]) / PICO, float(front.cycles[best]), process_time() - start, front.num_nests


def zigzag() -> tuple[float, float, float] | None:
    """The same of ZigZag; None where it is not installed."""
    found = find_spec("zigzag")
    if found is None or found.origin is None:
        return None
    from zigzag.api import get_hardware_performance_zigzag  # type: ignore[import-not-found]  # a peer, not a need

    inputs = Path(found.origin).parent / "inputs"
    start = process_time()
    with TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        joule, cycles, _ = get_hardware_performance_zigzag(
            workload=str(inputs / "workload/resnet18.onnx"), accelerator=str(inputs / "hardware/tpu_like.yaml"),
            mapping=str(inputs / "mapping/tpu_like.yaml"), opt="EDP", lpf_limit=6, nb_spatial_mappings_generated=3,
            dump_folder=folder, pickle_filename=f"{folder}/list.pickle",
        )  # fmt: skip
    return float(joule), float(cycles), process_time() - start


if __name__ == "__main__":
    for name in ("tpu-v1", "gemmini-16x16", "simba-like"):
        print(f"{name}: {mappings_per_second(name) / MEGA:.1f} million mappings per CPU-second")
    for who, result in (("aisys", resnet18()), ("zigzag-dse", zigzag())):
        if result is None:
            print(f"{who}: not installed (pip install zigzag-dse six)")
        else:
            energy, cycles, seconds = result[:3]
            print(f"{who}: {energy:.6g} pJ x {cycles:,.0f} cycles = {energy * cycles:.4g}, {seconds:.2f} CPU-seconds")
