"""The compiled loop of `totals`: one mapping after the other, perfect factors only. See `traffic` for the rules."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CAPACITY, READ, WRITE, SHARED, DOUBLE, MULTICAST, REDUCE, READ_J, WRITE_J, UPDATE_J, LEAK_J, DRAIN, BITS = range(13)
"""Columns of a level; the bits of each operand's elements follow."""
READS, FILLS, UPDATES, DRAINS, HELD = range(5)
NO_LOOP, RUN, RUN_OVER, NO_RUN = range(4)
"""Scanning outwards: no active loop yet; in the innermost run that slides the tile; past it; there is none."""
PLAIN = 99.0
"""Rank number of a dim that is a rank of its own with coefficient 1: its elements are in the constant."""


@njit(cache=True)
def run(factors: Ints, loops: Ints, places: Ints, operands: Floats, levels: Floats, found: Floats) -> None:
    """Fills `found` [rows, 3] with cycles, joule of storage, and 1 where every level has room."""
    num_loops, num_dims = loops.shape[0], (operands.shape[1] - 2) // 3
    tile = np.empty((num_loops + 1, num_dims))
    bits = np.zeros((levels.shape[0], 5))
    for row in range(factors.shape[0]):
        tile[num_loops] = 1.0
        steps = 1.0
        for loop in range(num_loops - 1, -1, -1):
            tile[loop] = tile[loop + 1]
            tile[loop, loops[loop, 0]] *= factors[row, loop]
            if loops[loop, 1] < 0:
                steps *= factors[row, loop]
        bits[:] = 0.0
        for number in range(operands.shape[0]):
            _operand(factors[row], loops, places[number], operands[number], (levels, number), (tile, bits))
        _finish(factors[row], loops, levels, bits, (steps, found[row]))


@njit(cache=True)
def _operand(factors, loops, places, operand, at, scratch):  # type: ignore[no-untyped-def]
    """Adds the bits of one operand at each level that keeps it."""
    levels, number = at
    tile, bits = scratch
    is_output = operand[0] > 0
    incoming = 0.0
    position = 0
    while places[position, 0] >= 0:
        level, depth = places[position]
        is_last = places[position + 1, 0] < 0
        inner = loops.shape[0] if is_last else places[position + 1, 1]
        below = _moved(factors, loops, operand, (inner, is_last), tile)
        can_share = levels[level, REDUCE] if is_output else levels[level, MULTICAST]
        shared = _copies(factors, loops, operand, depth, inner) if can_share else 1.0
        content = below / shared
        own = operand[1] * _copies(factors, loops, operand, 0, depth) if is_output else 0.0
        drains = incoming if is_output and position else 0.0
        width = levels[level, BITS + number]
        reads = content - own + (drains if levels[level, DRAIN] else 0.0) if is_output else content
        bits[level, READS] += width * reads
        bits[level, UPDATES] += width * content if is_output else 0.0
        bits[level, DRAINS] += width * drains
        bits[level, FILLS] += width * (incoming - own) if position else 0.0
        bits[level, HELD] += width * _held(operand, tile[depth])
        incoming = below
        position += 1


@njit(cache=True)
def _copies(factors, loops, operand, begin, end):  # type: ignore[no-untyped-def]
    """Units with the same tile: spatial loops between two depths over dims that the operand does not have."""
    copies = 1.0
    for loop in range(begin, end):
        if loops[loop, 1] >= 0 and operand[2 + 3 * loops[loop, 0]] < 0:
            copies *= factors[loop]
    return copies


@njit(cache=True)
def _moved(factors, loops, operand, where, tile):  # type: ignore[no-untyped-def]
    """Elements that all visits below the first loops bring in, over all units."""
    depth, is_compute = where
    times, is_moving, state = 1.0, is_compute, NO_LOOP
    slid_dim, slid_times, step, span = -1, 1, 0.0, 0.0
    for loop in range(depth - 1, -1, -1):
        dim, factor = loops[loop, 0], factors[loop]
        is_relevant = operand[2 + 3 * dim] >= 0
        if loops[loop, 1] >= 0:
            times *= 1.0 if is_relevant else factor
        elif factor > 1:
            if state == NO_LOOP:
                state = RUN if is_relevant else NO_RUN
                slid_dim, step, span, slid_times = dim, tile[loop + 1, dim], tile[loop, dim], factor
            elif state == RUN and dim == slid_dim and tile[loop + 1, dim] == span:
                slid_times, span = slid_times * factor, tile[loop, dim]
            elif state == RUN:
                state = RUN_OVER
            is_moving = is_moving or is_relevant
            times *= factor if is_moving and not is_relevant else 1.0
    has_run = (state in (RUN, RUN_OVER)) and not is_compute
    return times * operand[1] * _windows(operand, tile[depth], slid_dim if has_run else -1, slid_times, step)


