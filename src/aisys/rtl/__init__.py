"""Generated hardware: int8 systolic arrays as circuits, their simulation, and place and route.

The circuit and the cycle model (cost/generated_array) are two descriptions of one design; the tests hold them equal.
Needs the extra `rtl` for everything but the cycles.
"""

from aisys.cost.generated_array.design import ArrayDesign, MemoryPort
from aisys.rtl.array import Array, Simulated
from aisys.rtl.place import CHIPS, PlacedDesign
from aisys.rtl.requantization import Requantization, scale_to_fixed_point

__all__ = [
    "CHIPS", "Array", "ArrayDesign", "MemoryPort", "PlacedDesign", "Requantization", "Simulated",
    "scale_to_fixed_point",
]  # fmt: skip
