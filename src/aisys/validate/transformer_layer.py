"""Predicts tables of kind transformer_layer: layer ops inside vLLM on one tensor-parallel rank, in bf16.

Columns: device, model, tp (tp1, tp2, ...), kind, a, b, c, d, us. a: tokens; for seq:* the sequences; for attention the
new tokens of one prompt chunk, b the tokens it finds in the cache, c the decoding sequences, d the keys of each.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.cost import Tier
from aisys.cost.gpu.attention import LONGEST_DECODE
from aisys.errors import AisysError
from aisys.ir import OpTable
from aisys.validate.gpu_rows import Part, Work, predict_work
from aisys.validate.one_format import product
from aisys.validate.prediction import Floats, Options, Prediction
from aisys.validate.table import Table
from aisys.workload import published

FORMAT, BYTES = "bf16", 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The extents of one model's layer on one rank."""

    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int


def shape(model: str, tp: str) -> Shape:
    """The shape of a published model on one of `tp` (tp1, tp2, ...) ranks. Raises UnknownName for another model."""
    config: Mapping[str, Any] = published(model).config
    ranks = int(tp.removeprefix("tp"))
    heads = int(config["num_attention_heads"])
    return Shape(
        hidden=int(config["hidden_size"]), heads=heads // ranks,
        kv_heads=max(int(config.get("num_key_value_heads", heads)) // ranks, 1),
        head_dim=int(config.get("head_dim", config["hidden_size"] // heads)),
        ffn=int(config["intermediate_size"]) // ranks, vocab=int(config["vocab_size"]) // ranks,
    )  # fmt: skip


def _matmul(m: Floats, n: int, k: int) -> OpTable:
    return product(FORMAT, m=m, n=n, k=k)


def _stream(function: str, rows: Floats, cols: int, *, read: int, write: int, of_bytes: int = BYTES) -> OpTable:
    """`read` and `write`: elements per row."""
    return OpTable.of(
        "stream", read_bytes=rows * float(read * of_bytes), write_bytes=rows * float(write * of_bytes), flop=0,
        rows=rows, cols=cols, function=function, dtype=FORMAT,
    )  # fmt: skip


def _qk_norm(s: Shape, a: Floats) -> OpTable:
    heads = s.heads + s.kv_heads
    return _stream("rmsnorm", a * heads, s.head_dim, read=s.head_dim, write=s.head_dim)


def _rope(s: Shape, a: Floats) -> OpTable:
    width = (s.heads + s.kv_heads) * s.head_dim
    return _stream("rope", a, width, read=width, write=width)


OPS: dict[str, Callable[[Shape, Floats], OpTable]] = {
    "qkv_proj": lambda s, a: _matmul(a, (s.heads + 2 * s.kv_heads) * s.head_dim, s.hidden),
    "o_proj": lambda s, a: _matmul(a, s.hidden, s.heads * s.head_dim),
    "gate_up_proj": lambda s, a: _matmul(a, 2 * s.ffn, s.hidden),
    "down_proj": lambda s, a: _matmul(a, s.hidden, s.ffn),
    "seq:lm_head": lambda s, a: _matmul(a, s.vocab, s.hidden),
    "act_fn": lambda s, a: _stream("silu", a, s.ffn, read=2 * s.ffn, write=s.ffn),
    "layernorm": lambda s, a: _stream("rmsnorm", a, s.hidden, read=2 * s.hidden, write=2 * s.hidden),
    "final_layernorm": lambda s, a: _stream("rmsnorm", a, s.hidden, read=2 * s.hidden, write=2 * s.hidden),
    "qk_norm": _qk_norm,
    "rotary_emb": _rope,
    "embedding": lambda s, a: _stream("embedding", a, s.hidden, read=s.hidden, write=s.hidden),
    "seq:sampler": lambda s, a: _stream("topk", a, s.vocab, read=s.vocab, write=1, of_bytes=4),
}
"""How each kind of the tables becomes a row of an op table. Norms add the residual; the sampler reads fp32 logits."""


def parts(table: Table) -> tuple[list[Part], list[tuple[int, str]]]:
    """The ops of every row, one part per model, rank count and kind, and the rows that no rule covers."""
    a = table.counts("a", least=0).astype(float)
    models, tps, kinds = table.texts("model"), table.texts("tp"), table.texts("kind")
    found: list[Part] = []
    unknown: list[tuple[int, str]] = []
    for model, tp in sorted({(str(m), str(t)) for m, t in zip(models, tps, strict=True)}):
        mine = (models == model) & (tps == tp)
        try:
            of = shape(model, tp)
        except AisysError as error:
            unknown += [(int(row), str(error)) for row in np.flatnonzero(mine)]
            continue
        for kind, rule in OPS.items():
            rows = np.flatnonzero(mine & (kinds == kind))
            if len(rows):
                found.append(Part(rows=rows, ops=rule(of, a[rows])))
        found += attention_parts(table, of, np.flatnonzero(mine & (kinds == "attention")))
    for row in np.flatnonzero(~np.isin(kinds, [*OPS, "attention"])):
        unknown.append((int(row), f"kind {str(kinds[row])!r} has no rule; known: {', '.join(OPS)}, attention"))
    return found, unknown


def attention_parts(table: Table, of: Shape, rows: NDArray[np.int64]) -> list[Part]:
    """Prompt chunk and decoding sequences of every row, as two ops.

    Where there is a chunk, one kernel for prompts runs all: it pads the single query of a decoding sequence to a tile,
    as it would the shortest prompt.
    """
    if not len(rows):
        return []
    new, cached, sequences, keys = (table.counts(x, least=0)[rows] for x in "abcd")
    queries = np.where(new > 0, LONGEST_DECODE + 1, 1)
    out = []
    for has, batch, q_len, kv_len in (
        (new > 0, np.ones_like(new), new, new + cached),
        (sequences > 0, sequences, queries, np.maximum(keys, queries)),
    ):
        if has.any():
            ops = OpTable.of(
                "attention", batch=batch[has], q_len=q_len[has], kv_len=kv_len[has], q_heads=of.heads,
                kv_heads=of.kv_heads, head_dim=of.head_dim, value_dim=of.head_dim, window=0, is_causal=True,
                is_backward=False, page_size=0, q_dtype=FORMAT, kv_dtype=FORMAT, math=FORMAT,
            )  # fmt: skip
            out.append(Part(rows=rows[has], ops=ops))
    return out


def work(table: Table) -> Work:
    """The op that every row stands for."""
    found, unknown = parts(table)
    return Work(parts=found, skipped=unknown)


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """The time of every row in us."""
    groups = ("device", "model", "kind")
    return predict_work(table, work(table), tier=tier, options=options, group_columns=groups)
