"""The best mapping of an accelforge workload on an accelforge architecture."""

from pathlib import Path
from typing import Any

import numpy as np

from aisys.cost.loop_nest.accelforge.architecture import FREE_HZ, read_nodes, space_of
from aisys.cost.loop_nest.accelforge.workload import Stage, read_workload
from aisys.cost.loop_nest.chain import least_product
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
        found = best_chain(members)
        return found.joule, found.time_s
    return _unfused(stages, [member.space for member in members])


def _unfused(stages: tuple[Stage, ...], spaces: list[Space]) -> tuple[float, float]:
    """Of each einsum alone; time is left out where the files give no clock."""
    searched = [space for stage, space in zip(stages, spaces, strict=True) if not stage.is_copy]
    clocks = [space.machine.clock_hz for space in searched]
    fronts = [front(space) for space in searched]
    seconds = [f.cycles / hz if hz < FREE_HZ else np.zeros(len(f.cycles)) for f, hz in zip(fronts, clocks, strict=True)]
    return least_product([found.joule for found in fronts], seconds)
