"""Cycles, energy and fit of millions of mappings: `evaluate` without its details, as one compiled loop over the rows.

Equal to `evaluate` but for rounding. Nests that the compiled loop does not know (factors that leave tiles part full,
blocks of several words, two dims of one window spread over one fan-out) go through `evaluate`.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from aisys.cost.loop_nest.counting import Floats
from aisys.cost.loop_nest.einsum import Einsum
from aisys.cost.loop_nest.evaluate import evaluate
from aisys.cost.loop_nest.hierarchy import Hierarchy
from aisys.cost.loop_nest.mapping import Keep, Loop, MappingTable

PLAIN = 99
"""Rank number of a dim that is a rank of its own with coefficient 1, as in `compiled`, which this file loads late."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Totals:
    """Of each mapping, arrays [rows]."""

    cycles: Floats
    energy_joule: Floats
    fits: NDArray[np.bool_]


def totals(einsum: Einsum, machine: Hierarchy, table: MappingTable) -> Totals:
    """What each mapping of the table costs, and whether it fits."""
    if not _is_known(einsum, machine, table):
        cost = evaluate(einsum, machine, table)
        return Totals(cycles=cost.cycles, energy_joule=cost.energy_joule, fits=cost.fits)
    from aisys.cost.loop_nest.compiled import run

    loops, places, operands, levels = _program(einsum, machine, table)
    found = np.empty((len(table), 3))
    run(np.ascontiguousarray(table.factors), loops, places, operands, levels, found)
    energy = found[:, 1] + einsum.num_macs * machine.mac_joule
    return Totals(cycles=found[:, 0], energy_joule=energy, fits=found[:, 2] > 0)


def _is_known(einsum: Einsum, machine: Hierarchy, table: MappingTable) -> bool:
    loops = table.nest.loops
    if any(level.block_words > 1 for level in machine.levels) or len(loops) == 0:
        return False
    for operand in einsum.operands:
        for rank in operand.ranks:
            spread = [(loop.over.rpartition(".")[0], loop.dim) for loop in loops if loop.over and loop.dim in rank]
            if len(rank) > 2 or len({level for level, _ in spread}) < len(set(spread)):
                return False
    columns = {dim: [i for i, loop in enumerate(loops) if loop.dim == dim] for dim in einsum.dims}
    return all(
        bool((table.factors[:, columns[dim]].prod(axis=1) == extent).all()) for dim, extent in einsum.extents.items()
    )


def _program(
    einsum: Einsum, machine: Hierarchy, table: MappingTable
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """What the compiled loop reads.

    loops [loops, 2]: dim, and position of the level whose fan-out it is spread over, or -1. places [operands, levels,
    2]: level and depth, level -1 after the last. operands [operands, 2 + 3 dims]: is output, ranks' constant elements,
    then per dim: rank number (PLAIN, or -1 for none), coefficient, extent. levels [levels, 12]: see `compiled`.
    """
    dims = list(einsum.dims)
    nest = table.nest
    loops = [(dims.index(o.dim), machine.index(o.over.rpartition(".")[0]) if o.over else -1) for o in nest.loops]
    places = np.full((len(einsum.operands), len(machine.levels) + 1, 2), -1)
    operands = np.zeros((len(einsum.operands), 2 + 3 * len(dims)))
    for number, operand in enumerate(einsum.operands):
        depth, found = 0, 0
        for node in nest.nodes:
            if isinstance(node, Keep) and operand.name in node.operands:
                places[number, found] = machine.index(node.level), depth
                found += 1
            depth += isinstance(node, Loop)
        plain = [rank for rank in operand.ranks if list(rank.values()) == [1]]
        operands[number, :2] = operand.role == "output", prod(einsum.extents[dim] for rank in plain for dim in rank)
        for rank_number, rank in enumerate(operand.ranks):
            for dim, coefficient in rank.items():
                shown = PLAIN if rank in plain else rank_number
                operands[number, 2 + 3 * dims.index(dim) : 5 + 3 * dims.index(dim)] = (
                    shown, coefficient, einsum.extents[dim],
                )  # fmt: skip
        for position, dim in enumerate(dims):
            if dim not in operand.dims:
                operands[number, 2 + 3 * position : 5 + 3 * position] = -1, 0, einsum.extents[dim]
    return np.array(loops), places, operands, _levels(einsum, machine)


def _levels(einsum: Einsum, machine: Hierarchy) -> NDArray[np.float64]:
    return np.array(
        [
            [
                level.capacity_bits, level.read_bits_per_cycle, level.write_bits_per_cycle, level.has_shared_port,
                level.is_double_buffered, level.can_multicast, level.can_reduce, level.read_joule_per_bit,
                level.write_joule_per_bit, level.update_joule_per_bit,
                level.leak_joule_per_cycle * machine.num_instances(position), machine.reads_on_drain,
                *(level.bits(operand) for operand in einsum.operands),
            ]
            for position, level in enumerate(machine.levels)
        ],
        float,
    )  # fmt: skip
