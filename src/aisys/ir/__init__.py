"""The workload's nouns: dtypes, tensors with named axes, ops with rules, blocks that repeat, and their tables."""

from aisys.ir.dtype import DTYPES, DType, dtype
from aisys.ir.graph import Block, Graph, Op, Segment, Tensor
from aisys.ir.op_table import COLUMNS, OpTable
from aisys.ir.record import NUM_BLOCKS, AccessRecord, Phase, Stream

__all__ = [
    "COLUMNS",
    "DTYPES",
    "NUM_BLOCKS",
    "AccessRecord",
    "Block",
    "DType",
    "Graph",
    "Op",
    "OpTable",
    "Phase",
    "Segment",
    "Stream",
    "Tensor",
    "dtype",
]
