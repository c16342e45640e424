"""Predicts tables of kind attention: one fused attention op of one layer, prefill or decode, inside a serving stack.

Columns: device, stack, phase, attn_dtype, kv_dtype, batch, q_len, kv_len, q_heads, kv_heads, head_dim, us; page_size
may be there. Queries are taken to arrive in 16 bits, whatever the kernel multiplies in.
"""

from aisys.cost import Tier
from aisys.ir import OpTable
from aisys.validate.gpu_rows import Work, every, format_names, predict_work
from aisys.validate.prediction import Options, Prediction
from aisys.validate.table import Table

PAGE_SIZE = 16
"""Tokens of one page of the cache, where the table has no page_size. Source: vLLM's default."""

_EXTENTS = ("batch", "q_len", "kv_len", "q_heads", "kv_heads", "head_dim")


def op_table(table: Table) -> OpTable:
    """The attention op of every row of `table`."""
    columns = {name: table.counts(name) for name in _EXTENTS}
    return OpTable.of(
        "attention", **columns, value_dim=columns["head_dim"], window=0, is_causal=True, is_backward=False,
        page_size=table.counts("page_size") if table.has("page_size") else PAGE_SIZE, q_dtype="bf16",
        kv_dtype=format_names(table.texts("kv_dtype")), math=format_names(table.texts("attn_dtype")),
    )  # fmt: skip


def work(table: Table) -> Work:
    """The attention that every row stands for."""
    return Work(parts=[every(op_table(table))])


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """The time of every row in us, under the constants of the stack that the row names."""
    groups = ("device", "stack", "phase", "kv_dtype")
    return predict_work(table, work(table), tier=tier, options=options, group_columns=groups)
