"""What the host tells an array about one matmul."""

from amaranth.lib.data import StructLayout

from aisys.cost.generated_array.design import MOST_TILE

ADDRESS_BITS, COUNT_BITS, ROW_BITS = 32, 16, MOST_TILE.bit_length() - 1

JOB = StructLayout({
    **dict.fromkeys(("num_m", "num_n", "num_k"), COUNT_BITS),
    **dict.fromkeys(("full_vectors", "edge_vectors", "full_rows", "edge_rows"), ROW_BITS),
    **dict.fromkeys(("left_base", "top_base", "parameter_base", "out_base"), ADDRESS_BITS),
    **dict.fromkeys(("is_resident", "is_raw", "is_relu"), 1),
})  # fmt: skip
"""The fields of a job. The inputs must not change while the array is busy."""

MEANINGS = {
    "num_m": "tiles along m", "num_n": "tiles along n", "num_k": "tiles along k",
    "full_vectors": "vectors of a step, minus one",
    "edge_vectors": "vectors of a step in the last tile (of m for ws, of k for os), minus one",
    "full_rows": "rows of results of a tile, minus one", "edge_rows": "those of the last tile of m, minus one",
    "left_base": "where the vectors of A begin, in beats", "top_base": "where the words of B begin",
    "parameter_base": "where bias, multiplier and shift of the channels begin", "out_base": "where results go",
    "is_resident": "1 where num_k is at most the slots of the left buffer: A stays on chip over n",
    "is_raw": "1: int32 results; 0: int8 after requantization", "is_relu": "1: no result below zero (int8 only)",
}  # fmt: skip
"""What each field of a job says."""
