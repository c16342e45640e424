"""Dense and mixture-of-experts MLPs written as ops."""

from aisys.workload.transformer.draft import STREAM, Draft
from aisys.workload.transformer.spec import FeedForward, MixtureOfExperts


def feed_forward_extents(spec: FeedForward | MixtureOfExperts) -> dict[str, int]:
    """Extents of the axes that the feed-forward part adds to the block's."""
    if isinstance(spec, FeedForward):
        return {"ffn": spec.ffn}
    shared = {"ffn": spec.shared.ffn, "gate": 1} if spec.shared else {}
    return {"expert": spec.experts, "expert_ffn": spec.expert_ffn, "topk": spec.topk, **shared}


def write_feed_forward(draft: Draft, spec: FeedForward | MixtureOfExperts, x: str) -> str:
    """Adds the ops of the MLP over `x` and gives the name of its output, axes batch token hidden."""
    if isinstance(spec, FeedForward):
        return _dense(draft, spec, x, module="mlp", out="mlp_out")
    return _mixture(draft, spec, x)


def _dense(draft: Draft, spec: FeedForward, x: str, *, module: str, out: str) -> str:
    wide = "batch token ffn"
    bias = "ffn" if spec.has_bias else ""
    prefix = "" if module == "mlp" else "shared_"
    if spec.is_gated:
        gate = draft.linear(
            f"{prefix}gate", x, "hidden ffn", wide, module=f"{module}.gate_proj", bias_axes=bias,
            fuse=f"{prefix}gate_up",
        )  # fmt: skip
        up = draft.linear(
            f"{prefix}up", x, "hidden ffn", wide, module=f"{module}.up_proj", bias_axes=bias, fuse=f"{prefix}gate_up"
        )
        active = draft.pointwise("gated_activation", f"{prefix}active", [gate, up], spec.activation)
    else:
        up = draft.linear(f"{prefix}up", x, "hidden ffn", wide, module=f"{module}.up_proj", bias_axes=bias)
        active = draft.pointwise("activation", f"{prefix}active", [up], spec.activation)
    bias = "hidden" if spec.has_bias else ""
    return draft.linear(out, active, "ffn hidden", STREAM, module=f"{module}.down_proj", bias_axes=bias)


def _mixture(draft: Draft, spec: MixtureOfExperts, x: str) -> str:
    scores = draft.linear(
        "router_logits", x, "hidden expert", "batch token expert", module="mlp.router",
        bias_axes="expert" if spec.router_bias else "",
    )  # fmt: skip
    choice = draft.index("chosen_experts", "batch token topk")
    share = draft.tensor("expert_weights", "batch token topk")
    correction = [draft.weight("mlp.router.correction_bias", "expert")] if spec.has_correction_bias else []
    draft.op("topk", [scores, *correction], [share, choice])
    sent = draft.op("dispatch", [x, choice], [draft.tensor("dispatched", "batch token topk hidden")])
    routed = draft.tensor("routed", STREAM)
    draft.op("combine", [_experts(draft, spec, sent), share], [routed])
    if spec.shared is None:
        return routed
    dense = _dense(draft, spec.shared, x, module="mlp.shared_expert", out="shared_out")
    if spec.has_shared_gate:
        gate = draft.linear("shared_gate_logit", x, "hidden gate", "batch token gate", module="mlp.shared_expert_gate")
        dense = draft.pointwise("gated_activation", "shared_gated", [dense, gate], "sigmoid")
    return draft.pointwise("add", "mlp_out", [routed, dense])


def _experts(draft: Draft, spec: MixtureOfExperts, sent: str) -> str:
    wide, module = "batch token topk expert_ffn", "mlp.experts"
    bias = "expert expert_ffn" if spec.has_bias else ""
    if spec.is_gated:
        gate, up = (
            draft.linear(f"expert_{part}", sent, "expert hidden expert_ffn", wide, module=f"{module}.{part}_proj",
                         bias_axes=bias, fuse="expert_gate_up")
            for part in ("gate", "up")
        )  # fmt: skip
        active = draft.pointwise("gated_activation", "expert_active", [gate, up], spec.activation)
    else:
        up = draft.linear(
            "expert_up", sent, "expert hidden expert_ffn", wide, module=f"{module}.up_proj", bias_axes=bias
        )
        active = draft.pointwise("activation", "expert_active", [up], spec.activation)
    return draft.linear(
        "expert_out", active, "expert expert_ffn hidden", "batch token topk hidden", module=f"{module}.down_proj",
        bias_axes="expert hidden" if spec.has_bias else "",
    )  # fmt: skip
