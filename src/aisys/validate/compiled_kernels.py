"""Which shapes make DeepGEMM compile a kernel on Hopper: the board idles for seconds before such a run.

Kernels are compiled for (n, k) and a layout, and the layout follows from m. Runs go from many rows to few, so that a
shape compiles where no larger m of its weight chose the same layout.
Source: DeepGEMM (csrc/jit_kernels/heuristics/sm90.hpp, 2026; MIT) for 32 rows and more, TensorRT-LLM's swapped
operands below (deep_gemm/compiler.cuh, 2025; Apache-2.0), as vLLM 0.22 picks them. Not modelled: a cache on disk.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

NUM_SM = 132
SWAPPED_BELOW = 32
_SHARED_BYTES = 232_448
_L2_BYTES_PER_CLOCK = 6153
"""8 MB per 1.3 us of latency, over the clock."""
_CLUSTERS = ((1, 1), (1, 2), (2, 1))
_HEIGHTS, _WIDTHS = (64, 128, SWAPPED_BELOW, 256), range(16, 193, 16)


def layouts(m: Ints, n: Ints, k: Ints) -> Ints:
    """A number per row that is equal where one compiled kernel serves both, given equal n and k."""
    return np.where(m < SWAPPED_BELOW, -_swapped_width(m, n), _by_cycles(m, n, k))


def compiles(m: Ints, n: Ints, k: Ints) -> NDArray[np.bool_]:
    """Whether each run, in the order given, is the first of its kernel."""
    keys = np.stack([n, k, layouts(m, n, k)], axis=1)
    _, first = np.unique(keys, axis=0, return_index=True)
    out = np.zeros(len(m), dtype=bool)
    out[first] = True
    return out


def _ceil(a: Ints, b: int | Ints) -> Ints:
    return -(-a // b)


def _swapped_width(m: Ints, n: Ints) -> Ints:
    """Rows per block: fewest waves of blocks, then the fullest last wave, then the narrowest."""
    tall = np.where(n <= 64, 64, 128)
    best, waves, filled = np.zeros_like(m), np.full_like(m, np.iinfo(np.int64).max), np.zeros_like(m)
    for width in range(16, 129, 8):
        blocks = _ceil(n, tall) * _ceil(m, width)
        w, last = _ceil(blocks, NUM_SM), (blocks - 1) % NUM_SM + 1
        better = (w < waves) | ((w == waves) & (last > filled))
        best, waves, filled = (
            np.where(better, new, old) for new, old in ((width, best), (w, waves), (last, filled))
        )  # fmt: skip
    return np.asarray(best)


def _candidates() -> Iterator[tuple[int, int, int, int]]:
    """Cluster of m and n, block of m and n, in the order in which they are compared."""
    for (cluster_m, cluster_n), block_m, block_n in product(_CLUSTERS, _HEIGHTS, _WIDTHS):
        over = block_n - 128
        is_unrolled = over <= 0 or block_n % over == 0 or 128 % over == 0
        if is_unrolled and min(block_m, block_n) <= 128:
            yield cluster_m, cluster_n, block_m, block_n


def _stages(k: Ints, block_m: int, block_n: int) -> Ints:
    """Pipeline stages that fit into shared memory beside the output block and the scales of B."""
    scales = _ceil(_ceil(k, 128) * 4 * (1 if 128 % block_n == 0 else 2), 8) * 8
    output = -(-block_m * block_n * 2 // 1024) * 1024
    per_stage = (block_m + block_n) * 128 + -(-block_m * 4 // 128) * 128
    return np.minimum((_SHARED_BYTES - output - 256 - scales) // per_stage, 16)


def _by_cycles(m: Ints, n: Ints, k: Ints) -> Ints:
    """The layout of least cycles by the bandwidth of shared memory and of the L2 cache."""
    best, chosen = np.full(len(m), np.inf), np.zeros(len(m), dtype=np.int64)
    for number, (cluster_m, cluster_n, block_m, block_n) in enumerate(_candidates()):
        stages = _stages(k, block_m, block_n)
        blocks = _ceil(m, block_m) * _ceil(n, block_n)
        waves = _ceil(blocks, NUM_SM)
        out = block_m * block_n * 2
        l2 = (k * (block_m // cluster_n + block_n // cluster_m) + out) * blocks // _L2_BYTES_PER_CLOCK
        shared = (2 * k * (block_m + block_n) + 2 * out) * blocks // (128 * NUM_SM)
        cycles = np.floor(np.maximum(l2, shared) / (blocks / (waves * NUM_SM)).astype(np.float32))
        is_allowed = (stages >= 3) & ((stages >= 4) | (block_m * block_n >= 128 * 192))
        if cluster_m * cluster_n > 1:
            is_allowed &= waves > 1
        if block_m == SWAPPED_BELOW:
            is_allowed &= m <= block_m
        cycles = np.where(is_allowed, cycles, np.inf)
        chosen = np.where(cycles < best, number * 20 + stages, chosen)
        best = np.minimum(best, cycles)
    return chosen
