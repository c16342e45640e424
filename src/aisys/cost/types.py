"""The cost of every row of an op table, and the choice of the model that computes it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aisys import plugins
from aisys.errors import Unsupported
from aisys.frozen import FrozenMap
from aisys.ir import OpTable
from aisys.machine import Device

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


def cost(table: OpTable, device: Device, *, tier: Tier = "analytic") -> CostTable:
    """Price every row of `table` on `device`, by the model whose file is named after its architecture.

    `systolic_array` prices a SystolicArray, an outside package's `my_array` a MyArray.
    Raises Unsupported for an architecture without a model, and for an op kind that its model has no rule for.
    """
    architecture = type(device.architecture).__name__
    stem = re.sub(r"(?<!^)(?=[A-Z])", "_", architecture).lower()
    known = plugins.names("cost")
    if stem not in known:
        raise Unsupported(f"{device.name}: no cost model {stem!r} for a {architecture}; there are {', '.join(known)}")
    price: Callable[..., CostTable] = plugins.find("cost", stem)
    return price(table, device, tier=tier)
