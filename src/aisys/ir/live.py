"""What a training block has to keep from forward until backward reads it."""

from collections.abc import Sequence

from aisys.ir.graph import Block, Op


def kept_for_backward(block: Block) -> tuple[str, ...]:
    """What forward writes or is handed, and later phases read before they write it, in the order of reading.

    Indices that the block is handed, weights and their copies are there anyway.
    """
    forward = [op for op in block.ops if op.phase == "forward"]
    after = [op for op in block.ops if op.phase not in ("forward", "optimizer")]
    handed = {name for name in block.inputs if block.tensors[name].role in ("activation", "spike")}
    held = handed | {name for op in forward for name in op.writes}
    return tuple(name for name in _read_first(after) if name in held)


def _read_first(ops: Sequence[Op]) -> dict[str, None]:
    """What the ops read before any of them writes it."""
    written: set[str] = set()
    found: dict[str, None] = {}
    for op in ops:
        found |= dict.fromkeys(n for n in op.reads if n not in written)
        written |= set(op.writes)
    return found
