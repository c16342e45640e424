"""Predicts tables of kind tpu_op: single ops, each a program of its own on a TPU v6e, in 16 bits.

Columns: op, name, M, K, N, latency_ns. Where M, K and N are empty the shape stands in `name`: gemm M x K x N; attn_enc
heads x tokens x head_dim; attn_dec query heads x key heads x queries x keys x head_dim; ffn... M x hidden x ffn, where
gated ones project up twice.
"""

from collections.abc import Callable, Sequence

import numpy as np

from aisys.cost import Tier
from aisys.errors import AisysError, BadInput, Unsupported
from aisys.ir import OpTable
from aisys.machine import load
from aisys.validate.one_format import product
from aisys.validate.prediction import Options, Prediction
from aisys.validate.table import Table
from aisys.validate.tpu_rows import Timed, alone, one_program

DEVICE, FORMAT, NS = "tpu-v6e", "fp16", 1e-9


def _matmul(m: int, k: int, n: int) -> OpTable:
    return product(FORMAT, m=m, n=n, k=k)


def _attention(q_heads: int, kv_heads: int, q_len: int, kv_len: int, head_dim: int) -> OpTable:
    return OpTable.of(
        "attention", batch=1, q_len=q_len, kv_len=kv_len, q_heads=q_heads, kv_heads=kv_heads, head_dim=head_dim,
        value_dim=head_dim, window=0, is_causal=False, is_backward=False, page_size=0, q_dtype=FORMAT, kv_dtype=FORMAT,
        math=FORMAT,
    )  # fmt: skip


def _feed_forward(m: int, hidden: int, ffn: int, num_up: int) -> list[OpTable]:
    element = 2.0 * m * ffn
    middle = OpTable.of(
        "stream", read_bytes=num_up * element, write_bytes=element, flop=0, rows=m, cols=ffn, function="activation",
        dtype=FORMAT,
    )  # fmt: skip
    return [*(_matmul(m, hidden, ffn) for _ in range(num_up)), middle, _matmul(m, ffn, hidden)]


_SHAPES: dict[str, tuple[int, Callable[[Sequence[int]], list[OpTable]]]] = {
    "gemm": (3, lambda d: [_matmul(*d)]),
    "attn_enc": (3, lambda d: [_attention(d[0], d[0], d[1], d[1], d[2])]),
    "attn_dec": (5, lambda d: [_attention(*d)]),
    "ffn": (3, lambda d: _feed_forward(d[0], d[1], d[2], 1)),
    "ffn_gated": (3, lambda d: _feed_forward(d[0], d[1], d[2], 2)),
}
"""Extents in a name and the ops that they mean, by op; ffn_erf and other ungated ones are an ffn."""


def ops_of(op: str, extents: Sequence[int]) -> list[OpTable]:
    """The ops that one row of the table runs. Raises Unsupported for an op without a rule, BadInput for its extents."""
    kind = op if op in _SHAPES else op.split("_")[0]
    if kind not in _SHAPES:
        raise Unsupported(f"op {op!r} has no rule; known: {', '.join(_SHAPES)}")
    num_extents, made = _SHAPES[kind]
    if len(extents) != num_extents or min(extents) < 1:
        shown = "x".join(map(str, extents)) or "none"
        raise BadInput(f"op {op!r} needs {num_extents} extents of at least 1, not {shown}")
    return made(extents)


def extents_of(table: Table) -> list[tuple[int, ...]]:
    """The extents of every row: M, K, N where they are given, else those of its name (none where it has no numbers)."""
    given = np.column_stack([table.counts(axis, empty=1, least=0) for axis in "MKN"])
    is_empty = table.texts("M") == ""
    found = []
    for name, extents, from_name in zip(table.texts("name"), given.tolist(), is_empty, strict=True):
        words = str(name).split("x")
        numbers = tuple(int(w) for w in words) if all(w.isdigit() for w in words) else ()
        found.append(numbers if from_name else tuple(extents))
    return found


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """The time of every row in ns."""
    device = load.device(DEVICE)
    timed, skipped = [], []
    for row, (op, extents) in enumerate(zip(table.texts("op"), extents_of(table), strict=True)):
        try:
            ops = ops_of(str(op), extents)
            timed.append(alone(ops[0], device, tier) if len(ops) == 1 else one_program(ops, device, tier))
        except AisysError as error:
            skipped.append((row, str(error)))
            timed.append(Timed(np.nan, np.nan, np.nan))
    time, low, high = (np.array(column) / NS for column in zip(*timed, strict=True))
    return Prediction(
        predicted=time, measured=table.numbers("latency_ns", above=0.0), low=low, high=high, skipped=tuple(skipped),
        group_columns=("op",),
    )  # fmt: skip
