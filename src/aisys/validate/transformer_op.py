"""Predicts tables of kind transformer_op: the ops of one transformer layer on one tensor-parallel rank, in 16 bits.

Columns: device, model, op, tokens, tp, n_head, n_kv_head, n_embd, n_ffn, us. Gated MLPs: mlp_up_proj is gate and up.
"""

from collections.abc import Callable, Mapping

import numpy as np

from aisys.cost import Tier
from aisys.ir import OpTable
from aisys.validate.gpu_rows import Part, Work, predict_work
from aisys.validate.one_format import product
from aisys.validate.prediction import Floats, Options, Prediction
from aisys.validate.table import Table

FORMAT, BYTES = "fp16", 2
"""Source: microsoft/vidur profiles in float16."""

Columns = Mapping[str, Floats]


def _matmul(m: Floats, n: Floats, k: Floats) -> OpTable:
    return product(FORMAT, m=m, n=n, k=k)


def _stream(function: str, rows: Floats, cols: Floats, read: Floats, write: Floats) -> OpTable:
    """`read` and `write` in elements."""
    return OpTable.of(
        "stream", read_bytes=read * BYTES, write_bytes=write * BYTES, flop=0, rows=rows, cols=cols, function=function,
        dtype=FORMAT,
    )  # fmt: skip


def _norm(c: Columns) -> OpTable:
    return _stream("rmsnorm", c["tokens"], c["n_embd"], c["tokens"] * c["n_embd"], c["tokens"] * c["n_embd"])


def _rope(c: Columns) -> OpTable:
    width = (c["heads"] + c["kv_heads"]) * c["head_dim"]
    return _stream("rope", c["tokens"], width, c["tokens"] * width, c["tokens"] * width)


def _activation(c: Columns) -> OpTable:
    return _stream("silu", c["tokens"], c["ffn"], 2 * c["tokens"] * c["ffn"], c["tokens"] * c["ffn"])


def _add(c: Columns) -> OpTable:
    size = c["tokens"] * c["n_embd"]
    return _stream("add", c["tokens"], c["n_embd"], 2 * size, size)


def _embedding(c: Columns) -> OpTable:
    size = c["tokens"] * c["n_embd"]
    return _stream("embedding", c["tokens"], c["n_embd"], size, size)


OPS: dict[str, Callable[[Columns], OpTable]] = {
    "attn_pre_proj": lambda c: _matmul(c["tokens"], (c["heads"] + 2 * c["kv_heads"]) * c["head_dim"], c["n_embd"]),
    "attn_post_proj": lambda c: _matmul(c["tokens"], c["n_embd"], c["heads"] * c["head_dim"]),
    "mlp_up_proj": lambda c: _matmul(c["tokens"], 2 * c["ffn"], c["n_embd"]),
    "mlp_down_proj": lambda c: _matmul(c["tokens"], c["n_embd"], c["ffn"]),
    "input_layernorm": _norm,
    "post_attention_layernorm": _norm,
    "attn_rope": _rope,
    "mlp_act": _activation,
    "add": _add,
    "emb": _embedding,
}
"""How each op name of the tables becomes a row of an op table."""


def parts(table: Table) -> tuple[list[Part], list[tuple[int, str]]]:
    """The op of every row, one part per op name, and the rows that no rule covers."""
    c = {name: table.counts(name).astype(float) for name in ("tokens", "tp", "n_head", "n_kv_head", "n_embd", "n_ffn")}
    c |= {
        "heads": c["n_head"] / c["tp"], "kv_heads": np.maximum(c["n_kv_head"] / c["tp"], 1),
        "head_dim": c["n_embd"] / c["n_head"], "ffn": c["n_ffn"] / c["tp"],
    }  # fmt: skip
    names = table.texts("op")
    found = []
    for op, rule in OPS.items():
        rows = np.flatnonzero(names == op)
        if len(rows):
            found.append(Part(rows=rows, ops=rule({name: values[rows] for name, values in c.items()})))
    unknown = np.flatnonzero(~np.isin(names, list(OPS)))
    reason = f"op {{!r}} has no rule; known: {', '.join(OPS)}"
    return found, [(int(row), reason.format(str(names[row]))) for row in unknown]


def work(table: Table) -> Work:
    """The op that every row stands for."""
    found, unknown = parts(table)
    return Work(parts=found, skipped=unknown)


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """The time of every row in us."""
    groups = ("device", "model", "op", "tp")
    return predict_work(table, work(table), tier=tier, options=options, group_columns=groups)
