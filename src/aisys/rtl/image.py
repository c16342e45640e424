"""Operands as they lie in the memory behind an array, and results as they come back.

Everything is cut into words (a vector of A, a row of B, the parameters of a group of channels), and each word fills
whole beats of the port. Regions follow one another: A by tile of m, then k; B by tile of n, then k; parameters by tile
of n; results by tile of m, then n.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aisys.cost.generated_array.design import PARAMETER_BYTES, ArrayDesign, Tiling, tiling
from aisys.errors import BadInput
from aisys.rtl.requantization import Requantization, no_requantization

Bytes = NDArray[np.uint8]
Int8 = NDArray[np.int8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Image:
    """One matmul as an array reads it: `fields` of the job, bytes [beats, port_bytes] to read, and beats to write."""

    fields: dict[str, int]
    beats: Bytes
    num_out_beats: int


def image(design: ArrayDesign, a: Int8, b: Int8, requantization: Requantization | None) -> Image:
    """The memory for int8 a [m, k] times b [k, n]; without `requantization` results are int32.

    Raises BadInput for operands that do not fit together, or weights denser than a sparse array takes.
    """
    (m, k), n = _shape(a, b)
    cut = tiling(design, m, k, n)
    parameters = requantization or no_requantization(n)
    if len(parameters) != n:
        raise BadInput(f"requantization has {len(parameters)} channels and the product {n}; give one entry per column")
    regions = (_left(design, cut, a), _top(design, cut, b), _parameters(design, cut, parameters))
    starts = np.cumsum([0, *(len(region) for region in regions)])
    is_ws = design.dataflow == "ws"
    fields = {
        "num_m": cut.num_m, "num_n": cut.num_n, "num_k": cut.num_k,
        "full_vectors": design.tile - 1, "edge_vectors": cut.edge_vectors - 1,
        "full_rows": design.out_slot_rows - 1, "edge_rows": cut.edge_rows - 1,
        "left_base": int(starts[0]), "top_base": int(starts[1]), "parameter_base": int(starts[2]), "out_base": 0,
        "is_resident": int(cut.is_resident), "is_raw": int(requantization is None),
        "is_relu": int(parameters.is_relu),
    }  # fmt: skip
    assert is_ws or cut.edge_rows <= design.rows
    num_out = m * cut.num_n * len(design.out_beat_groups(requantization is None))
    return Image(fields=fields, beats=np.concatenate(regions), num_out_beats=num_out)


def results(design: ArrayDesign, written: Bytes, shape: tuple[int, int], *, is_raw: bool) -> NDArray[np.int32]:
    """Values [m, n] of the beats that an array wrote, bytes [beats, port_bytes]."""
    m, n = shape
    num_n, rows = -(-n // design.cols), design.out_slot_rows
    values = written.view(np.int32 if is_raw else np.int8).reshape(m * num_n, -1)[:, : design.cols]
    out = np.zeros((m, num_n * design.cols), np.int32)
    at = 0
    for first in range(0, m, rows):
        count = min(rows, m - first)
        block = values[at : at + num_n * count].reshape(num_n, count, design.cols)
        out[first : first + count] = block.transpose(1, 0, 2).reshape(count, -1)
        at += num_n * count
    return out[:, :n]


def _shape(a: Int8, b: Int8) -> tuple[tuple[int, int], int]:
    for name, operand in (("a", a), ("b", b)):
        if operand.ndim != 2 or operand.dtype != np.int8 or not operand.size:
            raise BadInput(
                f"{name} is {operand.dtype} of shape {operand.shape}; give an int8 matrix with rows and columns"
            )
    if a.shape[1] != b.shape[0]:
        raise BadInput(f"a has {a.shape[1]} columns and b {b.shape[0]} rows; they must be equal")
    return (a.shape[0], a.shape[1]), b.shape[1]


def _padded(matrix: Int8, rows: int, cols: int) -> Int8:
    return np.pad(matrix, ((0, rows - matrix.shape[0]), (0, cols - matrix.shape[1])))


def _words(design: ArrayDesign, words: NDArray[np.uint8], num_bits: int) -> Bytes:
    """Bytes [words, used] as beats: each word filled up to whole beats."""
    width = design.beats(num_bits) * design.port_bytes
    return np.pad(words, ((0, 0), (0, width - words.shape[1]))).reshape(-1, design.port_bytes)


def _left(design: ArrayDesign, cut: Tiling, a: Int8) -> Bytes:
    """Vectors of A: rows of it for ws, columns of it for os."""
    if design.dataflow == "ws":
        padded = _padded(a, a.shape[0], cut.num_k * design.depth)
        starts = range(0, a.shape[0], design.tile)
        parts = [
            padded[m : m + design.tile, k * design.depth : (k + 1) * design.depth]
            for m in starts for k in range(cut.num_k)
        ]  # fmt: skip
    else:
        padded = _padded(a, cut.num_m * design.rows, a.shape[1])
        parts = [padded[m * design.rows : (m + 1) * design.rows].T for m in range(cut.num_m)]
    return _words(design, np.concatenate(parts).view(np.uint8), design.left_word_bits)


def _top(design: ArrayDesign, cut: Tiling, b: Int8) -> Bytes:
    """Rows of B for os, and of weights for ws; those of a sparse array with their indices."""
    depth = cut.num_k * design.depth if design.dataflow == "ws" else b.shape[0]
    padded = _padded(b, depth, cut.num_n * design.cols)
    by_tile = padded.reshape(depth, cut.num_n, design.cols).transpose(1, 0, 2)
    if design.sparsity is None:
        words = np.ascontiguousarray(by_tile).reshape(-1, design.cols).view(np.uint8)
    else:
        words = np.concatenate([_compressed(design, tile) for tile in by_tile])
    return _words(design, words, design.top_word_bits)


def _compressed(design: ArrayDesign, weights: Int8) -> Bytes:
    """Words of weights [k, cols] that keep n of every m along k: each value with its place in the group, as bits."""
    assert design.sparsity is not None
    kept, group = design.sparsity
    grouped = weights.reshape(-1, group, design.cols)
    num_used = int((grouped != 0).sum(axis=1).max(initial=0))
    if num_used > kept:
        raise BadInput(f"b has {num_used} non-zeros in a group of {group} along k; prune it to {kept}:{group} first")
    order = np.argsort(grouped == 0, axis=1, kind="stable")[:, :kept]
    values = np.take_along_axis(grouped, order, axis=1).view(np.uint8).astype(np.uint16)
    codes = (values | (order.astype(np.uint16) << 8)).reshape(-1, design.cols)
    width = 8 + design.index_bits
    bits = (codes[:, :, None] >> np.arange(width, dtype=np.uint16)) & 1
    return np.packbits(bits.reshape(len(codes), -1).astype(np.uint8), axis=1, bitorder="little")


def _parameters(design: ArrayDesign, cut: Tiling, given: Requantization) -> Bytes:
    """Bias, multiplier and shift of every channel, `lanes` channels per word; channels beyond n are zero."""
    num = cut.num_n * design.cols
    table = np.zeros((num, PARAMETER_BYTES), np.uint8)
    table[: len(given), 0:4] = given.bias.astype("<i4").view(np.uint8).reshape(-1, 4)
    table[: len(given), 4:6] = given.multiplier.astype("<u2").view(np.uint8).reshape(-1, 2)
    table[: len(given), 6] = given.shift
    width = design.column_groups * design.lanes
    per_tile = np.zeros((cut.num_n, width, PARAMETER_BYTES), np.uint8)
    per_tile[:, : design.cols] = table.reshape(cut.num_n, design.cols, PARAMETER_BYTES)
    return _words(design, per_tile.reshape(-1, design.lanes * PARAMETER_BYTES), design.parameter_word_bits)
