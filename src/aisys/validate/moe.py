"""Predicts tables of kind moe: the expert computation of one mixture-of-experts layer on one rank.

Columns: device, stack, dtype, tokens, hidden, inter, topk, experts, moe_tp, moe_ep, routing, us. `moe_tp` cuts every
expert's inner width, `moe_ep` spreads the experts; the rank is the one with the most rows. routing: balanced, or
power_law_ALPHA, with which the loads of the experts are drawn from a bounded power law.
Source of the routing: aiconfigurator, docs/POWER_LAW_DISTRIBUTION.md.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.cost import Tier
from aisys.cost.gpu.grouped_matmul import effective_groups
from aisys.ir import OpTable
from aisys.validate.gpu_rows import Part, Work, predict_work
from aisys.validate.prediction import Floats, Options, Prediction
from aisys.validate.table import Table

FORMATS = {
    "bf16": ("bf16", "bf16", "bf16"), "float16": ("fp16", "fp16", "fp16"), "fp8": ("fp8", "fp8", "fp8"),
    "fp8_block": ("fp8", "fp8_block", "fp8"), "int4_wo": ("bf16", "int4", "bf16"), "int8_wo": ("bf16", "int8", "bf16"),
    "w4a16_mxfp4": ("bf16", "mxfp4", "bf16"), "nvfp4": ("nvfp4", "nvfp4", "nvfp4"),
}  # fmt: skip
"""Formats of activations, of weights and of the multiplier for each dtype of the tables."""

UNGATED = {
    (2688, 1856, 6, 128), (1024, 2688, 22, 512), (2048, 5120, 22, 512), (4096, 2688, 22, 512), (8192, 5120, 22, 512),
}  # fmt: skip
"""hidden, inter, topk and experts of models whose experts have no gate (squared ReLU). Source: NVIDIA Nemotron 3
configurations, 2025; other shapes are gated."""

WHOLE_BATCH = ("vllm", "sglang")
"""Stacks that gather inputs inside the matmul, and activate and sum the rows of all experts, not only of the rank's.
Source: vLLM, fused_experts with an expert map."""

NUM_DRAWS = 8
"""Draws of the loads that a row's expectation is the mean of. Source: assumed."""


NUM_CAPPINGS = 8
"""Rounds in which what exceeds one row per token and expert goes to the other experts; it is exact after few."""


