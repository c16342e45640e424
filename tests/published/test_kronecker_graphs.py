"""Kronecker graphs have as many edges and lonely vertices as the Graph500 recursion promises."""

from math import comb

import numpy as np
import pytest

from aisys.kernel.csr import kronecker

A, B, D = 0.57, 0.19, 0.05
"""Quadrants of the Graph500 benchmark specification, 2011; B stands twice."""


def expected_edges(scale: int, num_draws: int) -> float:
    """Directed edges without loops: pairs of vertices by how many bits of their ends differ, or agree in 0, or in 1."""
    total = 0.0
    for differ in range(1, scale + 1):
        for zeros in range(scale - differ + 1):
            pairs = comb(scale, differ) * comb(scale - differ, zeros) * 2**differ
            once = A**zeros * B**differ * D ** (scale - differ - zeros)
            total += pairs * (1 - (1 - 2 * once) ** num_draws)
    return total


def expected_lonely(scale: int, num_draws: int) -> float:
    """Vertices that no edge but a loop touches, by how many of their bits are 0."""
    total = 0.0
    for zeros in range(scale + 1):
        ones = scale - zeros
        touched = 2 * ((A + B) ** zeros * (B + D) ** ones - A**zeros * D**ones)
        total += comb(scale, zeros) * (1 - touched) ** num_draws
    return total


@pytest.mark.parametrize(("scale", "edges_per_vertex"), [(12, 16), (13, 4)])
def test_edges_and_lonely_vertices_are_the_expected_ones(scale: int, edges_per_vertex: int) -> None:
    """Sampling moves edges by under 1 %, and the 750 lonely vertices by two standard deviations of 4 %."""
    graph = kronecker(scale, edges_per_vertex)
    draws = edges_per_vertex << scale
    assert graph.num_vertices == 2**scale
    assert graph.num_edges == pytest.approx(expected_edges(scale, draws), rel=0.01)
    assert (np.diff(graph.offsets) == 0).sum() == pytest.approx(expected_lonely(scale, draws), rel=0.08)


def test_the_recursion_gives_the_size_that_other_tools_report_at_scale_18() -> None:
    """7.61 million directed edges after clean-up by the generator of the GAP suite (Beamer et al. 2015)."""
    assert expected_edges(18, 16 << 18) == pytest.approx(7.61e6, rel=1e-3)
