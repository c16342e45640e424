"""Beats that a generated array moves over its memory port for a matmul, exactly."""

from aisys.cost.generated_array.design import ArrayDesign, tiling


def read_beats(design: ArrayDesign, m: int, k: int, n: int) -> int:
    """Beats of A, B and parameters: A comes once where all of k stays on chip, else per tile of n; B per tile of m."""
    cut = tiling(design, m, k, n)
    is_ws = design.dataflow == "ws"
    vectors = cut.num_k * m if is_ws else cut.num_m * k
    words_of_b = cut.num_k * design.rows if is_ws else k
    tiles = cut.num_m * cut.num_n
    return (
        design.left_beats * vectors * (1 if cut.is_resident else cut.num_n)
        + design.top_beats * words_of_b * tiles
        + design.parameter_beats * design.column_groups * tiles
    )


def write_beats(design: ArrayDesign, m: int, n: int, *, is_raw: bool) -> int:
    """Beats of results: int32 where `is_raw`, else int8."""
    return m * -(-n // design.cols) * len(design.out_beat_groups(is_raw))


def streamed_vectors(design: ArrayDesign, m: int, k: int, n: int) -> int:
    """Cycles in which vectors enter the array: what would remain if nothing ever waited."""
    cut = tiling(design, m, k, n)
    return cut.num_n * (cut.num_k * m if design.dataflow == "ws" else cut.num_m * k)
