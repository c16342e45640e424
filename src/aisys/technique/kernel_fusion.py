"""Kernels that serving engines and compilers run as one."""

from dataclasses import dataclass, replace

from aisys.frozen import FrozenMap
from aisys.ir import Block, Graph, Op, Option, verify

_FOLLOWERS = {"add": ("norm", "cast"), "norm": ("cast",), "gated_activation": ("cast",), "activation": ("cast",)}
"""Which streams take in which next stream that reads what they wrote: residual and norm, and a quantising store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelFusion:
    """Run a residual addition, the norm after it and a cast of its result as one kernel, an activation and the cast of
    its result as one, and rotary embedding inside the attention op, whose measured time contains it. In a graph that
    does not train, dropout is the identity, the batch norm after a convolution becomes a part of its weights and its
    bias, and an activation after it is applied to its sums.

    Source: Kwon et al. 2023 (vLLM) and its fused kernels; Ansel et al. 2024 (TorchInductor); Jacob et al. 2018
    (section 3.2, folded batch norms).
    """

    def apply(self, graph: Graph) -> Graph:
        """The same tensors, with labels on what runs together; what a convolution takes in becomes a view of it."""
        trains = any(block.saved for block in graph.blocks)
        moved = ("rope",) if trains else ("rope", "dropout")
        fused = {b: _fuse(b if trains else _fold(b), moved) for b in graph.blocks}
        return verify(graph.map_blocks(fused))


def _fold(block: Block) -> Block:
    """The block whose convolutions take in the norm and the activation that alone read them."""
    ops, tensors = list(block.ops), dict(block.tensors)
    readers = [name for op in block.ops for name in op.reads] + list(block.outputs)
    conv_of = {op.writes[0]: place for place, op in enumerate(ops) if op.kind == "conv"}
    for place, op in enumerate(ops):
        source = conv_of.get(op.reads[0])
        is_pointwise = op.kind == "activation" or (op.kind == "norm" and op.options.get("function") == "batchnorm")
        if source is None or not is_pointwise or readers.count(op.reads[0]) > 1:
            continue
        if op.kind == "norm":
            *merged, shift = (*ops[source].reads[2:], *op.reads[1:])
            tensors = {name: tensor for name, tensor in tensors.items() if name not in merged}
            ops[source] = replace(ops[source], reads=(*ops[source].reads[:2], shift))
        ops[place] = replace(op, kind="view", reads=op.reads[:1], options=FrozenMap())
        conv_of[op.writes[0]] = source
    return replace(block, ops=tuple(ops), tensors=FrozenMap(tensors))


def _fuse(block: Block, moved: tuple[str, ...]) -> Block:
    ops: list[Op] = []
    for op in block.ops:
        if op.kind in moved and op.phase == "forward":
            ops.append(replace(op, kind="view"))
            continue
        before = ops[-1] if ops else None
        joins = before and op.kind in _FOLLOWERS.get(before.kind, ()) and set(before.writes) & set(op.reads)
        if before and joins and before.phase == op.phase:
            label = str(before.options.get("fuse", f"{before.name}+"))
            ops[-1] = _labelled(before, label)
            op = _labelled(op, label)
        ops.append(op)
    return replace(block, ops=tuple(ops))


def _labelled(op: Op, label: str) -> Op:
    options: FrozenMap[str, Option] = FrozenMap({**op.options, "fuse": label})
    return replace(op, options=options)
