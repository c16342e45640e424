"""What hardware that looks for zeros saves in a loop nest: gating leaves out energy, skipping time as well.

A step whose looked-at operands hold a zero needs no multiplication, and none of the accesses of the innermost level
for it; tiles are still filled whole, from everywhere outside. Zeros of different operands are taken to be independent.
Source: the terms of Wu et al. 2022, "Sparseloop"; gating as in Eyeriss (Chen et al. 2017), skipping as in EIE (Han et
al. 2016), which also waits for its slowest element (`aisys.kernel.interleaved_csc`); here nobody waits.
"""

from collections.abc import Mapping as Named
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

import numpy as np

from aisys.cost.loop_nest.einsum import Einsum
from aisys.cost.loop_nest.evaluate import NestCost, evaluate
from aisys.cost.loop_nest.hierarchy import Hierarchy, Level
from aisys.cost.loop_nest.mapping import Mapping, MappingTable
from aisys.errors import BadInput, unknown_name
from aisys.frozen import FrozenMap
from aisys.ir.density import Density

Saving = Literal["gate", "skip"]


@dataclass(frozen=True, slots=True)
class Zeros:
    """Where an operand is zero, and what the hardware does about it.

    together: elements that are looked at as one, such as those of units in lockstep: only if all are zero is a step
    left out.
    """

    density: Density
    saving: Saving
    together: int = 1

    def __post_init__(self) -> None:
        if self.saving not in ("gate", "skip"):
            raise unknown_name("saving of zeros", self.saving, ("gate", "skip"))
        if self.together < 1:
            raise BadInput(f"zeros: {self.together} elements together; at least 1")

    @property
    def kept_share(self) -> float:
        """Of the steps, those that are done."""
        return 1 - self.density.empty_share(self.together)


def evaluate_zeros(
    einsum: Einsum, machine: Hierarchy, mappings: MappingTable | Mapping, zeros: Named[str, Zeros]
) -> NestCost:
    """`evaluate` where the machine looks for the zeros of the named inputs. `accesses` stay those of the dense nest.

    Skipping shortens the steps and the innermost reads, not the ports that fill and update. Raises BadInput for an
    operand that is not read.
    """
    for name in zeros:
        if einsum.operand(name).role == "output":
            raise BadInput(f"{einsum.name}: {name} is written; look for the zeros of an input or a weight")
    done = prod(one.kept_share for one in zeros.values())
    stepped = prod(one.kept_share for one in zeros.values() if one.saving == "skip")
    inner = _looking(machine.levels[-1], done, stepped)
    looking = replace(machine, levels=(*machine.levels[:-1], inner), mac_joule=machine.mac_joule * done)
    cost = evaluate(einsum, looking, mappings)
    ports = np.max([*cost.level_cycles.values()], axis=0)
    waiting = cost.cycles - np.maximum(ports, cost.compute_cycles)
    compute = cost.compute_cycles * stepped
    cycles = np.maximum(ports, compute) + waiting
    leak = {
        level.name: level.leak_joule_per_cycle * machine.num_instances(position) * (cycles - cost.cycles)
        for position, level in enumerate(machine.levels)
    }
    joule = {name: cost.level_joule[name] + leak[name] for name in cost.level_joule}
    return replace(
        cost, compute_cycles=compute, cycles=cycles, level_joule=FrozenMap(joule),
        energy_joule=cost.mac_joule + np.sum([*joule.values()], axis=0),
    )  # fmt: skip


def _looking(level: Level, done: float, stepped: float) -> Level:
    """The innermost level: `done` of its reads and updates take energy, `stepped` of its reads take time."""
    return replace(
        level, read_joule_per_bit=level.read_joule_per_bit * done,
        update_joule_per_bit=level.update_joule_per_bit * done,
        read_bits_per_cycle=level.read_bits_per_cycle / stepped if stepped else np.inf,
    )  # fmt: skip
