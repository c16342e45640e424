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
"""Counts of tiles; the last vector and the last result row, counted from 0, of full and of edge tiles; addresses in
beats. is_resident: the vectors of A stay in the left buffer over n. is_raw: int32 results. is_relu: none below zero.
The inputs must not change while the array is busy."""
