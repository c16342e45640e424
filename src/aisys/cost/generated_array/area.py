"""Area and clock of a generated array on an FPGA, without running place and route.

Multipliers and block memories are counted from the design, exactly. LUTs and registers are those counted per element,
row and column (cells.py), a constant for everything else, and a share per column. The period of the clock is a
constant and a share per multiplier: these lie in few lines across the chip, so that wires grow with their number.
Constants and shares are fitted by scripts/fit_array_area.py on sizes other than those that it is checked on.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from math import isqrt
from pathlib import Path
from typing import Any

from aisys.cost.fpga.resources import block_memories
from aisys.cost.generated_array.cells import counted_luts, counted_registers
from aisys.cost.generated_array.design import ArrayDesign
from aisys.errors import Unsupported

CONSTANTS = Path(__file__).parent / "area.toml"
DSP_PER_LANE = 2
"""A 32-bit by 16-bit product takes two multipliers of 18 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """What an array occupies. lut: LUTs and carry halves."""

    lut: int
    ff: int
    dsp: int
    bram: int


def area(design: ArrayDesign) -> Area:
    """LUT, registers, multipliers and block memories of `design` on an ECP5.

    Raises Unsupported for buffers, ports and lanes other than those of the fit.
    """
    _check_options(design)
    rest = _read()["dataflows"][design.dataflow]
    (lut, lut_per_col), (ff, ff_per_col) = rest["lut"], rest["ff"]
    return Area(
        lut=counted_luts(design) + round(lut + lut_per_col * design.cols),
        ff=counted_registers(design) + round(ff + ff_per_col * design.cols),
        dsp=num_dsp(design), bram=num_bram(design),
    )  # fmt: skip


def clock_hz(design: ArrayDesign) -> float:
    """The clock that place and route reaches for `design` on an ECP5 of speed grade 6. Raises as `area`."""
    _check_options(design)
    base, per_multiplier = _read()["clock"]["period_ns"]
    return 1e9 / float(base + per_multiplier * num_dsp(design))


def num_dsp(design: ArrayDesign) -> int:
    """Multipliers: one per element, and those of the lanes that requantize."""
    return design.rows * design.cols + DSP_PER_LANE * design.lanes


def num_bram(design: ArrayDesign) -> int:
    """Block memories: the left buffer; for ws sums and results of each column; for os the top buffer."""
    left = block_memories(design.left_slots * design.tile, design.left_word_bits)
    if design.dataflow == "ws":
        return left + design.cols * (block_memories(design.tile, 32) + block_memories(2 * design.tile, 32))
    return left + block_memories(2 * design.tile, design.top_word_bits)


def largest_square(num_multipliers: int, lanes: int) -> int:
    """Rows of the largest square array that so many multipliers hold."""
    return isqrt(max(0, num_multipliers - DSP_PER_LANE * lanes))


def _check_options(design: ArrayDesign) -> None:
    plain = ArrayDesign(rows=design.rows, cols=design.cols)
    for field in ("tile", "left_slots", "port_bytes", "lanes"):
        given, fitted = getattr(design, field), getattr(plain, field)
        if given != fitted:
            raise Unsupported(
                f"area of an array with {field}={given}: the model was fitted with {field}={fitted}; "
                "take that, or run place and route"
            )


@cache
def _read() -> dict[str, Any]:
    with CONSTANTS.open("rb") as file:
        return tomllib.load(file)
