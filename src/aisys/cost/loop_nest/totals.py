"""Energy, cycles and fit of very many mappings of one nest in one compiled loop: what `evaluate` says, in total.

For einsums without sliding windows and factors that divide; on machines with double buffers that move single words.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from aisys.cost.loop_nest.einsum import Einsum
from aisys.cost.loop_nest.hierarchy import Hierarchy
from aisys.cost.loop_nest.mapping import Keep, Loop, Mapping, MappingTable
from aisys.errors import Unsupported

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


BLOCK_ROWS = 512
"""Rows that are worked on together: their columns stay in the innermost cache."""

CUTS, MOVES, COPIES, ASKS, BEGINS, REPEATS = 1, 2, 4, 8, 16, 32
"""What a loop does to an operand at a place: cuts its tile; moves it in time; copies it over units, for which the level
is asked again, and which begin sums of their own; repeats it in time, if a loop inside moves it."""


def totals(einsum: Einsum, machine: Hierarchy, table: MappingTable) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Joule, cycles and whether it fits, arrays [rows]. Raises Unsupported for what the first lines exclude."""
    if any(len(rank) > 1 for operand in einsum.operands for rank in operand.ranks):
        raise Unsupported(f"{einsum.name} has sliding windows; ask evaluate, which knows what they share")
    for level in machine.levels:
        if not level.is_double_buffered or level.block_words > 1 or level.leak_joule_per_cycle:
            raise Unsupported(f"{machine.name}: {level.name} is a single buffer, leaks or moves blocks; ask evaluate")
    places, roles = _places(einsum, machine, table.nest)
    owner = [machine.index(x.over.rpartition(".")[0]) if x.over else -1 for x in table.nest.loops]
    inner = np.array([[0 <= o < p for o in owner] for p in range(len(machine.levels))], np.bool_)
    levels = np.array(
        [
            [
                level.capacity_bits, 1 / level.read_bits_per_cycle, 1 / level.write_bits_per_cycle,
                level.has_shared_port, level.read_joule_per_bit, level.write_joule_per_bit, level.update_joule_per_bit,
            ]
            for level in machine.levels
        ]
    )  # fmt: skip
    if machine.zeros:
        raise Unsupported(f"{machine.name} looks for zeros; ask evaluate")
    bits = np.array([machine.levels[level].bits(einsum.operands[o]) for o, level, *_ in places], float)
    size = np.array([float(einsum.operands[o].elements(einsum.extents)) for o, *_ in places])
    found = np.empty((3, len(table)))
    _loop(
        np.ascontiguousarray(table.factors.T, np.float64), (places, roles, bits, size),
        (np.array(owner, np.int64), inner.reshape(len(machine.levels), len(owner))), levels,
        (einsum.num_macs * machine.mac_joule, machine.reads_on_drain), found,
    )  # fmt: skip
    return found[0], found[1], found[2] > 0


def _places(einsum: Einsum, machine: Hierarchy, nest: Mapping) -> tuple[Ints, Ints]:
    """Operand, level, whether outermost, whether the arithmetic is next, whether an output; and what each loop does."""
    loops, rows, roles = nest.loops, [], []
    for o, operand in enumerate(einsum.operands):
        depth, kept = 0, []
        for node in nest.nodes:
            depth += isinstance(node, Loop)
            if isinstance(node, Keep) and operand.name in node.operands:
                kept.append((machine.index(node.level), depth))
        ends = [*(inner for _, inner in kept[1:]), len(loops)]
        is_output = operand.role == "output"
        for i, ((level, outer), end) in enumerate(zip(kept, ends, strict=True)):
            rows.append((o, level, i == 0, i + 1 == len(kept), is_output))
            shared = [machine.shares(x.over, is_output=is_output) for x in loops]
            roles.append(
                [_role(x, j < outer, x.dim in operand.dims, shared[j]) if j < end else 0 for j, x in enumerate(loops)]
            )
    return np.array(rows, np.int64), np.array(roles, np.int64).reshape(len(rows), len(loops))


def _role(loop: Loop, is_outside: bool, moves: bool, is_shared: bool) -> int:
    if moves:
        return (CUTS if is_outside else 0) | (0 if loop.is_spatial else MOVES)
    if not loop.is_spatial:
        return REPEATS
    return COPIES | (ASKS if is_outside or not is_shared else 0) | (BEGINS if is_outside else 0)


