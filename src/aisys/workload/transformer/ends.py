"""The first and the last block: tokens (or image patches) to vectors, vectors to scores."""

from aisys.ir.graph import Block
from aisys.workload.transformer.draft import STREAM, Draft
from aisys.workload.transformer.normalise import normalise
from aisys.workload.transformer.spec import Extent, Head, Norm, Transformer


def embedding_block(model: Transformer, extent: Extent) -> Block:
    """The block that looks tokens up, adds positions and types, and leaves the residual stream as `y`."""
    spec = model.embedding
    extents = {
        "batch": extent.batch, "token": extent.tokens, "hidden": model.hidden, "vocab": model.vocab,
        "position": spec.positions, "token_type": spec.token_types, "pixel": spec.pixels, "patch": extent.tokens - 1,
        "class_token": 1,
    }  # fmt: skip
    draft = Draft("embedding", extents, model.dtype)
    inputs = _patches(draft) if spec.pixels else _lookups(draft, model)
    last = draft.last_output
    if spec.is_scaled:
        last = draft.pointwise("activation", "scaled", [last], "scale")
    if spec.norm:
        last = normalise(draft, spec.norm, last, "normed", module="embedding_layernorm")
    draft.dropout(last, 0.0 if extent.has_cache else spec.dropout)
    return draft.block(inputs, (draft.rename_last("y"),))


def _lookups(draft: Draft, model: Transformer) -> tuple[str, ...]:
    inputs = [draft.index("tokens", "batch token")]
    table = draft.weight("embedding.weight", "vocab hidden")
    total = draft.op("embedding", [inputs[0], table], [draft.tensor("embedded", STREAM)])
    parts = (("position", model.embedding.positions), ("token_type", model.embedding.token_types))
    for part, count in parts:
        if not count:
            continue
        inputs.append(draft.index(f"{part}_ids", "batch token"))
        table = draft.weight(f"{part}_embedding.weight", f"{part} hidden")
        looked_up = draft.op("embedding", [inputs[-1], table], [draft.tensor(f"{part}_embedded", STREAM)])
        total = draft.pointwise("add", f"with_{part}", [total, looked_up])
    return tuple(inputs)


def _patches(draft: Draft) -> tuple[str, ...]:
    pixels = draft.tensor("pixels", "batch patch pixel")
    projected = draft.linear(
        "projected", pixels, "pixel hidden", "batch patch hidden", module="patch_embedding", bias_axes="hidden"
    )
    class_ids, position_ids = draft.index("class_ids", "batch"), draft.index("position_ids", "batch token")
    lead = draft.op(
        "embedding", [class_ids, draft.weight("class_token.weight", "class_token hidden")],
        [draft.tensor("class_embedded", "batch hidden")],
    )  # fmt: skip
    positions = draft.op(
        "embedding", [position_ids, draft.weight("position_embedding.weight", "position hidden")],
        [draft.tensor("position_embedded", STREAM)],
    )  # fmt: skip
    draft.op("add", [projected, lead, positions], [draft.tensor("with_position", STREAM)], over=STREAM)
    return pixels, class_ids, position_ids


def head_block(model: Transformer, extent: Extent) -> Block:
    """The block that turns the residual stream `x` into scores; it adds no loss."""
    spec = model.head
    extents = {
        "batch": extent.batch, "token": extent.tokens, "hidden": model.hidden, "pooled": model.hidden,
        "vocab": spec.classes or model.vocab,
    }  # fmt: skip
    draft = Draft("head", extents, model.dtype)
    x = last = draft.tensor("x", STREAM)
    if spec.norm:
        last = normalise(draft, spec.norm, last, "normed", module="norm")
    if spec.kind in ("lm", "masked_lm"):
        last = _language_head(draft, spec, last)
    elif spec.kind in ("pooler", "classifier"):
        last = _first_token_head(draft, spec, last)
    return draft.block((x,), (last,))


def _first_token_head(draft: Draft, spec: Head, last: str) -> str:
    """Scores or a pooled vector from the first token alone, a view of the others' tensor."""
    is_classifier = spec.kind == "classifier"
    module, out, width = ("classifier", "logits", "vocab") if is_classifier else ("pooler", "pooled_raw", "pooled")
    reads = [last, draft.weight(f"{module}.weight", f"hidden {width}"), draft.weight(f"{module}.bias", width)]
    scores = draft.op("matmul", reads, [draft.tensor(out, f"batch {width}")], over=f"batch hidden {width}")
    return scores if is_classifier else draft.pointwise("activation", "pooled", [scores], "tanh")


def _language_head(draft: Draft, spec: Head, last: str) -> str:
    if spec.kind == "masked_lm":
        dense = draft.linear(
            "transformed", last, "hidden pooled", "batch token pooled", module="transform", bias_axes="pooled"
        )
        active = draft.pointwise("activation", "transformed_active", [dense], spec.activation)
        active = draft.op("view", [active], [draft.tensor("transformed_view", STREAM)], over=STREAM)
        last = normalise(draft, Norm("layernorm", has_bias=True), active, "transformed_normed", module="transform_norm")
    weight = "embedding.weight" if spec.is_tied else "lm_head.weight"
    reads = [last, draft.weight(weight, "vocab hidden")]
    if spec.has_bias:
        reads.append(draft.weight("lm_head.bias", "vocab"))
    out = draft.tensor("raw_logits" if spec.softcap else "logits", "batch token vocab")
    logits = draft.op("matmul", reads, [out])
    return draft.pointwise("activation", "logits", [logits], "softcap") if spec.softcap else logits
