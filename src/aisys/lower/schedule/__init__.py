"""Microbatch schedules: the order in which one stage runs its forward and backward passes.

Each file holds one public function `order(stage, num_stages, num_microbatches, interleave) -> Slots`, found by file
stem; an outside package gives one under the entry-point group `aisys.schedule`. Slots is an integer array [slots, 3]:
is_backward, chunk, microbatch; chunk c of stage s is virtual stage c * num_stages + s.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from aisys import plugins

Slots = NDArray[np.int64]
Order = Callable[[int, int, int, int], Slots]

_STEMS = {"1f1b": "one_f_one_b"}


def schedule(name: str, interleave: int = 1) -> Order:
    """The order function of schedule `name`; with `interleave` above 1, 1f1b is the interleaved one."""
    stem = "interleaved" if name == "1f1b" and interleave > 1 else _STEMS.get(name, name)
    order: Order = plugins.find("schedule", stem)
    return order
