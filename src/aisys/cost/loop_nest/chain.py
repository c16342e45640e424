"""Chains of einsums that hand tensors on: the best fused mapping, and the best without fusion beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aisys.cost.loop_nest.einsum import Einsum, Rank
from aisys.cost.loop_nest.fusion import Member, Place
from aisys.cost.loop_nest.hierarchy import Hierarchy
from aisys.cost.loop_nest.join import best_chain
from aisys.cost.loop_nest.mapper import front
from aisys.cost.loop_nest.space import Space
from aisys.errors import BadInput, Unsupported
from aisys.frozen import FrozenMap

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Energy and time of all einsums together, fused and one by one, each with the least product of both.

    places: of every shared tensor: the level that it begins in, and the loop that its users share, if any.
    """

    joule: float
    time_s: float
    separate_joule: float
    separate_time_s: float
    places: FrozenMap[str, Place]
    num_walked: int


def fused(einsums: Sequence[Einsum], machine: Hierarchy) -> Chain:
    """The best way through a chain of einsums; dims of one name are one axis.

    A tensor that one einsum writes and a later one reads may stay in the level next to the outermost memory. Raises
    BadInput where nothing is handed on, or a tensor has other extents where it is read, DoesNotFit where nothing fits,
    Unsupported for a memory that moves whole blocks.

    >>> from aisys.cost.loop_nest import chain_of
    >>> from aisys.machine import device
    >>> chain = chain_of("s[q, t] += a[q, d] * b[t, d]; c[q, e] += s[q, t] * v[t, e]", dict(q=64, t=64, d=32, e=32))
    >>> found = fused(chain, Hierarchy.of(device("tpu-v4i")))
    >>> found.joule < found.separate_joule, found.places["s"].level
    (True, 1)
    """
    blocks = [level.name for level in machine.levels if level.block_words > 1]
    if blocks:
        raise Unsupported(f"{machine.name}: {blocks[0]} moves whole blocks; map the einsums of a chain one by one")
    shared = _shared(einsums)
    members = [
        Member(
            Space(einsum=einsum, machine=machine, shared=shared & {o.name for o in einsum.operands}),
            FrozenMap({o.name: tuple("+".join(sorted(rank)) for rank in o.ranks) for o in einsum.operands}),
        )
        for einsum in einsums
    ]
    found = best_chain(members)
    fronts = [front(Space(einsum=einsum, machine=machine)) for einsum in einsums]
    joule, time_s = least_product([f.joule for f in fronts], [f.cycles / machine.clock_hz for f in fronts])
    return Chain(
        joule=found.joule, time_s=found.time_s, separate_joule=joule, separate_time_s=time_s, places=found.places,
        num_walked=found.num_walked,
    )  # fmt: skip


def _shared(einsums: Sequence[Einsum]) -> frozenset[str]:
    """The tensors that are written and read later."""
    written: dict[str, list[int]] = {}
    shared = set()
    for einsum in einsums:
        sizes = {o.name: [_extent(einsum, rank) for rank in o.ranks] for o in einsum.operands}
        for name in sizes.keys() & written.keys():
            if name == einsum.output.name:
                raise BadInput(f"{name} is written twice in the chain; give each einsum an output of its own")
            if sizes[name] != written[name]:
                raise BadInput(f"{name} is written with extents {written[name]} and read with {sizes[name]}")
            shared.add(name)
        written[einsum.output.name] = sizes[einsum.output.name]
    if not shared:
        raise BadInput("no einsum of the chain reads what an earlier one writes; map them one by one")
    return frozenset(shared)


def _extent(einsum: Einsum, rank: Rank) -> int:
    return 1 + sum(step * (einsum.extents[dim] - 1) for dim, step in rank.items())


def least_product(joules: Sequence[Floats], seconds: Sequence[Floats]) -> tuple[float, float]:
    """The sum of energies and of times, of one entry of each front, whose product is least."""
    joule, time_s = np.zeros(1), np.zeros(1)
    for more_joule, more_s in zip(joules, seconds, strict=True):
        joule, time_s = (joule[:, None] + more_joule).ravel(), (time_s[:, None] + more_s).ravel()
        order = np.lexsort((time_s, joule))
        joule, time_s = joule[order], time_s[order]
        keep = np.concatenate(([True], time_s[1:] < np.minimum.accumulate(time_s)[:-1]))
        joule, time_s = joule[keep], time_s[keep]
    row = int(np.lexsort((joule, joule * time_s))[0])
    return float(joule[row]), float(time_s[row])