@njit(cache=True)
def _windows(operand, tile, slid_dim, slid_times, step):  # type: ignore[no-untyped-def]
    """Elements of the ranks that are not one plain dim: widths of all tiles, less what slides along."""
    total = 1.0
    for first in range(tile.shape[0]):
        rank = operand[2 + 3 * first]
        second = _partner(operand, first, tile.shape[0])
        if rank < 0 or rank == PLAIN or 0 <= second < first:
            continue
        a, extent_a = operand[3 + 3 * first], operand[4 + 3 * first]
        num_a = extent_a / tile[first]
        if second < 0:
            total *= num_a + a * (extent_a - num_a)
            continue
        b, extent_b = operand[3 + 3 * second], operand[4 + 3 * second]
        num_b = extent_b / tile[second]
        moved = num_a * num_b + a * (extent_a - num_a) * num_b + b * (extent_b - num_b) * num_a
        if slid_dim in (first, second):
            num, other, coefficient = (num_a, num_b, a) if slid_dim == first else (num_b, num_a, b)
            width = 1.0 + a * (tile[first] - 1.0) + b * (tile[second] - 1.0) - coefficient * step
            moved -= (num - num / slid_times) * other * max(width, 0.0)
        total *= moved
    return total


@njit(cache=True)
def _partner(operand, dim, num_dims):  # type: ignore[no-untyped-def]
    """The other dim of the rank of `dim`, or -1."""
    for other in range(num_dims):
        if other != dim and operand[2 + 3 * other] == operand[2 + 3 * dim]:
            return other
    return -1


@njit(cache=True)
def _held(operand, tile):  # type: ignore[no-untyped-def]
    """Elements of one tile."""
    held = 1.0
    for first in range(tile.shape[0]):
        rank = operand[2 + 3 * first]
        if rank == PLAIN:
            held *= tile[first]
        elif rank >= 0:
            second = _partner(operand, first, tile.shape[0])
            width = 1.0 + operand[3 + 3 * first] * (tile[first] - 1.0)
            if second >= 0:
                width += operand[3 + 3 * second] * (tile[second] - 1.0)
            held *= width if second < 0 or first < second else 1.0
    return held


@njit(cache=True)
def _finish(factors, loops, levels, bits, result):  # type: ignore[no-untyped-def]
    """Cycles, energy and fit from the bits at each level."""
    steps, found = result
    slowest, waiting, joule, fits, leak = steps, 0.0, 0.0, 1.0, 0.0
    for level in range(levels.shape[0]):
        instances = 1.0
        for loop in range(loops.shape[0]):
            if 0 <= loops[loop, 1] < level:
                instances *= factors[loop]
        reading = bits[level, READS] / instances / levels[level, READ]
        writing = (bits[level, FILLS] + bits[level, UPDATES]) / instances / levels[level, WRITE]
        slowest = max(slowest, reading + writing if levels[level, SHARED] else max(reading, writing))
        if not levels[level, DOUBLE]:
            waiting += bits[level, FILLS] / instances / levels[level, WRITE]
            waiting += bits[level, DRAINS] / instances / levels[level, READ]
        joule += bits[level, READS] * levels[level, READ_J] + bits[level, FILLS] * levels[level, WRITE_J]
        joule += bits[level, UPDATES] * levels[level, UPDATE_J]
        leak += levels[level, LEAK_J]
        fits = fits if bits[level, HELD] <= levels[level, CAPACITY] else 0.0
    found[0] = slowest + waiting
    found[1] = joule + leak * found[0]
    found[2] = fits
