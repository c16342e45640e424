"""Accesses, cycles and energy of every mapping of a table, as arrays.

Reads, fills and updates are elements over all instances of a level, and one run of the einsum. A read sends an element
inwards or adds a stored partial sum to a new one; a fill writes what came from outside; an update writes a result that
came from inside. The first visit of an output needs no read and no fill: it begins at zero.

The array steps in time with its loops: one tile of the innermost level per cycle on every unit. A port moves its bits
beside that (double buffering) or after it (single). Not modelled: start-up and drain of the pipeline, conflicts of
banks, and anything that depends on data.

Source: the access counts are those of Timeloop (Parashar et al. 2019, ISPASS) without its bypass of fills in networks.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.cost.loop_nest import pieces
from aisys.cost.loop_nest.counting import Floats
from aisys.cost.loop_nest.einsum import Einsum, Operand
from aisys.cost.loop_nest.hierarchy import Hierarchy
from aisys.cost.loop_nest.mapping import Mapping, MappingTable
from aisys.cost.loop_nest.traffic import Visits, Walk, first_visits, moved, visits
from aisys.cost.loop_nest.zeros import saved
from aisys.errors import BadInput
from aisys.frozen import FrozenMap

CHUNK_ROWS = 4096
"""Rows that are worked on together: their columns stay in the caches of a core."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Accesses:
    """Accesses of one operand at one level, arrays [rows]: elements over all instances.

    tile: elements that one instance holds. drains: outputs that leave the level for the one outside.
    """

    reads: Floats
    fills: Floats
    updates: Floats
    drains: Floats
    tile: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NestCost:
    """What each mapping of a table costs, arrays [rows].

    accesses: (level, operand) to its counts, those of the dense nest. element_bits: what each of them takes there on
    average, for operands that are stored in a format in its pieces. level_cycles: what the ports of each level need.
    used_bits: what one instance holds. fits: whether every level has room. utilisation: work per unit and step.
    """

    accesses: FrozenMap[tuple[str, str], Accesses]
    element_bits: FrozenMap[tuple[str, str], Floats]
    compute_cycles: Floats
    level_cycles: FrozenMap[str, Floats]
    cycles: Floats
    level_joule: FrozenMap[str, Floats]
    mac_joule: float
    energy_joule: Floats
    used_bits: FrozenMap[str, Floats]
    fits: NDArray[np.bool_]
    utilisation: Floats


def evaluate(einsum: Einsum, machine: Hierarchy, mappings: MappingTable | Mapping) -> NestCost:
    """The cost of every mapping, which `check` would accept. Mappings that overflow a level are priced; see `fits`."""
    table = mappings if isinstance(mappings, MappingTable) else MappingTable.of(mappings)
    if len(table) <= CHUNK_ROWS:
        return _evaluate(einsum, machine, table)
    parts = [
        _evaluate(einsum, machine, MappingTable(table.nest, table.factors[start : start + CHUNK_ROWS]))
        for start in range(0, len(table), CHUNK_ROWS)
    ]
    return _joined(parts)


def check_fits(cost: NestCost, machine: Hierarchy, row: int = 0) -> None:
    """Raises BadInput where a level overflows in mapping `row`: how much it holds, and how much it would have to."""
    for level in machine.levels:
        used = float(cost.used_bits[level.name][row])
        if used > level.capacity_bits:
            raise BadInput(
                f"{level.name} would hold {used / 8:,.0f} bytes and has {level.capacity_bits / 8:,.0f}; "
                f"make its tiles {used / level.capacity_bits:.2g}x smaller, or let an operand pass by"
            )


