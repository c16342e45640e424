"""Real graphs from Matrix Market files and edge lists, and what an algorithm did when it ran on one."""

import stat
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aisys.errors import BadInput, unknown_name
from aisys.frozen import FrozenMap
from aisys.ir import DTYPES, Block, Graph, Op, Segment, Tensor, verify
from aisys.ir.record import AccessRecord
from aisys.units import GiB, MiB

if TYPE_CHECKING:
    from aisys.kernel.csr import Csr

MAX_FILE_BYTES = 1 * GiB
MAX_EMPTY_VERTICES = 64
"""A file may name so many vertices per edge (and 10 million in any case): more is a slip, and costs memory."""
ALGORITHMS = ("bfs",)
_SYMMETRIES = ("general", "symmetric")
_FIELDS = {"pattern": 2, "integer": 3, "real": 3}
_COMMENTS = ("#", "%")


class Lines(NamedTuple):
    """An edge list as its file says it; `num_vertices` is what the header promises, or None."""

    num_vertices: int | None
    edges: NDArray[np.int64]
    is_symmetric: bool


def read_graph(path: str | Path, *, algorithm: str = "bfs", source: int = 0) -> Graph:
    """The workload of `algorithm` on the graph in `path`: it runs once, and its op carries what it accessed.

    path: Matrix Market coordinates (.mtx; symmetric ones are undirected), or an edge list: two vertex numbers a line,
    from 0, undirected, `#` and `%` lines skipped. Weights are ignored, as are loops and repeated edges.
    Raises BadInput for a file or a source vertex that is not there or cannot be read, UnknownName for an algorithm.

    >>> read_graph("social.mtx", source=5).attributes["num_reached"]  # doctest: +SKIP
    34
    """
    path = Path(path)
    return traversal(read_csr(path), name=path.name.split(".")[0], algorithm=algorithm, source=source)


def read_csr(path: Path) -> "Csr":
    """The graph in `path`, as `read_graph` reads it."""
    from aisys.kernel.csr import MAX_VERTICES, from_edges

    text = _text(path)
    lines = _matrix_market(path, text) if path.suffix == ".mtx" else _edge_list(path, text)
    edges = lines.edges
    named = int(edges.max()) + 1 if len(edges) else 1
    num_vertices = named if lines.num_vertices is None else lines.num_vertices
    if len(edges) and (edges.min() < 0 or named > num_vertices):
        wrong = edges.min() if edges.min() < 0 else edges.max()
        raise BadInput(f"{path}: an edge names vertex {wrong}; vertices go from 0 to {num_vertices - 1}")
    most = min(MAX_VERTICES, max(10_000_000, MAX_EMPTY_VERTICES * len(edges)))
    if num_vertices > most:
        raise BadInput(
            f"{path}: {num_vertices} vertices for {len(edges)} edges; renumber them from 0 (at most {most} here)"
        )
    return from_edges(num_vertices, edges[:, 0], edges[:, 1], is_symmetric=lines.is_symmetric)


def traversal(csr: "Csr", *, name: str, algorithm: str = "bfs", source: int = 0) -> Graph:
    """The workload of `algorithm` on `csr`, run once from vertex `source`. Raises as `read_graph`."""
    if algorithm not in ALGORITHMS:
        raise unknown_name("graph algorithm", algorithm, ALGORITHMS)
    from aisys.kernel import bfs

    walk = bfs.run(csr, source)
    op = _op(csr, algorithm, source, bfs.record(csr, walk))
    tensors = _tensors(csr)
    block = Block(name=algorithm, tensors=tensors, ops=(op,), outputs=("depth", "parent"))
    attributes: dict[str, Any] = {
        "algorithm": algorithm, "num_vertices": csr.num_vertices, "num_edges": csr.num_edges, "source": source,
        "num_reached": walk.num_reached, "num_levels": len(walk.levels), "data_digest": csr.digest,
    }  # fmt: skip
    return verify(Graph(name=name, segments=(Segment(block),), attributes=FrozenMap(attributes)))