@lru_cache(maxsize=65536)
def rank_load(tokens: int, topk: int, experts: int, ranks: int, alpha: float) -> tuple[float, float]:
    """Rows of the busiest rank, and how many of its experts get any; means over draws. alpha 0 is balanced.

    >>> rank_load(64, 2, 8, 2, 0.0)
    (64.0, 4.0)
    """
    total, local = tokens * topk, experts // ranks
    if alpha == 0:
        spread = np.diff(np.floor(np.arange(experts + 1) * total / experts)) if total >= experts else None
        if spread is None:
            hit = -(-total // ranks) if total >= ranks else 1
            return float(hit), float(min(hit, local))
        return float(spread.reshape(ranks, local).sum(axis=1).max()), float(local)
    loads = _drawn_loads(tokens, total, experts, alpha)
    of_rank = loads.reshape(NUM_DRAWS, ranks, local)
    busiest = of_rank.sum(axis=2).argmax(axis=1)
    chosen = of_rank[np.arange(NUM_DRAWS), busiest]
    return float(max(chosen.sum(axis=1).mean(), 1)), float(max((chosen > 0).sum(axis=1).mean(), 1))


def _drawn_loads(tokens: int, total: int, experts: int, alpha: float) -> Floats:
    """Rows of every expert [draws, experts]: shares of a power law, at most `tokens` each, `total` in all."""
    low, high = (1.0, max(0.8 * tokens, 1.001)) if total > experts else (0.01, 2.0)
    edge = 1 - alpha
    u = np.random.default_rng(0).random((NUM_DRAWS, experts))
    share = ((high**edge - low**edge) * u + low**edge) ** (1 / edge)
    loads = share / share.sum(axis=1, keepdims=True) * total
    for _ in range(NUM_CAPPINGS):
        loads = np.minimum(loads, tokens)
        free = np.where(loads < tokens, loads, 0.0)
        rest = total - (loads - free).sum(axis=1, keepdims=True)
        loads = np.where(loads < tokens, loads * rest / np.maximum(free.sum(axis=1, keepdims=True), 1e-9), loads)
    loads = np.minimum(np.round(loads), tokens)
    missing = total - loads.sum(axis=1, keepdims=True)
    may_change = np.where(missing > 0, loads < tokens, loads > 0)
    place = np.argsort(np.argsort(np.where(may_change, -share, np.inf), axis=1), axis=1)
    return np.asarray(loads + np.sign(missing) * (may_change & (place < np.abs(missing))))


def parts(table: Table) -> tuple[list[Part], list[tuple[int, str]]]:
    """Dispatch, both expert matmuls, the activation and the combination of every row, and the rows left out."""
    c = {name: table.counts(name) for name in ("tokens", "hidden", "inter", "topk", "experts", "moe_tp", "moe_ep")}
    names, routing = table.texts("dtype"), table.texts("routing")
    alphas = np.array([_alpha(str(name)) for name in routing])
    keep = np.isin(names, list(FORMATS)) & (alphas >= 0) & (c["experts"] % c["moe_ep"] == 0)
    left_out = [(int(i), f"dtype {str(names[i])!r}, routing {str(routing[i])!r} or experts per rank has no rule")
                for i in np.flatnonzero(~keep)]  # fmt: skip
    rows = np.flatnonzero(keep)
    if not len(rows):
        return [], left_out
    c = {name: values[rows] for name, values in c.items()}
    load = [rank_load(*(int(c[n][i]) for n in ("tokens", "topk", "experts", "moe_ep")), float(alphas[rows][i]))
            for i in range(len(rows))]  # fmt: skip
    m, active = np.array(load).T
    m = np.ceil(m)
    width = np.maximum(c["inter"] // c["moe_tp"], 1)
    shapes = zip(*(c[n].tolist() for n in ("hidden", "inter", "topk", "experts")), strict=True)
    num_inputs = np.array([1 if shape in UNGATED else 2 for shape in shapes])
    groups = effective_groups(active, m)
    formats = [FORMATS[str(name)] for name in names[rows]]
    experts = [
        _expert(groups, m, num_inputs * width, c["hidden"], formats), _expert(groups, m, c["hidden"], width, formats)
    ]  # fmt: skip
    found = [Part(rows=rows, ops=ops) for ops in experts]
    is_whole = np.isin([str(s).split("-")[0] for s in table.texts("stack")[rows]], WHOLE_BATCH)
    around = np.where(is_whole, c["tokens"] * c["topk"], m)
    found.append(Part(rows=rows, ops=_stream("silu", around, width, num_inputs * around * width, around * width)))
    total = c["tokens"] * c["hidden"]
    found.append(Part(rows=rows, ops=_stream("combine", c["tokens"], c["hidden"], around * c["hidden"], total)))
    own = np.flatnonzero(~is_whole)
    if len(own):
        size = (m * c["hidden"])[own]
        found.append(Part(rows=rows[own], ops=_stream("dispatch", m[own], c["hidden"][own], size, size)))
    return found, left_out


def _alpha(routing: str) -> float:
    """The exponent of a routing's name, 0 for balanced, -1 for a name without rule."""
    if routing == "balanced":
        return 0.0
    try:
        return float(routing.removeprefix("power_law_"))
    except ValueError:
        return -1.0


def _expert(
    groups: Floats, m: Floats, n: NDArray[np.int64], k: NDArray[np.int64], formats: list[tuple[str, str, str]]
) -> OpTable:
    a, b, math = zip(*formats, strict=True)
    return OpTable.of(
        "grouped_matmul", groups=np.round(groups), m=m, n=n, k=k, a_dtype=a, b_dtype=b, out_dtype="bf16", math=math
    )


def _stream(function: str, rows: NDArray[Any], cols: NDArray[Any], read: NDArray[Any], write: NDArray[Any]) -> OpTable:
    return OpTable.of(
        "stream", read_bytes=2.0 * read, write_bytes=2.0 * write, flop=0, rows=rows, cols=cols, function=function,
        dtype="bf16",
    )  # fmt: skip


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """The time of every row in us, under the constants of the stack that the row names."""
    found, left_out = parts(table)
    groups = ("device", "stack", "dtype", "routing")
    return predict_work(table, Work(parts=found, skipped=left_out), tier=tier, options=options, group_columns=groups)