@njit(cache=True, error_model="numpy")
def _loop(factors, places, network, levels, constants, found):  # type: ignore[no-untyped-def]  # compiled
    """Blocks of rows at a time, so that every step is one instruction for several rows."""
    what, _, bits, size = places
    mac_joule, reads_on_drain = constants
    moved, own = np.empty((len(levels), 3, BLOCK_ROWS)), np.empty((6, BLOCK_ROWS))
    for begin in range(0, factors.shape[1], BLOCK_ROWS):
        rows = min(BLOCK_ROWS, factors.shape[1] - begin)
        moved[:] = 0.0
        joule, incoming = found[0, begin : begin + rows], own[5]
        joule[:] = mac_joule
        for p in range(len(what)):
            _walk(factors, places, (p, begin, rows), own)
            level, is_outermost, is_output = what[p, 1], what[p, 2] == 1, what[p, 4] == 1
            reading, writing, holding = moved[level, 0], moved[level, 1], moved[level, 2]
            width, elements = bits[p], size[p]
            for b in range(rows):
                first = own[2, b] if is_output else 0.0
                drained = 0.0 if is_outermost or not (is_output and reads_on_drain) else incoming[b]
                filled = 0.0 if is_outermost else incoming[b] - first
                read, updated = own[1, b] - first + drained, own[1, b] if is_output else 0.0
                reading[b] += width * read
                writing[b] += width * (filled + updated)
                holding[b] += width * (elements / own[3, b])
                cost = read * levels[level, 4] + filled * levels[level, 5] + updated * levels[level, 6]
                joule[b] += width * cost
                incoming[b] = own[0, b]
        _cycles(factors, network, levels, (moved, begin, rows), found)


@njit(cache=True)
def _walk(factors, places, place, own):  # type: ignore[no-untyped-def]  # compiled
    """Rows of own: elements that cross inwards, that are asked for, that begin here; tiles; whether a loop moved."""
    what, roles, _, size = places
    p, begin, rows = place
    below, asked, first, cut, moving = own[0], own[1], own[2], own[3], own[4]
    for b in range(rows):
        below[b] = asked[b] = first[b] = size[p]
        cut[b], moving[b] = 1.0, float(what[p, 3])
    for j in range(len(factors) - 1, -1, -1):
        role, column = roles[p, j], factors[j, begin : begin + rows]
        if role & CUTS:
            for b in range(rows):
                cut[b] *= column[b]
        if role & MOVES:
            for b in range(rows):
                moving[b] = max(moving[b], column[b] - 1.0)
        if role & REPEATS:
            for b in range(rows):
                factor = column[b] if moving[b] > 0.0 else 1.0
                below[b] *= factor
                asked[b] *= factor
        if role & COPIES:
            for b in range(rows):
                below[b] *= column[b]
        if role & ASKS:
            for b in range(rows):
                asked[b] *= column[b]
        if role & BEGINS:
            for b in range(rows):
                first[b] *= column[b]


@njit(cache=True, error_model="numpy")
def _cycles(factors, network, levels, block, found):  # type: ignore[no-untyped-def]  # compiled
    owner, inner = network
    moved, begin, rows = block
    cycles, fits = found[1, begin : begin + rows], found[2, begin : begin + rows]
    cycles[:] = 1.0
    fits[:] = 1.0
    for j in range(len(factors)):
        if owner[j] < 0:
            for b in range(rows):
                cycles[b] *= factors[j, begin + b]
    for level in range(len(levels)):
        share = moved[level, 0], moved[level, 1], moved[level, 2]
        room, per_read, per_write, is_shared = levels[level, 0], levels[level, 1], levels[level, 2], levels[level, 3]
        for j in range(len(factors)):
            if inner[level, j]:
                for b in range(rows):
                    share[0][b] /= factors[j, begin + b]
                    share[1][b] /= factors[j, begin + b]
        for b in range(rows):
            read, written = share[0][b] * per_read, share[1][b] * per_write
            cycles[b] = max(cycles[b], read + written if is_shared > 0.0 else max(read, written))
            fits[b] = fits[b] if share[2][b] <= room else 0.0
