"""Attention as separate kernels, the way it ran before fused attention: scores go to memory and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from aisys.frozen import FrozenMap
from aisys.ir import DTYPES, Block, DType, Graph, Op, Option, Tensor, verify

SCORES = ("batch", "head", "token", "key")
_NONE: Mapping[str, Option] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class EagerAttention:
    """Replace each fused attention by scores = q k, scaled masked softmax, dropout, and context = scores v.

    Scores are computed in full, masked part included; a softcap squashes them first. `dropout`: whether the scores
    pass a dropout, at the rate of the attention that they replace. Keys that several query heads share are read in
    place: repeating them moves nothing.
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
            if op.kind == "attention":
                parts = _Parts(op, block.tensors, has_dropout=self.dropout)
                ops += parts.ops
                tensors |= parts.tensors
            else:
                ops.append(op)
        return replace(block, ops=tuple(ops), tensors=FrozenMap(tensors))


class _Parts:
    """The ops that one attention stands for, and the tensors between them."""

    def __init__(self, op: Op, given: Mapping[str, Tensor], *, has_dropout: bool) -> None:
        self.op, self.given = op, given
        self.ops: list[Op] = []
        self.tensors: dict[str, Tensor] = {}
        q, k, v, *sinks = op.reads
        key, value = self._seen(k, "key", "head_dim"), self._seen(v, "value", "value_dim")
        scores = self._add("scores", "matmul", (q, key), over=(*SCORES, "head_dim"))
        scale: dict[str, Option] = {"head_dim": op.space["head_dim"]}
        masked = {name: op.options[name] for name in ("is_causal", "window") if name in op.options}
        if "softcap" in op.options:
            capped = {"function": "softcap", "softcap": op.options["softcap"], **scale}
            scores = self._add("capped", "activation", (scores,), capped)
            scale = {}
        weights = self._add("weights", "softmax", (scores, *sinks), {**masked, **scale})
        if has_dropout:
            weights = self._drop(weights, op.options.get("dropout", 0.0))
        space: FrozenMap[str, int] = FrozenMap({axis: op.space[axis] for axis in (*SCORES, "value_dim")})
        out = Op(name=f"{op.name}.av", kind="matmul", space=space, reads=(weights, value), writes=op.writes)
        self.ops.append(out)

    def _add(
        self, part: str, kind: str, reads: Sequence[str], options: Mapping[str, Option] = _NONE,
        *, over: Sequence[str] = SCORES,
    ) -> str:  # fmt: skip
        """An op that writes one tensor of scores, and the name of that tensor."""
        name = self._scores(part, self.given[self.op.reads[0]].dtype)
        space: FrozenMap[str, int] = FrozenMap({axis: self.op.space[axis] for axis in over})
        self.ops.append(
            Op(name=name, kind=kind, space=space, reads=tuple(reads), writes=(name,), options=FrozenMap(options))
        )
        return name

    def _scores(self, part: str, dtype: DType) -> str:
        name = f"{self.op.name}.{part}"
        self.tensors[name] = Tensor(name, FrozenMap({axis: self.op.space[axis] for axis in SCORES}), dtype)
        return name

    def _drop(self, weights: str, rate: Option) -> str:
        out = self._add("dropped", "dropout", (weights,), {"rate": rate})
        self.ops[-1] = replace(self.ops[-1], writes=(out, self._scores("mask", DTYPES["mask8"])))
        return out

    def _seen(self, source: str, part: str, last: str) -> str:
        """Keys (or values) seen per query head and key position: a view, which moves nothing."""
        name = f"{self.op.name}.{part}"
        axes: FrozenMap[str, int] = FrozenMap({a: self.op.space[a] for a in ("batch", "head", "key", last)})
        self.tensors[name] = Tensor(name, axes, self.given[source].dtype)
        self.ops.append(Op(name=f"{name}.view", kind="view", space=axes, reads=(source,), writes=(name,)))
        return name
