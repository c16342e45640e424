"""The best nests of a layer on a ported array, and of a network: exhaustive over a stated family of nests.

From the inside: input channels and the kernel (all, or with one axis of the kernel further out), then the block of
output columns and rows, the output channels and the rest of the input channels in any order, then a last split of rows
and output channels. Every split into divisors; weights cut after any of the outer loops, inputs after one of the last
two or whole; partial sums stay in the unit for the innermost loops; outputs stay in the array's memory until complete.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations, permutations, product
from typing import NamedTuple

import numpy as np

from aisys.cost.loop_nest.ports.array import Layer, PortedArray
from aisys.cost.loop_nest.ports.latency import LayerCost, evaluate, fits
from aisys.cost.loop_nest.ports.nest import DIMS, Floats, Ints, Mask, Nests
from aisys.errors import DoesNotFit

BLOCKS = {"C0": "C", "C1": "C", "K1": "K", "K2": "K", "Y1": "OY", "Y2": "OY", "X": "OX", "FX": "FX", "FY": "FY"}


class Front(NamedTuple):
    """Energy and cycles, arrays, of what nothing beats in both; `num_nests` were evaluated."""

    joule: Floats
    cycles: Floats
    num_nests: int


@lru_cache(maxsize=1024)
def layer_front(layer: Layer, array: PortedArray) -> Front:
    """The best nests of one layer; a shape that was searched before is not searched again. Raises DoesNotFit."""
    tables = list(_tables(layer, array))
    dims, factors = (np.concatenate([getattr(t, name) for t in tables]) for name in ("dims", "factors"))
    cuts = {
        role: tuple(np.concatenate([t.cuts[role][i] for t in tables]) for i in range(len(tables[0].cuts[role])))
        for role in tables[0].cuts
    }
    nests = Nests(layer, array, dims, factors, cuts)
    rows = np.flatnonzero(fits(nests))
    if not len(rows):
        raise DoesNotFit(f"{array.name}: no nest of the layer {dict(layer.extents)} fits its memories")
    cost: LayerCost = evaluate(_rows(nests, rows))
    best = _front(cost.joule, cost.cycles)
    return Front(cost.joule[best], cost.cycles[best], len(rows))


def network_front(layers: Sequence[Layer], array: PortedArray) -> Front:
    """The best sums over layers that run one after the other: the product of sums needs more than each layer's best."""
    joule, cycles, num_nests = np.zeros(1), np.zeros(1), 0
    for layer in layers:
        one = layer_front(layer, array)
        joule, cycles = (joule[:, None] + one.joule).ravel(), (cycles[:, None] + one.cycles).ravel()
        best = _front(joule, cycles)
        joule, cycles, num_nests = joule[best], cycles[best], num_nests + one.num_nests
    return Front(joule, cycles, num_nests)


def _rows(nests: Nests, rows: Ints) -> Nests:
    cuts = {role: tuple(cut[rows] for cut in own) for role, own in nests.cuts.items()}
    return Nests(nests.layer, nests.array, nests.dims[rows], nests.factors[rows], cuts)


def _front(joule: Floats, cycles: Floats) -> Ints:
    order = np.lexsort((cycles, joule))
    least = np.minimum.accumulate(cycles[order])
    return order[np.concatenate(([True], cycles[order][1:] < least[:-1]))]


def _tables(layer: Layer, array: PortedArray) -> Iterator[Nests]:
    """One table per order of the blocks, without nests that another order holds as well."""
    factors = _splits(layer, array)
    inner = [("C0", "FY", "FX"), ("C0", "FY")] if layer.extents["FX"] > 1 else [("C0",)]
    depth = len(inner[0]) + 6
    for inside in inner:
        outer = [("X", "Y1"), ("K1",), ("C1",), *([("FX",)] if "FX" not in inside and len(inner) > 1 else [])]
        for order, last in product(permutations(outer), (("Y2", "K2"), ("K2", "Y2"))):
            kept = np.flatnonzero(_is_canonical(factors, order, last))
            if len(kept):
                names = (*inside, *(name for block in order for name in block), *last)
                yield _with_cuts(layer, array, (names, len(inside), depth), {n: f[kept] for n, f in factors.items()})


def _splits(layer: Layer, array: PortedArray) -> dict[str, Ints]:
    e = layer.extents
    steps = {"K": layer.spread("K", array.cols)[0], "C": layer.spread("C", array.rows)[0]}
    c, k, y = np.array(
        list(product(_divisors(steps["C"]), _divisors(steps["K"]), _divisors(e["OY"]))), np.int64
    ).T  # fmt: skip
    one = np.ones_like(c)
    return {
        "C0": c, "C1": steps["C"] // c, "K1": k, "K2": steps["K"] // k, "Y1": y, "Y2": e["OY"] // y,
        "X": one * e["OX"], "FX": one * e["FX"], "FY": one * e["FY"],
    }  # fmt: skip


def _divisors(extent: int) -> list[int]:
    return [d for d in range(1, extent + 1) if extent % d == 0]


def _is_canonical(factors: dict[str, Ints], order: tuple[tuple[str, ...], ...], last: tuple[str, str]) -> Mask:
    """Rows that no other order holds: blocks of one step stand last, in the order of their names."""
    names = [block[0] for block in order]
    idle = {n: factors[n] == 1 if n in ("K1", "C1", "K2", "Y2") else np.zeros(len(factors["X"]), bool) for n in factors}
    found = np.ones(len(factors["X"]), bool)
    for first, second in combinations(names, 2):
        found &= ~idle[first] | idle[second]
        if first > second:
            found &= ~(idle[first] & idle[second])
    if last == ("K2", "Y2"):
        found &= ~idle["K2"] & ~idle["Y2"]
        if names[-1] == "K1":
            found &= idle["K1"]
    return found


def _with_cuts(
    layer: Layer, array: PortedArray, shape: tuple[tuple[str, ...], int, int], factors: dict[str, Ints]
) -> Nests:
    names, num_inside, depth = shape
    count = len(names)
    columns = np.stack([factors[name] for name in names], axis=1)
    after = [num_inside, *range(count - 4, count + 1)]
    rows, weight, inputs = (
        grid.ravel() for grid in np.meshgrid(np.arange(len(columns)), sorted(set(after)), range(count - 2, count + 1))
    )
    ends = [columns[rows, cut - 1] > 1 for cut in (weight, inputs)]
    good = (ends[0] | (weight == num_inside)) & (ends[1] | (inputs == count - 2))
    rows, weight, inputs = rows[good], weight[good], inputs[good]
    padding = np.ones((len(rows), depth - count), np.int64)
    codes = np.array([DIMS.index(BLOCKS[name]) for name in names])
    dims = np.hstack([np.tile(codes, (len(rows), 1)), np.zeros_like(padding)])
    everything = np.full(len(rows), depth)
    cuts = {
        "output": (np.full(len(rows), num_inside), everything), "weight": (weight,),
        "input": (np.where(inputs == count, depth, inputs),),
    }  # fmt: skip
    return Nests(layer, array, dims, np.hstack([columns[rows], padding]), cuts)
