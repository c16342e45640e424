"""Attention written as ops: projections, rotary positions, the core, the output projection."""

from aisys.ir.graph import Option
from aisys.workload.transformer.draft import STREAM, Draft
from aisys.workload.transformer.normalise import normalise
from aisys.workload.transformer.spec import Attention, Extent

MODULE = "self_attn"
CORE = "batch token key head kv_head head_dim value_dim"
"""Axes of the attention op; its keys and values are counted by `key`, whatever axis their tensors have."""


def attention_extents(spec: Attention, extent: Extent) -> dict[str, int]:
    """Extents of the axes that attention adds to the block's."""
    return {
        "head": spec.heads, "kv_head": spec.kv_heads, "head_dim": spec.head_dim, "value_dim": spec.head_dim,
        "key": extent.keys(spec.window),
    }  # fmt: skip


def write_attention(draft: Draft, spec: Attention, x: str, *, has_cache: bool) -> str:
    """Adds the ops of attention over `x` and gives the name of its output, axes batch token hidden."""
    q, k, v = (_projection(draft, spec, x, letter) for letter in "qkv")
    if spec.qk_norm:
        q = normalise(draft, spec.qk_norm, q, "q_normed", module=f"{MODULE}.q_norm", axis="head_dim")
        k = normalise(draft, spec.qk_norm, k, "k_normed", module=f"{MODULE}.k_norm", axis="head_dim")
    if spec.has_rope:
        q = draft.pointwise("rope", "q_rotated", [q], "rope")
        k = draft.pointwise("rope", "k_rotated", [k], "rope")
    if has_cache:
        k = draft.tensor("k_cache", "batch key kv_head head_dim", "kv_cache")
        v = draft.tensor("v_cache", "batch key kv_head value_dim", "kv_cache")
    reads = [q, k, v]
    if spec.has_sinks:
        reads.append(draft.weight(f"{MODULE}.sinks", "head"))
    out = draft.tensor("attention", "batch token head value_dim")
    draft.op("attention", reads, [out], _core_options(spec), over=CORE)
    return draft.linear(
        "attention_out", out, "head value_dim hidden", STREAM, module=f"{MODULE}.o_proj",
        bias_axes="hidden" if spec.out_bias else "",
    )  # fmt: skip


def _core_options(spec: Attention) -> dict[str, Option]:
    features: dict[str, Option] = {"window": spec.window, "softcap": spec.softcap, "dropout": spec.dropout}
    return {"is_causal": spec.is_causal, **{name: value for name, value in features.items() if value}}


def _projection(draft: Draft, spec: Attention, x: str, letter: str) -> str:
    head = "head" if letter == "q" else "kv_head"
    width = "value_dim" if letter == "v" else "head_dim"
    return draft.linear(
        letter, x, f"hidden {head} {width}", f"batch token {head} {width}", module=f"{MODULE}.{letter}_proj",
        bias_axes=f"{head} {width}" if spec.qkv_bias else "", fuse="qkv",
    )  # fmt: skip
