"""The workload's nouns: dtypes, tensors with named axes, ops with rules, blocks that repeat, and their tables."""

from aisys.ir.dtype import DTYPES, DType, dtype, grouped_integer
from aisys.ir.gradient import gradient_name
from aisys.ir.graph import Block, Graph, Op, Option, ProgramPhase, Role, Segment, Tensor
from aisys.ir.live import kept_for_backward
from aisys.ir.op_table import COLUMNS, OpTable
from aisys.ir.record import LINE_BYTES, NUM_BLOCKS, AccessRecord, BlockTraffic, Phase, Stream
from aisys.ir.rows import Kernel, kernels, tables
from aisys.ir.rules import RULES, OpRule, rule
from aisys.ir.store import load, save
from aisys.ir.verify import verify

__all__ = [
    "AccessRecord",
    "Block",
    "BlockTraffic",
    "COLUMNS",
    "DTYPES",
    "DType",
    "Graph",
    "Kernel",
    "LINE_BYTES",
    "NUM_BLOCKS",
    "Op",
    "Option",
    "ProgramPhase",
    "Role",
    "OpRule",
    "OpTable",
    "Phase",
    "RULES",
    "Segment",
    "Stream",
    "Tensor",
    "dtype",
    "gradient_name",
    "grouped_integer",
    "kept_for_backward",
    "kernels",
    "load",
    "rule",
    "save",
    "tables",
    "verify",
]
