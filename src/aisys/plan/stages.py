"""Which layers stand on which pipeline stage."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aisys.errors import CannotApply
from aisys.ir import Graph


@lru_cache(maxsize=4096)
def layer_ranges(num_layers: int, num_virtual: int) -> tuple[tuple[int, int], ...]:
    """num_layers spread over num_virtual consecutive ranges [start, end), as evenly as possible, larger ones first.

    >>> layer_ranges(10, 4)
    ((0, 3), (3, 6), (6, 8), (8, 10))
    """
    if num_virtual > num_layers:
        raise CannotApply(
            f"{num_virtual} pipeline stages (stages x interleave) for {num_layers} layers; use at most that"
        )
    small, larger = divmod(num_layers, num_virtual)
    ends = np.cumsum([small + (i < larger) for i in range(num_virtual)]).tolist()
    return tuple(zip([0, *ends[:-1]], ends, strict=True))


def block_counts(graph: Graph, num_virtual: int) -> NDArray[np.int64]:
    """How many repetitions of each distinct block stand on each virtual stage, array [virtual stages, blocks].

    The first segment (embedding) stands with the first layers, the last (head) with the last ones.
    """
    blocks = graph.blocks
    index = {block: i for i, block in enumerate(blocks)}
    layers = [index[block] for block in graph.layers]
    counts = np.zeros((num_virtual, len(blocks)), np.int64)
    inner = layers[1:-1]
    for stage, (start, end) in enumerate(layer_ranges(len(inner), num_virtual)):
        np.add.at(counts[stage], inner[start:end], 1)
    counts[0, layers[0]] += 1
    counts[-1, layers[-1]] += 1
    return counts
