"""Graph files are read as what they say, or refused in one sentence that names the file."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aisys.errors import AisysError, BadInput, UnknownName
from aisys.kernel.csr import Csr
from aisys.workload.graph_file import read_csr, read_graph

BANNER = "%%MatrixMarket matrix coordinate pattern symmetric\n"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def edges_of(graph: Csr) -> set[tuple[int, int]]:
    ends = np.repeat(np.arange(graph.num_vertices), np.diff(graph.offsets))
    return set(zip(ends.tolist(), graph.targets.tolist(), strict=True))


EDGES = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=60)


@given(EDGES)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_forms_hold_the_same_graph(tmp_path: Path, edges: list[tuple[int, int]]) -> None:
    expected = {(a, b) for u, v in edges for a, b in ((u, v), (v, u)) if a != b}
    plain = write(tmp_path, "g.el", "# a list\n" + "".join(f"{u} {v}\n" for u, v in edges))
    assert edges_of(read_csr(plain)) == expected
    body = "".join(f"{u + 1} {v + 1}\n" for u, v in edges)
    market = read_csr(write(tmp_path, "g.mtx", f"{BANNER}% a comment\n21 21 {len(edges)}\n{body}"))
    assert market.num_vertices == 21
    assert edges_of(market) == expected
    general = BANNER.replace("symmetric", "general")
    directed = read_csr(write(tmp_path, "d.mtx", f"{general}21 21 {len(edges)}\n{body}"))
    assert edges_of(directed) == {(u, v) for u, v in edges if u != v}
    assert not directed.is_symmetric


def test_weights_and_separators_do_not_matter(tmp_path: Path) -> None:
    text = BANNER.replace("pattern", "real") + "3 3 2\n2 1 0.5\n3 1 -1e300\n"
    assert edges_of(read_csr(write(tmp_path, "w.mtx", text))) == {(0, 1), (1, 0), (0, 2), (2, 0)}
    assert edges_of(read_csr(write(tmp_path, "w.txt", "\n# x\n0\t1\t7\n  0   2 8\n"))) == {
        (0, 1),
        (1, 0),
        (0, 2),
        (2, 0),
    }


def test_a_graph_without_edges_is_one_level_deep(tmp_path: Path) -> None:
    graph = read_graph(write(tmp_path, "lonely.mtx", f"{BANNER}5 5 0\n"), source=3)
    assert (graph.name, graph.attributes["num_reached"], graph.attributes["num_levels"]) == ("lonely", 1, 1)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.mtx", "", "line 1 is ''"),
        ("a.mtx", "%%MatrixMarket matrix array real general\n2 2\n1\n", "expected '%%MatrixMarket matrix coordinate"),
        ("a.mtx", BANNER.replace("pattern", "complex") + "2 2 0\n", "complex symmetric matrices are no graphs"),
        ("a.mtx", BANNER.replace("symmetric", "hermitian") + "2 2 0\n", "pattern hermitian matrices are no graphs"),
        ("a.mtx", f"{BANNER}2 2\n", "the size line is '2 2'"),
        ("a.mtx", f"{BANNER}-2 -2 0\n", "the size line is '-2 -2 0'"),
        ("a.mtx", f"{BANNER}2 3 0\n", "2 x 3; the matrix of a graph is square"),
        ("a.mtx", f"{BANNER}0 0 0\n", "0 x 0; the matrix of a graph is square"),
        ("a.mtx", f"{BANNER}3 3 5\n1 2\n", "1 entries, but the size line says 5; is the file cut short"),
        ("a.mtx", f"{BANNER}3 3 1\n1 4\n", "an edge names vertex 3; vertices go from 0 to 2"),
        ("a.mtx", f"{BANNER}3 3 1\n0 1\n", "an edge names vertex -1; vertices go from 0 to 2"),
        ("a.mtx", f"{BANNER}3 3 1\n1 nan\n", "could not convert string 'nan'"),
        ("a.mtx", BANNER.replace("pattern", "real") + "3 3 1\n1 2\n", "'1 2' has fewer than 3 columns"),
        ("a.mtx", f"{BANNER}999999999999 999999999999 1\n1 2\n", "999999999999 vertices for 1 edges"),
        ("a.el", "", "no edges; give two vertex numbers a line"),
        ("a.el", "# only words\n", "no edges"),
        ("a.el", "1\n", "'1' has fewer than 2 columns"),
        ("a.el", "1 2\n3\n", "not a list of edges"),
        ("a.el", "a b\n", "not a list of edges"),
        ("a.el", "1.5 2\n", "not a list of edges"),
        ("a.el", "-1 2\n", "an edge names vertex -1"),
        ("a.el", "0 4000000000\n", "4000000001 vertices for 1 edges; renumber them from 0"),
        ("a.el", "0 99999999999999999999\n", "not a list of edges"),
    ],
)
def test_what_is_no_graph_is_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    path = write(tmp_path, name, text)
    with pytest.raises(BadInput) as refused:
        read_graph(path)
    message = str(refused.value)
    assert said in message
    assert str(path) in message
    assert "\n" not in message


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.mtx", Path("/dev/zero"), Path("a\0b.mtx")):
        with pytest.raises(BadInput):
            read_graph(path)
    binary = tmp_path / "b.el"
    binary.write_bytes(b"\x80\xff 1\n")
    with pytest.raises(BadInput, match="not plain text"):
        read_graph(binary)
    huge = tmp_path / "huge.el"
    with huge.open("wb") as file:
        file.truncate(10 * 2**30)
    with pytest.raises(BadInput, match="10240 MiB; a graph file has at most 1024 MiB"):
        read_graph(huge)


def test_an_unknown_algorithm_or_source_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "g.el", "0 1\n")
    with pytest.raises(UnknownName, match="unknown graph algorithm 'dfs'; nearest known: bfs"):
        read_graph(path, algorithm="dfs")
    with pytest.raises(BadInput, match="source 7 is not a vertex"):
        read_graph(path, source=7)


@given(st.text(max_size=200))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_a_graph_or_a_sentence(tmp_path: Path, text: str) -> None:
    for name, before in (("x.el", ""), ("x.mtx", BANNER), ("y.mtx", f"{BANNER}3 3 1\n")):
        path = tmp_path / name
        path.write_text(before + text, encoding="utf-8", errors="replace")
        with suppress(AisysError):
            read_csr(path)
