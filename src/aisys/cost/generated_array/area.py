"""Area and clock of a generated array on an FPGA, without running place and route.

Multipliers and block memories are counted from the design, exactly. LUTs and registers are a constant, a share of the
edges (rows + columns) and a share of the elements; the period of the clock is a constant and a share of the edges.
The constants are fitted per kind of array by scripts/fit_array_area.py on sizes other than those it is checked on.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from math import isqrt
from pathlib import Path
from typing import Any

from aisys.cost.fpga.resources import block_memories
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
    constants = _constants(design)
    features = (1, design.rows + design.cols, design.rows * design.cols)
    lut, ff = (round(sum(a * b for a, b in zip(constants[name], features, strict=True))) for name in ("lut", "ff"))
    return Area(lut=lut, ff=ff, dsp=num_dsp(design), bram=num_bram(design))


def clock_hz(design: ArrayDesign) -> float:
    """The clock that place and route reaches for `design` on an ECP5 of speed grade 6. Raises as `area`."""
    constants = _constants(design)
    if "period_ns" not in constants:
        raise Unsupported(f"no clock was fitted for {kind_of(design)} arrays; run place and route")
    base, per_edge = constants["period_ns"]
    return 1e9 / float(base + per_edge * (design.rows + design.cols))


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


def _constants(design: ArrayDesign) -> dict[str, list[float]]:
    found: dict[str, dict[str, list[float]]] = _read()["kinds"]
    plain = ArrayDesign(rows=design.rows, cols=design.cols)
    for field in ("tile", "left_slots", "port_bytes", "lanes"):
        given, fitted = getattr(design, field), getattr(plain, field)
        if given != fitted:
            raise Unsupported(
                f"area of an array with {field}={given}: the model was fitted with {field}={fitted}; "
                "take that, or run place and route"
            )
    kind = kind_of(design)
    if kind not in found:
        raise Unsupported(f"no area was fitted for {kind} arrays, only for {', '.join(found)}; run place and route")
    return found[kind]


def kind_of(design: ArrayDesign) -> str:
    """The name of a design without its size: `ws-2of4-pipelined`."""
    return design.name.replace(f"-{design.rows}x{design.cols}", "")


@cache
def _read() -> dict[str, Any]:
    with CONSTANTS.open("rb") as file:
        return tomllib.load(file)