def _evaluate(einsum: Einsum, machine: Hierarchy, table: MappingTable) -> NestCost:
    walk = Walk.of(einsum, table)
    rows = len(table)
    accesses: dict[tuple[str, str], Accesses] = {}
    for operand in einsum.operands:
        for name, found in _of_operand(walk, machine, table.nest, operand).items():
            accesses[name, operand.name] = _filled(found, rows)
    element_bits = pieces.element_bits(walk, machine, table.nest)
    counted = _Counted(walk, machine, accesses, element_bits)
    positions = {level.name: position for position, level in enumerate(machine.levels)}
    left = saved(einsum, machine.zeros)
    steps = _column(_steps(walk), rows)
    compute = steps * left.timed
    port = {name: _column(counted.port_cycles(position), rows) for name, position in positions.items()}
    waiting = sum(counted.refill_cycles(p) for p in positions.values() if not machine.levels[p].is_double_buffered)
    cycles = np.max([*port.values(), compute], axis=0) + waiting
    joule = {name: _column(counted.joule(position, cycles), rows) for name, position in positions.items()}
    mac_joule = einsum.num_macs * machine.mac_joule * left.done
    used = {name: _column(counted.bits(position, "tile"), rows) for name, position in positions.items()}
    fits = np.all([used[level.name] <= level.capacity_bits for level in machine.levels], axis=0)
    return NestCost(
        accesses=FrozenMap(accesses), element_bits=FrozenMap(element_bits), compute_cycles=compute,
        level_cycles=FrozenMap(port), cycles=cycles,
        level_joule=FrozenMap(joule), mac_joule=mac_joule, energy_joule=mac_joule + np.sum([*joule.values()], axis=0),
        used_bits=FrozenMap(used), fits=fits, utilisation=einsum.num_macs / (steps * machine.num_macs),
    )  # fmt: skip


def _column(value: Any, rows: int) -> Floats:
    return np.broadcast_to(np.asarray(value, float), rows)


@dataclass(frozen=True, slots=True, eq=False)
class _Counted:
    """The accesses of a table, and what follows from them at the level of one position."""

    walk: Walk
    machine: Hierarchy
    accesses: dict[tuple[str, str], Accesses]
    element_bits: dict[tuple[str, str], Floats]

    def instances(self, position: int) -> Any:
        """Instances that take part: the spatial loops over the fan-outs outside the level."""
        outside = {level.name for level in self.machine.levels[:position]}
        used: Any = 1.0
        for loop, factor in zip(self.walk.loops, self.walk.factors, strict=True):
            if loop.is_spatial and loop.over.rpartition(".")[0] in outside:
                used = used * factor
        return used

    def bits(self, position: int, *counts: str) -> Any:
        """Bits of the given counts, over all instances and operands, without those of skipped steps."""
        name = self.machine.levels[position].name
        total: Any = 0.0
        for operand in self.walk.einsum.operands:
            found = self.accesses.get((name, operand.name))
            if found is None:
                continue
            timed = self.machine.saved(self.walk.einsum, position, operand).timed
            for count in counts:
                total = total + self.element_bits[name, operand.name] * self._left(found, count, timed)
        return total

    def _left(self, found: Accesses, count: str, share: float) -> Any:
        """A count of which the arithmetic asks for no more than `share`: of reads and updates, drained tiles aside."""
        whole = getattr(found, count)
        if share == 1 or count not in ("reads", "updates"):
            return whole
        drained = found.drains if count == "reads" and self.machine.reads_on_drain else 0.0
        return drained + (whole - drained) * share

    def port_cycles(self, position: int) -> Any:
        """Cycles that the ports of one instance are busy."""
        level, instances = self.machine.levels[position], self.instances(position)
        reading = self.bits(position, "reads") / instances / level.read_bits_per_cycle
        writing = self.bits(position, "fills", "updates") / instances / level.write_bits_per_cycle
        return reading + writing if level.has_shared_port else np.maximum(reading, writing)

    def refill_cycles(self, position: int) -> Any:
        """Cycles in which a single buffer takes in and sends out tiles, and the units below it wait."""
        level, instances = self.machine.levels[position], self.instances(position)
        filling = self.bits(position, "fills") / instances / level.write_bits_per_cycle
        return filling + self.bits(position, "drains") / instances / level.read_bits_per_cycle

    def joule(self, position: int, cycles: Floats) -> Any:
        """Energy of all instances: accesses, in whole blocks, and leakage."""
        level, instances = self.machine.levels[position], self.instances(position)
        joule_per_bit = dict(
            reads=level.read_joule_per_bit, fills=level.write_joule_per_bit, updates=level.update_joule_per_bit
        )
        total: Any = level.leak_joule_per_cycle * self.machine.num_instances(position) * cycles
        for operand in self.walk.einsum.operands:
            found = self.accesses.get((level.name, operand.name))
            if found is None:
                continue
            done = self.machine.saved(self.walk.einsum, position, operand).done
            for count, joule in joule_per_bit.items():
                words = _in_blocks(self._left(found, count, done), instances, level.block_words)
                total = total + self.element_bits[level.name, operand.name] * joule * words
        return total


