"""Op tables as products of matrices: what a grid of multiply-accumulate units is given."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.cost.gpu import limit
from aisys.cost.gpu.timing import Floats, by_name, bytes_per_element
from aisys.errors import Unsupported
from aisys.ir import OpTable, dtype

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matmuls:
    """`batch` independent products [m,k] x [k,n] per row of an op table: int arrays [rows], bytes per element.

    a_elements: distinct elements of all left operands, where windows repeat them; None: batch * m * k. kept, of: of
    every `of` weights along k `kept` are stored; 1 of 1 is dense.
    """

    batch: Ints
    m: Ints
    n: Ints
    k: Ints
    a_bytes: Floats
    b_bytes: Floats
    out_bytes: Floats
    a_elements: Floats | None = None
    kept: Ints | int = 1
    of: Ints | int = 1

    @property
    def kept_k(self) -> Ints:
        """Weights of a column that are stored: n of every m, and up to n of the rest."""
        return np.asarray(self.k // self.of * self.kept + np.minimum(self.k % self.of, self.kept))

    @property
    def macs(self) -> Floats:
        """Multiply-accumulates of each row, by weights that are stored."""
        return np.asarray(self.batch.astype(float) * self.m * self.n * self.kept_k)


def ceil_div(extent: Ints, parts: Ints | int) -> Ints:
    """`extent` over `parts`, rounded up."""
    return -(-extent // parts)


def _of_matmul(table: OpTable) -> list[Matmuls]:
    return [
        Matmuls(
            batch=table["batch"], m=table["m"], n=table["n"], k=table["k"], **_widths(table, "a", "b", "out"),
            **_kept(table),
        )
    ]  # fmt: skip


def _of_grouped_matmul(table: OpTable) -> list[Matmuls]:
    """Rows spread evenly over the groups that get any."""
    groups = np.minimum(table["groups"], table["m"])
    m = -(-table["m"] // groups)
    return [
        Matmuls(
            batch=groups, m=m, n=table["n"], k=table["k"], **_widths(table, "a", "b", "out"), **_kept(table)
        )
    ]  # fmt: skip


def _of_conv(table: OpTable) -> list[Matmuls]:
    """The product of im2col for each group: pixels by channels out, over the channels in of one window."""
    work = Matmuls(
        batch=table["groups"], m=table["batch"] * table["out_h"] * table["out_w"], n=table["out_channels"],
        k=table["in_channels"] * table["kernel_h"] * table["kernel_w"], **_widths(table, "a", "b", "out"),
        a_elements=limit.input_elements(table), **_kept(table),
    )  # fmt: skip
    return [work]


def _of_attention(table: OpTable) -> list[Matmuls]:
    """Scores and context of every head, masked part included; scores stay in the buffer."""
    if bool(table["is_backward"].any()):
        raise Unsupported(
            "a systolic array has no cost model for the backward of fused attention; apply technique eager_attention"
        )
    batch = table["batch"] * table["q_heads"]
    q, kv = bytes_per_element(table["q_dtype"]), bytes_per_element(table["kv_dtype"])
    shared = kv * table["kv_heads"] / table["q_heads"]
    free = np.zeros(len(table))
    scores = Matmuls(
        batch=batch, m=table["q_len"], n=table["kv_len"], k=table["head_dim"], a_bytes=q, b_bytes=shared, out_bytes=free
    )
    context = Matmuls(
        batch=batch, m=table["q_len"], n=table["value_dim"], k=table["kv_len"], a_bytes=free, b_bytes=shared,
        out_bytes=q,
    )  # fmt: skip
    return [scores, context]


def _widths(table: OpTable, *operands: str) -> dict[str, Any]:
    return {f"{name}_bytes": bytes_per_element(table[f"{name}_dtype"]) for name in operands}


def _kept(table: OpTable) -> dict[str, Any]:
    """How many of how many weights the format of each row stores."""
    names = table["b_dtype"]
    return {
        "kept": by_name(names, lambda name: dtype(name).kept).astype(np.int64),
        "of": by_name(names, lambda name: dtype(name).of).astype(np.int64),
    }


PRODUCTS: dict[str, Callable[[OpTable], list[Matmuls]]] = {
    "matmul": _of_matmul,
    "grouped_matmul": _of_grouped_matmul,
    "conv": _of_conv,
    "attention": _of_attention,
}


def products(table: OpTable) -> list[Matmuls]:
    """The products that each row of `table` stands for, in order; none for a stream."""
    return PRODUCTS[table.kind](table) if table.kind in PRODUCTS else []