def _op(csr: "Csr", algorithm: str, source: int, record: AccessRecord) -> Op:
    space = {"vertex": csr.num_vertices, "edge": max(csr.num_edges, 1)}
    return Op(
        name=algorithm, kind="traversal", space=FrozenMap(space), reads=("offsets", "targets"),
        writes=("depth", "parent", "queue"), options=FrozenMap(source=source), record=record,
    )  # fmt: skip


def _tensors(csr: "Csr") -> FrozenMap[str, Tensor]:
    vertices: FrozenMap[str, int] = FrozenMap(vertex=csr.num_vertices)
    edges: FrozenMap[str, int] = FrozenMap(edge=max(csr.num_edges, 1))
    found = (
        Tensor("offsets", FrozenMap(offset=csr.num_vertices + 1), DTYPES["int64"], "index"),
        Tensor("targets", edges, DTYPES["int32"], "index"),
        *(Tensor(name, vertices, DTYPES["int32"]) for name in ("depth", "parent", "queue")),
    )
    return FrozenMap({tensor.name: tensor for tensor in found})


def _text(path: Path) -> str:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadInput(f"{path}: not a regular file; give a .mtx file or an edge list")
        if status.st_size > MAX_FILE_BYTES:
            raise BadInput(f"{path}: {status.st_size // MiB} MiB; a graph file has at most {MAX_FILE_BYTES // MiB} MiB")
        return path.read_text(encoding="ascii")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not plain text (byte {error.start}); give a .mtx file or an edge list") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a file name"
        raise BadInput(f"{str(path)[:200]!r}: cannot be read ({reason}); give a .mtx file or an edge list") from error


def _matrix_market(path: Path, text: str) -> Lines:
    """Source: Boisvert, Pozo, Remington 1996 (The Matrix Market Exchange Formats), coordinate format."""
    banner, _, rest = text.partition("\n")
    words = banner.lower().split()
    if words[:3] != ["%%matrixmarket", "matrix", "coordinate"] or len(words) != 5:
        raise BadInput(f"{path}: line 1 is {banner[:80]!r}; expected '%%MatrixMarket matrix coordinate ...'")
    field, symmetry = words[3:]
    if field not in _FIELDS or symmetry not in _SYMMETRIES:
        raise BadInput(
            f"{path}: {field} {symmetry} matrices are no graphs; use {', '.join(_FIELDS)} and {', '.join(_SYMMETRIES)}"
        )
    rest = _without_comments(rest)
    header, _, body = rest.partition("\n")
    counts = header.split()
    if len(counts) != 3 or not all(x.isdigit() and len(x) < 16 for x in counts):
        raise BadInput(f"{path}: the size line is {header[:80]!r}; expected rows, columns and entries")
    rows, columns, entries = (int(x) for x in counts)
    if rows != columns or rows < 1:
        raise BadInput(f"{path}: {rows} x {columns}; the matrix of a graph is square, with at least 1 row")
    edges = _numbers(path, body, _FIELDS[field])
    if len(edges) != entries:
        raise BadInput(f"{path}: {len(edges)} entries, but the size line says {entries}; is the file cut short?")
    return Lines(rows, edges - 1, symmetry == "symmetric")


def _edge_list(path: Path, text: str) -> Lines:
    edges = _numbers(path, text, 2)
    if not len(edges):
        raise BadInput(f"{path}: no edges; give two vertex numbers a line")
    return Lines(None, edges, True)


def _without_comments(text: str) -> str:
    while text.startswith("%") or text.startswith("\n"):
        text = text.partition("\n")[2]
    return text


def _numbers(path: Path, text: str, num_columns: int) -> NDArray[np.int64]:
    """The first two columns of `text`; a line with fewer than `num_columns`, or no number there, is BadInput."""
    first = next((line for line in StringIO(text) if line.strip() and not line.lstrip().startswith(_COMMENTS)), None)
    if first is None:
        return np.zeros((0, 2), np.int64)
    try:
        if len(first.split()) < num_columns:
            raise ValueError(f"{first.strip()[:80]!r} has fewer than {num_columns} columns")
        return np.loadtxt(StringIO(text), comments=_COMMENTS, usecols=(0, 1), dtype=np.int64, ndmin=2)
    except (ValueError, OverflowError) as error:
        reason = str(error).split("\n")[0][:160]
        raise BadInput(f"{path}: not a list of edges ({reason}); write two vertex numbers a line") from error