def _of_operand(walk: Walk, machine: Hierarchy, nest: Mapping, operand: Operand) -> dict[str, dict[str, Any]]:
    """Counts of one operand at each level that keeps it."""
    places = pieces.places(nest, operand)
    is_output = operand.role == "output"
    found: dict[str, dict[str, Any]] = {}
    incoming: Any = 0.0
    for position, (level, depth) in enumerate(places):
        last = position + 1 == len(places)
        inner = len(walk.loops) if last else places[position + 1][1]
        seen = Visits(inner, (True,) * inner, (None,) * inner) if last else visits(walk, operand, inner)
        below = moved(walk, operand, seen)
        content = moved(walk, operand, seen, _shared(walk, machine, (depth, inner), is_output))
        own = first_visits(walk, operand, depth) if is_output else 0.0
        tile: Any = 1.0
        for rank in operand.ranks:
            tile = tile * (1.0 + sum(c * (walk.tile(depth, dim) - 1.0) for dim, c in rank.items()))
        drains = incoming if is_output and position else 0.0
        reads = content - own + (drains if machine.reads_on_drain else 0.0) if is_output else content
        found[level] = {
            "reads": reads, "updates": content if is_output else 0.0, "drains": drains, "tile": tile,
            "fills": incoming - (own if is_output else 0.0) if position else 0.0,
        }  # fmt: skip
        incoming = below
    return found


def _shared(walk: Walk, machine: Hierarchy, span: tuple[int, int], is_output: bool) -> frozenset[int]:
    """The spatial loops between a level and the next that keeps the operand, where their network shares its tiles."""
    return frozenset(i for i in range(*span) if machine.shares(walk.loops[i].over, is_output=is_output))


def _steps(walk: Walk) -> Any:
    keep = tuple(not loop.is_spatial for loop in walk.loops)
    steps: Any = 1.0
    for dim in walk.einsum.dims:
        steps = steps * walk.count(len(walk.loops), dim, keep)
    return steps


def _in_blocks(count: Floats, instances: Any, block: int) -> Any:
    """`count` elements over all instances, rounded up to whole blocks at each."""
    return count if block == 1 else np.ceil(count / instances / block - 1e-9) * block * instances


def _filled(counts: dict[str, Any], rows: int) -> Accesses:
    return Accesses(**{name: np.broadcast_to(np.asarray(value, float), rows) for name, value in counts.items()})


def _joined(parts: list[NestCost]) -> NestCost:
    """The rows of several tables of one nest, one after the other."""
    first = parts[0]

    def join(pick: Any) -> Any:
        return np.concatenate([pick(part) for part in parts])

    def maps(name: str) -> Any:
        return FrozenMap({key: join(lambda p, k=key: getattr(p, name)[k]) for key in getattr(first, name)})

    accesses = {
        key: Accesses(**{f: join(lambda p, k=key, f=f: getattr(p.accesses[k], f)) for f in Accesses.__slots__})
        for key in first.accesses
    }
    element_bits = {
        key: value if np.ndim(value) == 0 else join(lambda p, k=key: p.element_bits[k])
        for key, value in first.element_bits.items()
    }
    plain = {n: join(lambda p, n=n: getattr(p, n)) for n in _ARRAYS}
    return NestCost(
        accesses=FrozenMap(accesses), element_bits=FrozenMap(element_bits), mac_joule=first.mac_joule,
        **{n: maps(n) for n in _MAPS}, **plain,
    )  # fmt: skip


_ARRAYS = ("compute_cycles", "cycles", "energy_joule", "fits", "utilisation")
_MAPS = ("level_cycles", "level_joule", "used_bits")
