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

    The first segment (embedding) stands with the first layers and the last (head) with the last ones. Where stages
    do not divide the layers but divide layers + 2, the two ends count as a layer each (Llama Team 2024, section 3.3).
    """
    blocks = graph.blocks
    index = {block: i for i, block in enumerate(blocks)}
    layers = [index[block] for block in graph.layers]
    inner = len(layers) - 2
    counts = np.zeros((num_virtual, len(blocks)), np.int64)
    ends_count = num_virtual > 1 and inner % num_virtual != 0 and len(layers) % num_virtual == 0
    ranges = layer_ranges(len(layers), num_virtual) if ends_count else _around(layer_ranges(inner, num_virtual), inner)
    for stage, (start, end) in enumerate(ranges):
        np.add.at(counts[stage], layers[start:end], 1)
    return counts


def _around(ranges: tuple[tuple[int, int], ...], inner: int) -> list[tuple[int, int]]:
    """Ranges over the inner layers, moved past the embedding and widened to take in both ends."""
    return [(start + (start > 0), end + 1 + (end == inner)) for start, end in ranges]
