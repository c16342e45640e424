"""What the model of one op kind says of every row: the common result of all kernel models of a GPU."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aisys.frozen import FrozenMap
from aisys.ir import dtype

Floats = NDArray[np.float64]
Names = NDArray[np.str_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KernelTiming:
    """Arrays [rows] of one op kind on one GPU; energy and the data-sheet floor are added from them for all kinds alike.

    flop: operations that the kernel executes in format `math` (array of str; padding counted). dram_bytes: traffic to
    main memory. chip_bytes: traffic between the multiprocessors and the shared cache. bound: what limits each row.
    error_low, error_high: 90 % interval as factors on time_s, NaN where never validated.
    keys: the constants read. counts: further per-row facts (tiles, waves, ...).
    """

    time_s: Floats
    flop: Floats
    math: Names
    dram_bytes: Floats
    chip_bytes: Floats
    bound: Names
    error_low: Floats
    error_high: Floats
    keys: frozenset[str] = frozenset()
    counts: FrozenMap[str, NDArray[np.float64]] = field(default_factory=FrozenMap)


def by_name(names: Names, value: Callable[[str], float]) -> Floats:
    """value(name) for each entry of `names`, computed once per distinct name.

    >>> by_name(np.array(["bf16", "fp8", "bf16"]), lambda name: dtype(name).bytes_per_element)
    array([2., 1., 2.])
    """
    if len(names) == 0:
        return np.zeros(0)
    first = str(names[0])
    if bool((names == first).all()):
        return np.full(len(names), float(value(first)))
    distinct, index = np.unique(names, return_inverse=True)
    return np.array([float(value(str(name))) for name in distinct])[index]


def bytes_per_element(names: Names) -> Floats:
    """Stored bytes per element of each dtype name, scales included."""
    return by_name(names, lambda name: dtype(name).bytes_per_element)
