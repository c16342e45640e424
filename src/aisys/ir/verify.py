"""The rules that every graph keeps, checked wherever one is made: by a reader, by a technique, from a file."""

from itertools import pairwise

from aisys.errors import InvalidGraph
from aisys.ir import convolution
from aisys.ir.gradient import gradient_name
from aisys.ir.graph import Block, Graph, Op
from aisys.ir.live import kept_for_backward
from aisys.ir.rules import RULES


def verify(graph: Graph) -> Graph:
    """`graph` itself, or InvalidGraph naming the first broken rule.

    Every tensor that an op touches is in its block; kinds are known; extents are positive integers and agree
    between ops and tensors; what an op reads was given, is stored, or was written before, and what backward reads of
    forward is saved; consecutive blocks agree on the shape that passes between them; shared tensors agree wherever
    they appear.
    """
    if not graph.segments:
        raise InvalidGraph(f"graph {graph.name!r} has no segment; a graph holds at least one block")
    for segment in graph.segments:
        if segment.repeat < 1:
            raise InvalidGraph(f"segment {segment.block.name!r} repeats {segment.repeat} times; use at least 1")
    for block in graph.blocks:
        _verify_block(block)
    _verify_chain(graph)
    _verify_shared(graph)
    return graph


def _verify_block(block: Block) -> None:
    for tensor in block.tensors.values():
        for axis, extent in tensor.axes.items():
            if not isinstance(extent, int) or extent < 1:
                raise InvalidGraph(f"axis {axis!r} of {tensor.name!r} has extent {extent!r}; use an integer above 0")
    known = {t.name for t in block.tensors.values() if t.role not in ("activation", "gradient", "spike")}
    known |= {*block.inputs, *(gradient_name(n) for n in block.outputs)}
    for op in block.ops:
        _verify_op(op, block, known)
        known |= set(op.writes)
    for name in block.saved:
        if name not in block.tensors:
            raise InvalidGraph(f"block {block.name!r} saves {name!r}, which it does not hold")
    for name in kept_for_backward(block):
        if name not in block.saved:
            raise InvalidGraph(f"backward of block {block.name!r} reads {name!r} of its forward, but does not save it")
    for name in block.outputs:
        if name not in known:
            raise InvalidGraph(f"block {block.name!r} gives {name!r}, which none of its ops writes")


def _verify_op(op: Op, block: Block, known: set[str]) -> None:
    if op.kind not in RULES:
        raise InvalidGraph(f"op {op.name!r} has unknown kind {op.kind!r}; known: {', '.join(RULES)}")
    for name in (*op.reads, *op.writes):
        if name not in block.tensors:
            raise InvalidGraph(f"op {op.name!r} touches tensor {name!r}, which block {block.name!r} does not hold")
    for name in op.reads:
        if name not in known:
            raise InvalidGraph(f"op {op.name!r} reads {name!r} before anything writes it in block {block.name!r}")
    for axis, extent in op.space.items():
        if not isinstance(extent, int) or extent < 1:
            raise InvalidGraph(f"axis {axis!r} of op {op.name!r} has extent {extent!r}; use an integer above 0")
    for name in (*op.reads, *op.writes):
        for axis, extent in block.tensors[name].axes.items():
            if op.space.get(axis, extent) != extent:
                raise InvalidGraph(
                    f"op {op.name!r} runs axis {axis!r} to {op.space[axis]}, but {name!r} has extent {extent} there"
                )
    if op.kind == "conv":
        convolution.verify(op, block.tensors)


def _verify_chain(graph: Graph) -> None:
    for before, after in pairwise(s.block for s in graph.segments for _ in range(min(s.repeat, 2))):
        if len(before.outputs) < len(after.inputs):
            raise InvalidGraph(f"block {after.name!r} takes {len(after.inputs)} tensors; {before.name!r} gives fewer")
        for given, taken in zip(before.outputs, after.inputs, strict=False):
            left, right = before.tensors[given], after.tensors[taken]
            if left.axes != right.axes:
                raise InvalidGraph(
                    f"block {before.name!r} gives {given!r} {left.axes}, "
                    f"but {after.name!r} takes {taken!r} {right.axes}"
                )


def _verify_shared(graph: Graph) -> None:
    for name in graph.shared:
        holders = [b.tensors[name] for b in graph.blocks if name in b.tensors]
        if not holders:
            raise InvalidGraph(f"shared tensor {name!r} is in no block")
        if any(t.axes != holders[0].axes for t in holders):
            raise InvalidGraph(f"shared tensor {name!r} has different axes in different blocks")
