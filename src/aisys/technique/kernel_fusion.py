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
    does not train, dropout is the identity.

    Source: Kwon et al. 2023 (vLLM) and its fused kernels; Ansel et al. 2024 (TorchInductor).
    """

    def apply(self, graph: Graph) -> Graph:
        """The same ops and tensors, with labels on what runs together."""
        trains = any(block.saved for block in graph.blocks)
        moved = ("rope",) if trains else ("rope", "dropout")
        return verify(graph.map_blocks({b: _fuse(b, moved) for b in graph.blocks}))


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
