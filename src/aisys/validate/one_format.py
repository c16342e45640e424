"""Products whose operands, result and arithmetic have one number format."""

from numpy.typing import ArrayLike

from aisys.ir import OpTable


def product(
    of: str, *, m: ArrayLike, n: ArrayLike, k: ArrayLike, batch: ArrayLike = 1, b_is_weight: ArrayLike = True
) -> OpTable:
    """Products of m x k by k x n in format `of`."""
    return OpTable.of(
        "matmul", batch=batch, m=m, n=n, k=k, b_is_weight=b_is_weight, a_dtype=of, b_dtype=of, out_dtype=of, math=of
    )
