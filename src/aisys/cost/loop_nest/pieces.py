"""Pieces: what a level stores and sends as one, and what an element of it takes there in a format.

A piece is what one step of the loops hands inwards, over all units that get a part of it at once; the innermost level
that keeps an operand stores its tile as one piece, for the arithmetic walks through it. Every piece is encoded by
itself, so that it can be read by itself. Edge pieces of factors that do not divide count as whole ones do.
"""

from typing import Any

import numpy as np

from aisys.cost.loop_nest.counting import Floats
from aisys.cost.loop_nest.einsum import Operand
from aisys.cost.loop_nest.hierarchy import Hierarchy, Level
from aisys.cost.loop_nest.mapping import Keep, Loop, Mapping
from aisys.cost.loop_nest.traffic import Walk

Places = list[tuple[str, int]]


def places(nest: Mapping, operand: Operand) -> Places:
    """The levels that keep `operand`, outermost first, and how many loops lie outside each."""
    found: Places = []
    depth = 0
    for node in nest.nodes:
        if isinstance(node, Loop):
            depth += 1
        elif isinstance(node, Keep) and operand.name in node.operands:
            found.append((node.level, depth))
    return found


def element_bits(walk: Walk, machine: Hierarchy, nest: Mapping) -> dict[tuple[str, str], Floats]:
    """Bits per element at each (level, operand) that keeps it: one number, or one per row where pieces matter."""
    found: dict[tuple[str, str], Floats] = {}
    for operand in walk.einsum.operands:
        kept = places(nest, operand)
        ends = [depth for _, depth in kept[1:]]
        for (name, depth), inner in zip(kept, [*ends, *(depth for _, depth in kept[-1:])], strict=True):
            level = machine.levels[machine.index(name)]
            form = level.formats.get(operand.role)
            is_even = form is None or form.is_even
            bits = level.bits(operand) if is_even else _by_shape(walk, level, operand, (depth, inner))
            found[name, operand.name] = np.asarray(bits, float)
    return found


def _by_shape(walk: Walk, level: Level, operand: Operand, span: tuple[int, int]) -> Floats:
    """Bits per element in the pieces of every row; each distinct shape is asked for once."""
    rows, columns = walk.einsum.matrix(operand, [_width(walk, rank, span) for rank in operand.ranks])
    shapes = np.stack(np.broadcast_arrays(np.atleast_1d(rows), columns), axis=-1).astype(np.int64)
    distinct, index = np.unique(shapes, axis=0, return_inverse=True)
    bits = [level.bits(operand, (int(r), int(c))) for r, c in distinct]
    return np.asarray(np.array(bits)[index.reshape(-1)], float)


def _width(walk: Walk, rank: Any, span: tuple[int, int]) -> Any:
    """Elements along one rank of a piece: the tile inside the loops, of all units that the span spreads it over."""
    width: Any = 1.0
    for dim, coefficient in rank.items():
        extent = walk.tile(span[1], dim)
        for loop, factor in zip(walk.loops[span[0] : span[1]], walk.factors[span[0] : span[1]], strict=True):
            if loop.is_spatial and loop.dim == dim:
                extent = extent * factor
        width = width + coefficient * (np.minimum(extent, float(walk.einsum.extents[dim])) - 1.0)
    return width
