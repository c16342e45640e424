"""FPGAs: ops one after another on one engine of multipliers that fills the chip.

The engine multiplies `num_unrolled_inputs` x `num_unrolled_outputs` operands per cycle and sums over the inputs; a new
group starts every cycle. Operands stream from the main memory into block memory while the group before is computed; an
operand that fits stays, else whichever is cheaper moves again. A convolution is the product of im2col, group by group,
whose windows line buffers cut out of images that move once. Networks with a stage per layer: cost/fpga/dataflow.py.
Not modelled: softmax and norms beside the engine, and what place and route does to the clock.
"""

from math import ceil, isqrt

import numpy as np
from numpy.typing import NDArray

from aisys.cost.fpga.resources import Resources, available, multipliers, product_format, sum_luts
from aisys.cost.gpu import limit
from aisys.cost.gpu.timing import Floats, by_name
from aisys.cost.systolic_array.products import Matmuls, ceil_div, products
from aisys.cost.types import CostTable, Tier
from aisys.errors import DoesNotFit, Unsupported
from aisys.frozen import FrozenMap
from aisys.ir import OpTable, dtype
from aisys.machine import Device, Fpga, Memory
from aisys.units import Sourced

KINDS = ("matmul", "grouped_matmul", "conv", "stream")
SUM_BITS = 32


def price(table: OpTable, device: Device, *, tier: Tier = "analytic") -> CostTable:
    """Time, energy and traffic of every row of `table` on FPGA `device`.

    Raises Unsupported for other op kinds, and operands that the engine's multipliers do not hold; DoesNotFit for an
    engine that the chip has no room for.
    """
    fpga = device.architecture
    assert isinstance(fpga, Fpga)
    check_engine(device)
    if table.kind not in KINDS:
        raise Unsupported(f"an FPGA has no cost model for op kind {table.kind!r}; it has {', '.join(KINDS)}")
    if table.kind == "stream":
        none = np.zeros(len(table))
        return _table(device, none, table["read_bytes"] + table["write_bytes"], none, {})
    formats = _formats(table, fpga)
    (work,) = products(table)
    if tier == "limit":
        least = limit.work(table)
        peak = by_name(formats, lambda name: products_per_cycle(fpga, dtype(name).bits))
        busy: Floats = work.macs / peak
        return _table(device, busy, least.read_bytes + least.write_bytes, work.macs, {})
    inputs, outputs = int(fpga.num_unrolled_inputs), int(fpga.num_unrolled_outputs)
    starts = work.batch * work.m * ceil_div(work.k, inputs) * ceil_div(work.n, outputs)
    folds = starts.astype(np.float64)
    cycles: Floats = folds + (inputs - 1).bit_length() + float(fpga.num_pipeline_stages)
    used = work.macs / (folds * inputs * outputs)
    counts = {"cycles": cycles, "mapping_efficiency": used}
    return _table(device, cycles, _moved(work, device), work.macs, counts)


def products_per_cycle(fpga: Fpga, bits: int) -> float:
    """The most multiplications per cycle of `bits`-wide operands: all DSP blocks packed, and all LUTs multipliers."""
    name = product_format(fpga, bits)
    return float(fpga.num_dsps * fpga.products_per_dsp[name] + fpga.num_luts / fpga.luts_per_product[name])


def check_engine(device: Device) -> None:
    """Raises DoesNotFit where the engine is larger than the chip, with the largest square one that fits."""
    fpga = device.architecture
    assert isinstance(fpga, Fpga)
    inputs, outputs = int(fpga.num_unrolled_inputs), int(fpga.num_unrolled_outputs)
    if _fits(fpga, inputs, outputs):
        return
    need, there = engine(fpga, inputs, outputs), available(fpga)
    most = isqrt(ceil(products_per_cycle(fpga, dtype(fpga.math).bits)))
    side = max((side for side in range(1, most + 1) if _fits(fpga, side, side)), default=0)
    raise DoesNotFit(
        f"an engine of {inputs} x {outputs} {fpga.math} multipliers needs {need.missing(there)} on {device.name}; "
        f"{side} x {side} is the largest square one that fits"
    )


