"""Loop nests: any einsum on any hierarchy of memories, one mapping or millions."""

from aisys.cost.loop_nest.einsum import Einsum, Operand, attention, conv, matmul, spmm
from aisys.cost.loop_nest.einsum_text import chain_of, einsum_of
from aisys.cost.loop_nest.evaluate import Accesses, NestCost, check_fits, evaluate
from aisys.cost.loop_nest.hierarchy import Hierarchy, Level
from aisys.cost.loop_nest.mapping import Keep, Loop, Mapping, MappingTable, check, parse
from aisys.cost.loop_nest.zeros import Zeros

__all__ = [
    "Accesses", "Einsum", "Hierarchy", "Keep", "Level", "Loop", "Mapping", "MappingTable", "NestCost", "Operand",
    "Zeros", "attention", "chain_of", "check", "check_fits", "conv", "einsum_of", "evaluate", "matmul", "parse", "spmm",
]  # fmt: skip
