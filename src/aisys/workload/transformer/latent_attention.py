"""Multi-head latent attention written as ops, expanded for prompts and absorbed for decode.

With a cache, the up-projections of keys and values move to the query's and the output's side, so that every head
reads the one cached latent vector: grouped-query attention with a single key head of kv_rank + rope_dim.
Source: DeepSeek-V2 report 2024, section 2.1 and appendix C.
"""

from aisys.ir.graph import Option
from aisys.workload.transformer.attention import CORE, MODULE
from aisys.workload.transformer.draft import STREAM, Draft
from aisys.workload.transformer.normalise import normalise
from aisys.workload.transformer.spec import Extent, LatentAttention, Norm

QUERY = "head query_dim"
"""Axes of a query per token: heads, and the part without and with rotary positions side by side."""


def latent_extents(spec: LatentAttention, extent: Extent) -> dict[str, int]:
    """Extents of the axes that latent attention adds to the block's."""
    is_absorbed = extent.has_cache
    return {
        "head": spec.heads, "kv_head": 1 if is_absorbed else spec.heads, "key": extent.keys(),
        "head_dim": spec.kv_rank + spec.rope_dim if is_absorbed else spec.head_dim,
        "value_dim": spec.kv_rank if is_absorbed else spec.value_dim,
        "q_rank": spec.q_rank, "kv_rank": spec.kv_rank, "nope_dim": spec.nope_dim, "rope_dim": spec.rope_dim,
        "query_dim": spec.head_dim, "expanded_dim": spec.value_dim,
    }  # fmt: skip


def write_latent_attention(draft: Draft, spec: LatentAttention, x: str, *, has_cache: bool) -> str:
    """Adds the ops of latent attention over `x` and gives the name of its output, axes batch token hidden."""
    has_low_rank = spec.q_rank > 0
    q = _down(draft, spec, x, "q_latent", "q_rank") if has_low_rank else ""
    if not has_low_rank:
        q = draft.linear("q", x, f"hidden {QUERY}", f"batch token {QUERY}", module=f"{MODULE}.q_proj")
    latent = _down(draft, spec, x, "kv_latent", "kv_rank")
    k_rope = _down(draft, spec, x, "k_rope", "rope_dim")
    if has_low_rank:
        q = normalise(draft, Norm(), q, "q_latent_normed", module=f"{MODULE}.q_a_layernorm", axis="q_rank")
        q = draft.linear("q", q, f"q_rank {QUERY}", f"batch token {QUERY}", module=f"{MODULE}.q_b_proj")
    latent = normalise(draft, Norm(), latent, "kv_latent_normed", module=f"{MODULE}.kv_a_layernorm", axis="kv_rank")
    k_rope = draft.pointwise("rope", "k_rope_rotated", [k_rope], "rope")
    out, axis = _absorbed(draft, q) if has_cache else _expanded(draft, spec, q, (latent, k_rope))
    return draft.linear(
        "attention_out", out, f"head {axis} hidden", STREAM, module=f"{MODULE}.o_proj",
        bias_axes="hidden" if spec.bias else "",
    )  # fmt: skip


def _down(draft: Draft, spec: LatentAttention, x: str, out: str, axis: str) -> str:
    """One of the down-projections, which run as one kernel (HF joins the last two as kv_a_proj_with_mqa)."""
    return draft.linear(
        out, x, f"hidden {axis}", f"batch token {axis}", module=f"{MODULE}.{out}_a_proj",
        bias_axes=axis if spec.bias else "", fuse="qkv_a",
    )  # fmt: skip


def _expanded(draft: Draft, spec: LatentAttention, q: str, kv: tuple[str, str]) -> tuple[str, str]:
    latent, k_rope = kv
    q_axes, k_axes = "batch token head head_dim", "batch token kv_head head_dim"
    q = draft.op("rope", [q], [draft.tensor("q_rotated", q_axes)], {"function": "rope"}, over=q_axes)
    k_nope, v = (
        draft.linear(name, latent, f"kv_rank kv_head {axis}", f"batch token kv_head {axis}",
                     module=f"{MODULE}.kv_b_proj.{part}", fuse="kv_b")
        for name, axis, part in (("k_nope", "nope_dim", "k"), ("v", "value_dim", "v"))
    )  # fmt: skip
    k = draft.op("rope", [k_nope, k_rope], [draft.tensor("k", k_axes)], {"function": "rope"}, over=k_axes)
    out = draft.tensor("attention", "batch token head value_dim")
    dropout: dict[str, Option] = {"dropout": spec.dropout} if spec.dropout else {}
    draft.op("attention", [q, k, v], [out], {"is_causal": True, **dropout}, over=CORE)
    return out, "value_dim"


def _absorbed(draft: Draft, q: str) -> tuple[str, str]:
    nope_axes, q_axes = "batch token head nope_dim", "batch token head head_dim"
    nope = draft.op("view", [q], [draft.tensor("q_nope", nope_axes)], over=nope_axes)
    into_latent = draft.linear(
        "q_absorbed", nope, "kv_rank head nope_dim", "batch token head kv_rank", module=f"{MODULE}.kv_b_proj.k"
    )
    q = draft.op("rope", [into_latent, q], [draft.tensor("q_rotated", q_axes)], {"function": "rope"}, over=q_axes)
    cache = draft.tensor("kv_cache", "batch key kv_head head_dim", "kv_cache")
    out = draft.tensor("attention_latent", "batch token head value_dim")
    draft.op("attention", [q, cache, cache], [out], {"is_causal": True}, over=CORE)
    return draft.linear(
        "attention", out, "value_dim head expanded_dim", "batch token head expanded_dim", module=f"{MODULE}.kv_b_proj.v"
    ), "expanded_dim"
