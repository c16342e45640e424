"""A graph as text that a person reads: one line per op, blocks once, repetitions as a count."""

from collections.abc import Mapping

from aisys.ir.graph import Block, Graph, Op, Tensor


def graph_text(graph: Graph) -> str:
    """The whole graph: name, parameters and flop, then every distinct block under its repetitions."""
    head = f"graph {graph.name}  parameters={graph.num_parameters:,}  flop={graph.flop:,}  digest={graph.digest}"
    order = "  ".join(f"{s.block.name}*{s.repeat}" for s in graph.segments)
    return "\n".join([head, f"  {order}", *(block_text(b) for b in graph.blocks)])


def block_text(block: Block) -> str:
    """One block: its ports, then one line per op."""
    head = f"block {block.name}({', '.join(block.inputs)}) -> {', '.join(block.outputs)}"
    return "\n".join([head, *(f"  {op_text(op, block.tensors)}" for op in block.ops)])


def op_text(op: Op, tensors: Mapping[str, Tensor]) -> str:
    """`writes = kind(reads) {space} options`, with the dtype of what it writes."""
    space = " ".join(f"{axis}={extent}" for axis, extent in op.space.items())
    options = "".join(f" {key}={value}" for key, value in op.options.items())
    phase = "" if op.phase == "forward" else f" [{op.phase}]"
    wrote = ", ".join(f"{name}:{tensors[name].dtype.name}" if name in tensors else name for name in op.writes)
    return f"{wrote} = {op.kind}({', '.join(op.reads)}) {{{space}}}{options}{phase}"
