"""The cost of every row of an op table, and the choice of the model that computes it."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aisys.errors import Unsupported
from aisys.frozen import FrozenMap
from aisys.ir import OpTable
from aisys.machine import Cpu, Device, Gpu, PimBank, SystolicArray

Floats = NDArray[np.float64]

Tier = Literal["limit", "analytic", "calibrated"]
"""limit: the data sheet's speed of light. analytic: physics with fitted constants. calibrated: analytic with
residuals learned from a measurement table. No tier is ever below `limit`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CostTable:
    """One entry per row of the op table that it prices.

    time_s, energy_joule: arrays [rows]. traffic_bytes: memory name to array [rows]. counts: cycles, accesses, ...
    bound: what limits each row (compute, memory, launch, ...), array [rows] of str.
    error_low, error_high: the 90 % interval as factors on time_s (0.9 and 1.2: the truth lies between 0.9 and
    1.2 times time_s nine times in ten); NaN where the model was never validated.
    keys: the machine constants that the model read.
    """

    time_s: Floats
    energy_joule: Floats
    traffic_bytes: FrozenMap[str, Floats]
    bound: NDArray[np.str_]
    error_low: Floats
    error_high: Floats
    counts: FrozenMap[str, NDArray[Any]]
    keys: frozenset[str]


_MODELS: dict[type, str] = {Gpu: "gpu", SystolicArray: "systolic_array", PimBank: "pim_bank", Cpu: "cpu"}


def cost(table: OpTable, device: Device, *, tier: Tier = "analytic") -> CostTable:
    """Price every row of `table` on `device`. Raises Unsupported for an op kind that its model has no rule for."""
    stem = _MODELS.get(type(device.architecture))
    if stem is None:
        raise Unsupported(f"no cost model for architecture {type(device.architecture).__name__} of {device.name}")
    price: Callable[..., CostTable] = import_module(f"aisys.cost.{stem}").price
    return price(table, device, tier=tier)
