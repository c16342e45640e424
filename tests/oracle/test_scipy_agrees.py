"""Searches reach what scipy's reach, at the same depths."""

import numpy as np
import pytest

from aisys.kernel import bfs
from aisys.kernel.csr import from_edges, kronecker

sparse = pytest.importorskip("scipy.sparse", reason="scipy is not installed")
csgraph = pytest.importorskip("scipy.sparse.csgraph", reason="scipy is not installed")


@pytest.mark.parametrize("is_symmetric", [True, False])
def test_depths_are_those_of_scipy(is_symmetric: bool) -> None:
    graph = kronecker(11)
    if not is_symmetric:
        ends = np.repeat(np.arange(graph.num_vertices), np.diff(graph.offsets))
        forward = ends < graph.targets
        graph = from_edges(graph.num_vertices, ends[forward], graph.targets[forward], is_symmetric=False)
    n = graph.num_vertices
    matrix = sparse.csr_matrix((np.ones(graph.num_edges), graph.targets, graph.offsets), shape=(n, n))
    for source in (0, int(np.argmax(np.diff(graph.offsets)))):
        expected = csgraph.shortest_path(matrix, unweighted=True, indices=source)
        found = bfs.run(graph, source).depth
        assert np.where(np.isinf(expected), -1, expected).astype(int).tolist() == found.tolist()
