"""Attention as separate kernels, the way it ran before fused attention: scores go to memory and back."""

from dataclasses import dataclass, replace

from aisys.frozen import FrozenMap
from aisys.ir import DTYPES, Block, Graph, Op, Tensor, verify


@dataclass(frozen=True, slots=True, kw_only=True)
class EagerAttention:
    """Replace each fused attention by scores = q k, scaled masked softmax, dropout, and context = scores v.

    Scores are computed in full, masked part included. `dropout`: whether the scores pass a dropout.
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
        axes: FrozenMap[str, int] = FrozenMap({a: s[a] for a in ("batch", "head", "token", "key")})
        names = [f"{op.name}.{n}" for n in ("scores", "weights", "dropped", "mask")]
        scores, weights, dropped, mask = names
        kinds = [block.tensors[q].dtype] * 3 + [DTYPES["mask8"]]
        tensors = [Tensor(name, axes, dtype) for name, dtype in zip(names, kinds, strict=True)]
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
            _view(op, k, key_view, "head_dim"),
            Op(name=f"{op.name}.qk", kind="matmul", space=per_score, reads=(q, key_view), writes=(scores,)),
            Op(name=f"{op.name}.softmax", kind="softmax", space=axes, reads=(scores,), writes=(weights,)),
            Op(name=f"{op.name}.dropout", kind="dropout", space=axes, reads=(weights,), writes=(dropped, mask)),
            _view(op, v, value_view, "value_dim"),
            Op(name=f"{op.name}.av", kind="matmul", space=per_value, reads=(read, value_view), writes=op.writes),
        ]  # fmt: skip
        if not self.dropout:
            parts = [p for p in parts if p.kind != "dropout"]
            tensors = [t for t in tensors if t.name not in (dropped, mask)]
        return parts, tensors


def _view(op: Op, source: str, view: str, last: str) -> Op:
    """Keys (or values) seen per query head and key position: a view, which moves nothing."""
    axes = ("batch", "head", "key", last)
    return Op(name=f"{view}.view", kind="view", space=FrozenMap({a: op.space[a] for a in axes}),
              reads=(source,), writes=(view,))  # fmt: skip
