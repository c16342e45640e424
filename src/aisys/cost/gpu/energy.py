"""Energy of a kernel on a GPU from what it does: an active floor, joule per flop and per byte, capped by the board."""

import numpy as np

from aisys.cost.gpu.timing import Floats, KernelTiming, by_name
from aisys.ir.dtype import TWO_OF_FOUR
from aisys.machine import Device, Gpu


def active_watt(device: Device) -> float:
    """Power of a GPU that runs kernels which do nothing: clocks up, caches on, memory refreshed."""
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    return float(gpu.constant("energy.active_share")) * float(device.max_watt)


def joule(timing: KernelTiming, device: Device) -> Floats:
    """Energy of every row: active power x time, joule per operation of its format, per byte from main memory and
    per byte between the shared cache and the multiprocessors.

    2:4 is taken to spend half of what its format does, since it multiplies half (assumed).
    Holds for kernels that follow one another without gaps; average power never exceeds the board limit.
    """
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    per_flop = by_name(timing.math, lambda math: _done(math) * float(gpu.constant(_key(math))))
    spent = (
        active_watt(device) * timing.time_s
        + per_flop * timing.flop
        + float(gpu.constant("energy.joule_per_dram_byte")) * timing.dram_bytes
        + float(gpu.constant("energy.joule_per_chip_byte")) * timing.chip_bytes
    )
    return np.minimum(spent, float(device.max_watt) * timing.time_s)


def keys(timing: KernelTiming, device: Device) -> frozenset[str]:
    """The keys of the numbers that `joule` reads."""
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    formats = [_key(math) for math in np.unique(timing.math).tolist()]
    names = ("energy.active_share", "energy.joule_per_dram_byte", "energy.joule_per_chip_byte", *formats)
    return frozenset(gpu.constant(name).key for name in names) | {device.max_watt.key}


def _key(math: str) -> str:
    return f"energy.{math.removesuffix(TWO_OF_FOUR) or 'none'}.joule_per_flop"


def _done(math: str) -> float:
    """Share of the multiplications that really run."""
    return 0.5 if math.endswith(TWO_OF_FOUR) else 1.0
