"""The best mapping of an accelforge workload on an accelforge architecture."""

from pathlib import Path
from typing import Any

import numpy as np

from aisys.cost.loop_nest.accelforge.architecture import FREE_HZ, read_nodes, space_of
from aisys.cost.loop_nest.accelforge.workload import Stage, read_workload
from aisys.cost.loop_nest.fusion import Member
from aisys.cost.loop_nest.join import best_chain
from aisys.cost.loop_nest.mapper import front
from aisys.cost.loop_nest.space import Space


def best_of_files(arch: Path, workload: Path, *, is_fused: bool, **parameters: Any) -> tuple[float, float]:
    """Energy and time, in the files' units, of the mapping with the least product of both.

    is_fused: intermediate tensors may stay inside; at most one loop is shared by neighbouring einsums.
    """
    stages, nodes = read_workload(workload, **parameters), read_nodes(arch, **parameters)
    members = [Member(space_of(nodes, stage, is_fused=is_fused), stage.axes, stage.is_copy) for stage in stages]
    if is_fused and len(stages) > 1:
        return best_chain(members)
    return _unfused(stages, [member.space for member in members])


def _unfused(stages: tuple[Stage, ...], spaces: list[Space]) -> tuple[float, float]:
    """The sum of energies and of times; each einsum picks from its front what makes the product of sums least."""
    joule, time_s = np.zeros(1), np.zeros(1)
    for stage, space in zip(stages, spaces, strict=True):
        if stage.is_copy:
            continue
        best = front(space)
        seconds = (
            best.cycles / space.machine.clock_hz if space.machine.clock_hz < FREE_HZ else np.zeros(len(best.cycles))
        )
        joule, time_s = (joule[:, None] + best.joule).ravel(), (time_s[:, None] + seconds).ravel()
        order = np.lexsort((time_s, joule))
        joule, time_s = joule[order], time_s[order]
        keep = np.concatenate(([True], time_s[1:] < np.minimum.accumulate(time_s)[:-1]))
        joule, time_s = joule[keep], time_s[keep]
    row = int(np.lexsort((joule, joule * time_s))[0])
    return float(joule[row]), float(time_s[row])
