"""Attention as separate kernels, the way it ran before fused attention: scores go to memory and back."""

from dataclasses import dataclass, replace

from aisys.frozen import FrozenMap
from aisys.ir import DTYPES, Block, Graph, Op, Tensor, verify


@dataclass(frozen=True, slots=True, kw_only=True)
class EagerAttention:
    """Replace each fused attention by scores = q k, scaled masked softmax, dropout, and context = scores v.

    Scores are computed in full, masked part included; a causal softmax reads only the half that is not masked and
    writes all. `dropout`: whether the scores pass a dropout.
    Source: Shoeybi et al. 2019 (Megatron-LM), the kernels of its core attention.
    """

    dropout: bool = True

    def apply(self, graph: Graph) -> Graph:
        """The same graph without an op of kind attention."""
        return verify(graph.map_blocks({b: self._unfuse(b) for b in graph.blocks}))

    def _unfuse(self, block: Block) -> Block:
        ops: list[Op] = []
        tensors = dict(block.tensors)
        for op in block.ops:
            if op.kind != "attention":
                ops.append(op)
                continue
            parts, added = self._parts(op, block)
            ops += parts
            tensors |= {t.name: t for t in added}
        return replace(block, ops=tuple(ops), tensors=FrozenMap(tensors))

    def _parts(self, op: Op, block: Block) -> tuple[list[Op], list[Tensor]]:
        q, k, v = op.reads[:3]
        s = op.space
        half = (s["key"] + 1) // 2 if op.options.get("is_causal", True) and s["token"] == s["key"] else s["key"]
        axes: FrozenMap[str, int] = FrozenMap({a: s[a] for a in ("batch", "head", "token", "key")})
        seen_axes: FrozenMap[str, int] = FrozenMap({**{a: s[a] for a in ("batch", "head", "token")}, "seen_key": half})
        names = [f"{op.name}.{n}" for n in ("scores", "weights", "dropped", "mask")]
        scores, weights, dropped, mask = names
        kinds = [block.tensors[q].dtype] * 3 + [DTYPES["mask8"]]
        tensors = [Tensor(name, axes, dtype) for name, dtype in zip(names, kinds, strict=True)]
        seen = f"{scores}.seen"
        tensors.append(Tensor(seen, seen_axes, block.tensors[q].dtype))
        key_view, value_view = f"{op.name}.key", f"{op.name}.value"
        for name, source, last in ((key_view, k, "head_dim"), (value_view, v, "value_dim")):
            shape: FrozenMap[str, int] = FrozenMap(
                {"batch": s["batch"], "head": s["head"], "key": s["key"], last: s[last]}
            )
            tensors.append(Tensor(name, shape, block.tensors[source].dtype))
        read = dropped if self.dropout else weights
        per_score: FrozenMap[str, int] = FrozenMap({**axes, "head_dim": s["head_dim"]})
        per_value: FrozenMap[str, int] = FrozenMap({**axes, "value_dim": s["value_dim"]})
        parts = [
            _view(k, key_view, FrozenMap({a: s[a] for a in ("batch", "head", "key", "head_dim")})),
            Op(name=f"{op.name}.qk", kind="matmul", space=per_score, reads=(q, key_view), writes=(scores,)),
            _view(scores, seen, seen_axes),
            Op(name=f"{op.name}.softmax", kind="softmax", space=axes, reads=(seen,), writes=(weights,)),
            Op(name=f"{op.name}.dropout", kind="dropout", space=axes, reads=(weights,), writes=(dropped, mask)),
            _view(v, value_view, FrozenMap({a: s[a] for a in ("batch", "head", "key", "value_dim")})),
            Op(name=f"{op.name}.av", kind="matmul", space=per_value, reads=(read, value_view), writes=op.writes),
        ]  # fmt: skip
        if not self.dropout:
            parts = [p for p in parts if p.kind != "dropout"]
            tensors = [t for t in tensors if t.name not in (dropped, mask)]
        return parts, tensors


def _view(source: str, view: str, space: FrozenMap[str, int]) -> Op:
    """The same elements (or some of them) under other axes, which moves nothing."""
    return Op(name=f"{view}.view", kind="view", space=space, reads=(source,), writes=(view,))
