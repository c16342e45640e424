"""What every memory system asks of an access record: cache hits, distinct bytes, and how work is spread."""

import numpy as np
from numpy.typing import NDArray

from aisys.ir.record import LINE_BYTES, NUM_BLOCKS, AccessRecord, BlockTraffic, Stream


def held(stream: Stream, cache_bytes: float) -> float:
    """The share of accesses that an LRU cache of `cache_bytes` holds; between entries it grows with the logarithm.

    >>> held(Stream(tensor="x", pattern="gather", accesses=9, grain_bytes=4, footprint_bytes=9, reuse=(0.0, 0.5)), 128)
    0.5
    """
    if not stream.reuse:
        return 0.0
    lines = np.log2(max(cache_bytes / LINE_BYTES, 1.0))
    return float(np.interp(lines, np.arange(len(stream.reuse)), stream.reuse))


def compulsory_bytes(record: AccessRecord) -> float:
    """Bytes that cross any memory's pins at least once: per tensor, the most distinct bytes of one phase."""
    most: dict[str, int] = {}
    for phase in record.phases:
        for stream in phase.streams:
            most[stream.tensor] = max(most.get(stream.tensor, 0), stream.footprint_bytes)
    return float(sum(most.values()))


def parts_of_blocks(num_parts: int) -> NDArray[np.int64]:
    """The part that holds each block of the data, in a partition into equal contiguous ranges."""
    return np.arange(NUM_BLOCKS, dtype=np.int64) * num_parts // NUM_BLOCKS


def imbalance(traffic: BlockTraffic, num_parts: int) -> float:
    """Work of the busiest of `num_parts` equal ranges of the data over their mean; at least 1.

    Beyond NUM_BLOCKS parts, the work on one block is taken to be even.
    """
    work = traffic.of_source().astype(float)
    if not work.sum():
        return 1.0
    parts = min(num_parts, NUM_BLOCKS)
    share = np.bincount(parts_of_blocks(parts), weights=work, minlength=parts)
    return float(share.max() * parts / share.sum())


def remote_bytes(traffic: BlockTraffic, num_parts: int) -> float:
    """Bytes that work on one of `num_parts` equal ranges touches in another one.

    Beyond NUM_BLOCKS parts, traffic within one block is spread evenly over its parts.
    """
    parts = min(num_parts, NUM_BLOCKS)
    block = parts_of_blocks(parts)
    inside = traffic.num_bytes[block[traffic.source] == block[traffic.destination]].sum()
    return float(traffic.num_bytes.sum() - inside * parts / num_parts)
