"""What Timeloop prints about a mapping: cycles, energy, and energy per computation of each component."""

from dataclasses import dataclass
from math import ceil

from aisys.cost.loop_nest.einsum import Einsum
from aisys.cost.loop_nest.evaluate import check_fits, evaluate
from aisys.cost.loop_nest.mapping import Mapping, check
from aisys.cost.loop_nest.timeloop.architecture import Architecture
from aisys.frozen import FrozenMap


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """The summary of a run. joule: component to energy of the whole run, leakage of storage included."""

    computes: int
    utilisation: float
    cycles: int
    joule: FrozenMap[str, float]

    @property
    def energy_joule(self) -> float:
        """Energy of all components."""
        return sum(self.joule.values())


def run(einsum: Einsum, architecture: Architecture, mapping: Mapping) -> Stats:
    """The summary that Timeloop's model prints. Networks and leakage of the arithmetic are free, as there.

    Raises BadInput for a mapping that is not one, or does not fit a level.
    """
    machine = architecture.machine
    check(mapping, einsum, machine)
    cost = evaluate(einsum, machine, mapping)
    check_fits(cost, machine)
    cycles = ceil(float(cost.cycles[0]) - 1e-9)
    joule = {architecture.compute: cost.mac_joule}
    joule |= {level.name: float(cost.level_joule[level.name][0]) for level in reversed(machine.levels) if level.keeps}
    return Stats(
        computes=einsum.num_macs, cycles=cycles, joule=FrozenMap(joule),
        utilisation=einsum.num_macs / (cycles * machine.num_macs),
    )  # fmt: skip
