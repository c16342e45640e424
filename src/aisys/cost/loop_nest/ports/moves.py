"""What passes between memories: how much at a time, how often, in how many bits, and how evenly."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aisys.cost.loop_nest.ports.array import DOWN, DRAIN, FILL, UPDATE, Move, PortedArray
from aisys.cost.loop_nest.ports.nest import Floats, Mask, Nests


@dataclass(frozen=True, slots=True)
class Traffic:
    """One kind of move of every nest: `amount` elements of `bits` every `period` cycles, `count` times in all.

    level: the memory of its role, counted from inside, whose changes set the period; -1 is the unit.
    """

    amount: Floats
    bits: Floats
    period: Floats
    count: Floats
    level: int

    @property
    def bits_per_cycle(self) -> Floats:
        """What it needs of a port on average, in whole bits."""
        found: Floats = np.floor(self.amount * self.bits / self.period)
        return found


def units_of(nests: Nests, *, whole: bool) -> tuple[float, float]:
    """Busy cols and rows: on average over the steps, or as whole units."""
    _, cols = nests.layer.spread("K", nests.array.cols)
    _, rows = nests.layer.spread("C", nests.array.rows)
    return (float(int(cols)), float(int(rows))) if whole else (cols, rows)


def partial_sums(nests: Nests) -> list[Mask]:
    """For each memory of outputs, rows in which it holds sums that are not yet complete; then one that holds none."""
    if "partial sums" not in nests.known:
        depths = nests.depths["output"]
        adds_over_rows = units_of(nests, whole=True)[1] > 1
        first = nests.adding.any(axis=1) | adds_over_rows
        nothing = np.zeros(len(nests), bool)
        nests.known["partial sums"] = [first, *(nests.sums(depth) for depth in depths[1:-1]), nothing, nothing]
    found: list[Mask] = nests.known["partial sums"]
    return found


def element_bits(nests: Nests, role: str, level: int, partial: list[Mask]) -> Floats:
    """Bits of one element of a role in memory `level`."""
    if role != "output":
        return np.full(len(nests), float(nests.layer.bits))
    return np.where(partial[level + 1], float(nests.layer.partial_bits), float(nests.layer.bits))


def traffic(nests: Nests, units: tuple[float, float]) -> dict[Move, Traffic]:
    """Every move of every nest."""
    found: dict[Move, Traffic] = {}
    partial = partial_sums(nests)
    for role, stores in nests.array.stores.items():
        periods = nests.periods(role)
        wide = [_width(nests.array, role, level, units) for level in range(len(stores))]
        for level in range(len(stores)):
            inner = nests.elements(role, level - 1, units) * wide[level]
            own = nests.elements(role, level, units)
            links = [(DOWN, inner, level - 1)]
            if role == "output":
                links.append((UPDATE, inner, level - 1))
            if level + 1 < len(stores):
                links += [(FILL, own, level)] + ([(DRAIN, own, level)] if role == "output" else [])
            for direction, amount, changes in links:
                found[role, level, direction] = _one(
                    nests, (role, direction), (amount, changes), (partial, periods[changes + 1])
                )
    return found


def _one(nests: Nests, what: tuple[str, str], moved: tuple[Floats, int], known: tuple[list[Mask], Floats]) -> Traffic:
    (role, direction), (amount, changes), (partial, period) = what, moved, known
    bits = np.full(len(nests), float(nests.layer.bits))
    if role == "output":
        is_partial = partial[changes + 1]
        bits = np.where(is_partial, float(nests.layer.partial_bits), float(nests.layer.bits))
        amount = np.floor(amount)
        if direction in (DOWN, FILL):
            amount = np.where(is_partial, amount, 0.0)
            period = np.where(is_partial, period, np.inf)
    return Traffic(amount, bits, period, np.floor(nests.total / period), changes)


def _width(array: PortedArray, role: str, level: int, units: tuple[float, float]) -> float:
    """Different elements that a memory hands to the level inside it at a time."""
    if level != array.inside[role]:
        return 1.0
    cols, rows = units
    return float(round({"weight": cols * rows, "input": rows, "output": cols}[role]))


def joule(nests: Nests) -> Floats:
    """Energy of every nest: the arithmetic, and every access of a memory."""
    units = units_of(nests, whole=False)
    total = np.full(len(nests), nests.layer.num_macs * nests.array.mac_joule)
    for (role, level, direction), moved in traffic(nests, units).items():
        store = nests.array.stores[role][level]
        words = np.ceil(moved.amount * moved.bits / store.min_bits) * (store.min_bits / store.max_bits)
        copies = round(units[0] * units[1]) if level < nests.array.inside[role] else 1
        accesses = np.where(moved.amount > 0, np.floor(words * moved.count * copies + 1e-9), 0.0)
        total = total + accesses * (store.read_joule if direction in (DOWN, DRAIN) else store.write_joule)
    return total


def held_bits(nests: Nests, units: tuple[float, float]) -> Mapping[tuple[str, int], Floats]:
    """Bits of each role in each of its memories."""
    partial = partial_sums(nests)
    return {
        (role, level): nests.elements(role, level, units) * element_bits(nests, role, level, partial)
        for role, stores in nests.array.stores.items()
        for level in range(len(stores))
    }
