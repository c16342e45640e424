"""Energy of a kernel on a GPU from what it does: an active floor, joule per flop and per byte, capped by the board."""

import numpy as np

from aisys.cost.gpu.timing import Floats, KernelTiming, by_name
from aisys.machine import Device, Gpu


def joule(timing: KernelTiming, device: Device) -> Floats:
    """Energy of every row: active watt x time + joule per flop, per DRAM byte and per byte from the shared cache.

    Holds for kernels that follow one another without gaps; average power never exceeds the board limit.
    """
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    per_flop = by_name(timing.math, lambda math: gpu.constant(f"energy.{math or 'none'}.joule_per_flop"))
    spent = (
        gpu.constant("energy.active_watt") * timing.time_s
        + per_flop * timing.flop
        + gpu.constant("energy.joule_per_dram_byte") * timing.dram_bytes
        + gpu.constant("energy.joule_per_chip_byte") * timing.chip_bytes
    )
    return np.minimum(spent, float(device.max_watt) * timing.time_s)
