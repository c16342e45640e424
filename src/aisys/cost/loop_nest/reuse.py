"""What levels outside are spared beyond one read for many units: tiles that stay, and windows that overlap.

Two columns of a table tell of the tiles of an operand that stay: `still:OPERAND`, whether there are and whether they
still ask the level outside, and `once:OPERAND`, joule of bringing one copy of each.
"""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from aisys.cost.loop_nest.einsum import Operand
from aisys.cost.loop_nest.partial import Ints, Partials
from aisys.cost.loop_nest.space import Space
from aisys.cost.loop_nest.traffic import distinct_share

Floats = NDArray[np.float64]

ASKING, SERVED = 1, 2
"""What a column `still:OPERAND` says of a tile that stays: the level outside is still asked for it, or has given it."""

FUTURES = ("still:", "wide:")
"""Columns of small numbers that decide what loops outside cost: rows that differ in them cannot be compared."""

LOOP, MANY = 2**31, -1
"""How one number holds the tile (its index times LOOP) and the factor of a loop; and what stands for several loops."""


def staying(space: Space, table: Partials, position: int, operand: Operand) -> tuple[Ints, NDArray[np.bool_]]:
    """The rows of a table, and whether their tiles of an operand stay; those that may and need not are there twice.

    Whole ones stay, but in a chain, where other einsums may come between.
    """
    moves = space.moves[operand.name]
    held, again = np.ones(len(table)), np.ones(len(table))
    for d, counts in enumerate(space.counts):
        (held if d in moves else again)[:] *= counts[table.index[:, d]]
    is_asked = table.columns.get(f"still:{operand.name}", np.zeros(len(table))) > 0
    must = is_asked | ((held == 1) & (again > 1) & (not space.shared))
    may = np.flatnonzero(~must & (again > 1) & (held <= space.machine.num_instances(position)))
    rows = np.concatenate((np.arange(len(table)), may))
    return rows, np.concatenate((must, np.ones(len(may), bool)))


def wide(space: Space, table: Partials, name: str, d: int) -> Partials:
    """A table after a loop over dim d that is there only to make tiles of `name` so wide that they stay."""
    assert table.inner is not None
    known = table.columns.get(f"wide:{name}", np.zeros(len(table)))
    grown = table.index[:, d] != table.inner.index[table.origin, d]
    columns = {**table.columns, f"wide:{name}": np.maximum(known, grown)}
    return Partials(table.index, columns, table.origin, table.step, table.inner)


def widest(space: Space, table: Partials, name: str, most: int) -> Partials:
    """Of a table with wide tiles those of which there are `most` at most, which have to stay."""
    columns = dict(table.columns)
    is_wide = columns.pop(f"wide:{name}", np.zeros(len(table))) > 0
    still = columns.get(f"still:{name}", np.zeros(len(table)))
    columns[f"still:{name}"] = np.where(is_wide, SERVED, still)
    columns.setdefault(f"once:{name}", np.zeros(len(table)))
    num = np.prod([space.counts[d][table.index[:, d]] for d in space.moves[name]], axis=0)
    found = Partials(table.index, columns, table.origin, table.step, table.inner)
    return found.kept(np.flatnonzero(~is_wide | (num <= most)))


def served_still(space: Space, table: Partials, operand: Operand, joule: Floats) -> dict[str, Floats]:
    """The two columns of an operand once a level has given its tiles, for `joule`."""
    still, once = table.columns[f"still:{operand.name}"], table.columns[f"once:{operand.name}"]
    is_open = (still > 0) & (bool(space.shared) | ~space.is_whole(operand, table.index))
    return {
        f"still:{operand.name}": np.where(is_open, SERVED, 0.0),
        f"once:{operand.name}": once + np.where(still == ASKING, joule, 0.0),
    }


def stepped(space: Space, table: Partials) -> Partials:
    """Rows of a newest step in time that move no tile which is said to stay; see `hold`."""
    assert table.inner is not None
    moved = table.index != table.inner.index[table.origin]
    fits = np.ones(len(table), bool)
    for name, dims in space.moves.items():
        if f"still:{name}" in table.columns:
            fits &= (table.columns[f"still:{name}"] == 0) | ~moved[:, list(dims)].any(axis=1)
    return table if fits.all() else table.kept(np.flatnonzero(fits))


def moving(space: Space, table: Partials) -> Partials:
    """The rows none of whose tiles stay: a loop follows through which other einsums go as well."""
    still = [table.columns[f"still:{name}"] for name in space.moves if f"still:{name}" in table.columns]
    return table.kept(np.flatnonzero(np.sum(still, axis=0) == 0)) if still else table


def copied(
    space: Space, columns: Mapping[str, Floats], factors: Ints, before: tuple[Mapping[str, Floats], set[str]]
) -> dict[str, Floats]:
    """What tiles that stay ask for and cost, once units that want the same ones have copies of them."""
    found = {"joule": columns["joule"]}
    for operand in space.einsum.operands:
        name = operand.name
        if f"still:{name}" not in columns:
            continue
        copies = factors[:, [d for d in range(len(space.dims)) if d not in space.moves[name]]].prod(axis=1)
        is_shared, asked = f"away:{name}" in before[1], before[0][f"away:{name}"]
        if operand.role == "output":
            asked = asked / copies if is_shared else asked
        else:
            asked = asked if is_shared else asked * copies
            found["joule"] = found["joule"] + columns[f"once:{name}"] * (copies - 1)
            found[f"once:{name}"] = columns[f"once:{name}"] * copies
        found[f"away:{name}"] = np.where(columns[f"still:{name}"] == ASKING, asked, columns[f"away:{name}"])
    return found


def fanned(space: Space, columns: Mapping[str, Floats], index: Ints, factors: Ints) -> dict[str, Floats]:
    """The loops over the dims of windows that the fan-out of one level has so far, for `overlapped`.

    One number per dim: the tile and the factor of its loop; 0 without one, MANY for several.
    """
    found = {}
    for name, rank in space.windows:
        for d in rank:
            before = columns.get(f"fan:{name}:{d}", np.zeros(len(index)))
            own = np.where(before == 0, index[:, d] * LOOP + factors[:, d], MANY)
            found[f"fan:{name}:{d}"] = np.where(factors[:, d] > 1, own, before)
    return found


def overlapped(space: Space, table: Partials) -> Partials:
    """The level shares with one read what lies along diagonals, where two dims of a window are spread over its units.

    Positions a i + b j are the same for several units, as those of filter rows and output rows are.
    """
    columns = {name: column for name, column in table.columns.items() if not name.startswith("fan:")}
    if len(columns) == len(table.columns):
        return table
    for name, rank in space.windows:
        loops = {d: table.columns[f"fan:{name}:{d}"].astype(np.int64) for d in rank}
        num_dims = np.sum([loop != 0 for loop in loops.values()], axis=0)
        share = np.ones(len(table))
        for (d, one), (e, other) in combinations(loops.items(), 2):
            on = (num_dims == 2) & (one > 0) & (other > 0)
            a, b = (rank[x] * space.sizes[x][loop[on] // LOOP] for x, loop in ((d, one), (e, other)))
            share[on] = distinct_share(a, b, one[on] % LOOP, other[on] % LOOP)
        columns[f"away:{name}"] = columns[f"away:{name}"] * share
    return Partials(table.index, columns, table.origin, table.step, table.inner)