def engine(fpga: Fpga, num_inputs: int, num_outputs: int) -> Resources:
    """What num_inputs x num_outputs multipliers with their 32-bit sums take; block memory is left for operands."""
    bits = dtype(fpga.math).bits
    made = multipliers(fpga, num_inputs * num_outputs, int(fpga.num_dsps), bits)
    sums = sum_luts(num_inputs, num_outputs, 2 * bits, 2 ** max(0, SUM_BITS - 2 * bits))
    return made + Resources(luts=sums, dsps=0, block_memories=0)


def _fits(fpga: Fpga, num_inputs: int, num_outputs: int) -> bool:
    return engine(fpga, num_inputs, num_outputs).fits(available(fpga))


def _formats(table: OpTable, fpga: Fpga) -> NDArray[np.str_]:
    """The wider operand's format of each row. Raises Unsupported for floats and for what the engine does not hold."""
    widest = dtype(fpga.math).bits
    for column in ("a_dtype", "b_dtype"):
        for name in np.unique(table[column]):
            given = dtype(str(name))
            if given.is_float or given.bits > widest:
                raise Unsupported(
                    f"the engine multiplies {fpga.math} and {column} is {name}; quantize the op to {fpga.math}, or a "
                    "network by technique integer_only"
                )
    bits = [by_name(table[f"{side}_dtype"], lambda name: float(dtype(name).bits)) for side in "ab"]
    return np.where(bits[0] >= bits[1], table["a_dtype"], table["b_dtype"])


def _moved(work: Matmuls, device: Device) -> Floats:
    """Main-memory bytes of the cheaper choice: one operand stays, in parts that half of the block memory holds,
    and the other moves once per part. Results are written once.
    """
    half = float(_blocks(device).capacity_bytes) / 2
    count = work.batch.astype(float)
    a = (count * work.m * work.k if work.a_elements is None else work.a_elements) * work.a_bytes
    b = count * work.k * work.n * work.b_bytes
    a_parts, b_parts = (np.ceil(side / work.batch / half) for side in (a, b))
    return np.asarray(np.minimum(a + a_parts * b, b + b_parts * a) + count * work.m * work.n * work.out_bytes)


def _blocks(device: Device) -> Memory:
    return next(iter(device.memories.values()))


def _table(device: Device, cycles: Floats, moved: Floats, macs: Floats, counts: dict[str, Floats]) -> CostTable:
    fpga, main = device.architecture, device.main_memory
    assert isinstance(fpga, Fpga)
    compute, memory = cycles / float(fpga.clock_hz), moved / float(main.bandwidth_bytes_per_s)
    time = np.maximum(compute, memory)
    energy = (
        macs * float(fpga.energy_joule_per_mac)
        + moved * float(main.energy_joule_per_byte)
        + time * float(device.idle_watt)
    )
    nowhere = np.full(len(time), np.nan)
    return CostTable(
        time_s=time, energy_joule=energy, traffic_bytes=FrozenMap({main.name: moved}),
        bound=np.where(compute >= memory, "compute", "memory"), error_low=nowhere, error_high=nowhere,
        counts=FrozenMap(counts), keys=keys(device),
    )  # fmt: skip


def keys(device: Device) -> frozenset[str]:
    """The keys of the numbers that prices on FPGA `device` read."""
    fpga, main = device.architecture, device.main_memory
    assert isinstance(fpga, Fpga)
    read = [value for value in (getattr(fpga, name) for name in fpga.__slots__) if isinstance(value, Sourced)]
    read += [*fpga.products_per_dsp.values(), *fpga.luts_per_product.values(), device.idle_watt]
    read += [main.bandwidth_bytes_per_s, main.energy_joule_per_byte, _blocks(device).capacity_bytes]
    return frozenset(number.key for number in read)
