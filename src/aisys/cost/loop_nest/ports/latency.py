"""Cycles of a nest on an array whose memory ports have a width and are shared.

A move has to happen in a window: the whole period where the memory has room for a second tile, else only the part in
which the old tile is no longer needed. A port stalls the array by what does not fit its windows, and where several
moves share it, by what exceeds the union of their windows. The first tiles are loaded before, the last results leave
after, as far as free cycles of the port during the computation do not take that over.

Source: the cost model of ZigZag 3.9 (Mei et al. 2021, IEEE Trans. Computers; Mei et al. 2022, DATE), whose figures
these are, nest by nest.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np

from aisys.cost.loop_nest.ports.array import DOWN, DRAIN, FILL, ROLES, UPDATE, Move, Port
from aisys.cost.loop_nest.ports.moves import Traffic, element_bits, held_bits, joule, partial_sums, traffic, units_of
from aisys.cost.loop_nest.ports.nest import Floats, Mask, Nests


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerCost:
    """Arrays [rows]. cycles: computing, with loading before and unloading after; fits: every memory has room."""

    joule: Floats
    computing_cycles: Floats
    cycles: Floats
    fits: Mask


def evaluate(nests: Nests) -> LayerCost:
    """Energy and cycles of every nest."""
    whole = units_of(nests, whole=True)
    moved = traffic(nests, whole)
    real = {key: np.ceil(t.amount * t.bits / nests.array.stores[key[0]][key[1]].max_bits) for key, t in moved.items()}
    windows = _windows(nests, moved)
    stall = np.zeros(len(nests))
    for port in nests.array.ports:
        stall = np.maximum(stall, _stall(nests, port, moved, (real, windows)))
    computing = nests.total + stall
    edges: dict[Move, Floats] = {}
    for port in nests.array.ports:
        edges |= _edges(nests, port, moved, (real, computing))
    cols, rows = units_of(nests, whole=False)
    skew = max(ceil(cols) - 1, 0) + max(ceil(rows) - 1, 0)
    return LayerCost(
        joule=joule(nests), computing_cycles=computing,
        cycles=computing + _loading(nests, edges) + _unloading(nests, edges) + skew, fits=fits(nests),
    )  # fmt: skip


def fits(nests: Nests) -> Mask:
    """Whether every memory holds the tiles of all operands that it keeps."""
    held = held_bits(nests, units_of(nests, whole=False))
    found = np.ones(len(nests), bool)
    for store in {store for stores in nests.array.stores.values() for store in stores}:
        used = [bits for (role, level), bits in held.items() if nests.array.stores[role][level] is store]
        found &= np.sum(used, axis=0) <= store.capacity_bits
    return found


def _windows(nests: Nests, moved: dict[Move, Traffic]) -> dict[Move, Floats]:
    """Cycles of a period in which each move may happen."""
    tops = {role: nests.tops(role) for role in ROLES}
    doubled = _doubled(nests, {role: [top[0] for top in found] for role, found in tops.items()})
    found = {}
    for key, one in moved.items():
        role, place = key[0], one.level + 1
        found[key] = np.where(doubled[role][place], one.period, np.floor(one.period / tops[role][place][1]))
    return found


def _doubled(nests: Nests, tops: dict[str, list[Floats]]) -> dict[str, list[Mask]]:
    """Role to: whether the unit (never) and each of its memories takes in a tile while it still serves another."""
    held = held_bits(nests, units_of(nests, whole=False))
    stores = nests.array.stores
    share = {
        (role, level): np.floor(bits / tops[role][level + 1]) / stores[role][level].capacity_bits
        for (role, level), bits in held.items()
    }
    used = {
        store.name: np.sum([s for (r, k), s in share.items() if stores[r][k] is store], axis=0)
        for own in stores.values()
        for store in own
    }
    found: dict[str, list[Mask]] = {role: [np.zeros(len(nests), bool)] for role in ROLES}
    for role in ROLES:
        for level, store in enumerate(stores[role]):
            by_half = used[store.name] <= 0.5
            by_rest = ~by_half & (share[role, level] <= 1 - used[store.name])
            used[store.name] = used[store.name] + np.where(by_rest, share[role, level], 0.0)
            found[role].append(by_half | by_rest)
    return found


def _stall(
    nests: Nests, port: Port, moved: dict[Move, Traffic], known: tuple[dict[Move, Floats], dict[Move, Floats]]
) -> Floats:
    real, windows = known
    on = [moved[key].count > 0 for key in port.moves]
    late, open_ = [], []
    for key, is_on in zip(port.moves, on, strict=True):
        times = moved[key].count - 1
        late.append(np.where(is_on, (real[key] - windows[key]) * times, 0.0))
        open_.append(np.where(is_on, windows[key] * times, 0.0))
    if len(port.moves) == 1:
        return np.asarray(late[0])
    always = np.any([o & (windows[k] == moved[k].period) for k, o in zip(port.moves, on, strict=True)], axis=0)
    union = nests.total.copy()
    left = np.flatnonzero(~always)
    if len(left):
        periods = np.stack([np.where(o, moved[k].period, np.inf)[left] for k, o in zip(port.moves, on, strict=True)])
        spans = np.stack([np.where(o, windows[k], 0.0)[left] for k, o in zip(port.moves, on, strict=True)])
        union[left] = covered(periods, spans, nests.total[left])
    positive, negative = np.maximum(late, 0).sum(axis=0), np.minimum(late, 0).sum(axis=0)
    together = positive + np.maximum(0.0, negative + np.sum(open_, axis=0) - union)
    return np.where(np.sum(on, axis=0) == 1, np.sum(late, axis=0), np.where(np.any(on, axis=0), together, 0.0))


def covered(periods: Floats, spans: Floats, total: Floats) -> Floats:
    """Cycles up to `total` in which at least one window is open: window i opens every periods[i] for spans[i] cycles.

    Periods divide one another, as those of loops do; arrays [windows, rows].
    """
    order = np.argsort(periods, axis=0, kind="stable")
    periods, spans = np.take_along_axis(periods, order, axis=0), np.take_along_axis(spans, order, axis=0)

    def up_to(last: int, end: Floats) -> Floats:
        """Covered cycles before `end` by the windows up to `last`, of which it has the longest period."""
        if last < 0:
            return np.zeros_like(end)
        period = np.where(np.isfinite(periods[last]), periods[last], 1e30)
        periods_done = np.floor(end / period)

        def within(stop: Floats) -> Floats:
            own = np.minimum(stop, spans[last])
            found: Floats = own + np.maximum(0.0, up_to(last - 1, stop) - up_to(last - 1, own))
            return found

        found: Floats = periods_done * within(period) + within(end - periods_done * period)
        return found

    return up_to(len(periods) - 1, total)


def _edges(
    nests: Nests, port: Port, moved: dict[Move, Traffic], known: tuple[dict[Move, Floats], Floats]
) -> dict[Move, Floats]:
    """Cycles that each move takes before or after the computation: first tiles, last results.

    What moves only once may do so while the array computes, in cycles that the port has left, but for one tile of the
    innermost memory.
    """
    real, computing = known
    keys = [k for k in port.moves if k[0] != "output" or k[2] in (UPDATE, DRAIN)]
    if not keys:
        return {}
    needed = np.sum([np.where(moved[k].count > 1, np.ceil(moved[k].bits_per_cycle), 0.0) for k in keys], axis=0)
    left = np.maximum(0.0, (port.width_bits - needed) / port.width_bits * computing)
    partial = partial_sums(nests)
    whole = units_of(nests, whole=True)
    once = np.stack([np.where(moved[k].count == 1, real[k], -1.0) for k in keys])
    least = np.stack(
        [
            np.ceil(nests.elements(k[0], 0, whole) * element_bits(nests, k[0], 0, partial) / port.width_bits)
            for k in keys
        ]
    )
    taken = np.zeros_like(once)
    for place in np.argsort(-once, axis=0, kind="stable"):
        amount, floor = (np.take_along_axis(c, place[None], axis=0)[0] for c in (once, least))
        saved = np.where(amount >= 0, np.minimum(np.maximum(0.0, amount - floor), left), 0.0)
        np.put_along_axis(taken, place[None], saved[None], axis=0)
        left = left - saved
    return {key: np.where(moved[key].count > 0, real[key], 0.0) - taken[i] for i, key in enumerate(keys)}


def _loading(nests: Nests, edges: dict[Move, Floats]) -> Floats:
    """Inputs and weights are loaded side by side; each level of either waits for the slower end of its link."""
    found = np.zeros(len(nests))
    for role in ("input", "weight"):
        links = range(len(nests.array.stores[role]) - 1)
        steps = [np.maximum(edges[role, k, FILL], edges[role, k + 1, DOWN]) for k in links]
        found = np.maximum(found, np.sum(steps, axis=0))
    return found


def _unloading(nests: Nests, edges: dict[Move, Floats]) -> Floats:
    links = range(len(nests.array.stores["output"]) - 1)
    steps = [np.maximum(edges["output", k, DRAIN], edges["output", k + 1, UPDATE]) for k in links]
    return np.asarray(np.sum(steps, axis=0), float)
