"""Area and clock of generated arrays against place and route of arrays that the fit has not seen."""

from pathlib import Path

import numpy as np
import pytest

import aisys.rtl
from aisys.cost.generated_array.area import area, clock_hz
from aisys.cost.generated_array.cells import counted_luts, counted_registers
from aisys.cost.generated_array.design import ArrayDesign
from aisys.errors import Unsupported
from aisys.validate import read_table

TABLE = read_table(Path(aisys.rtl.__file__).parent / "ecp5-85k.csv")
IS_SEEN = (
    (TABLE.counts("rows") == TABLE.counts("cols"))
    & ~np.isin(TABLE.counts("rows"), (4, 8))
    & (TABLE.texts("sparsity") == "")
)
UNSEEN = [int(row) for row in np.flatnonzero(~IS_SEEN)]


def design_of(row: int) -> ArrayDesign:
    sparsity = str(TABLE.texts("sparsity")[row])
    return ArrayDesign(
        rows=int(TABLE.counts("rows")[row]), cols=int(TABLE.counts("cols")[row]),
        dataflow=str(TABLE.texts("dataflow")[row]), is_pipelined=TABLE.texts("is_pipelined")[row] == "1",
        sparsity=tuple(map(int, sparsity.split(":"))) if sparsity else None,
    )  # fmt: skip


@pytest.mark.parametrize("row", UNSEEN, ids=TABLE.texts("design")[UNSEEN].tolist())
def test_area_and_clock_of_unseen_arrays_are_near_place_and_route(row: int) -> None:
    found = area(design_of(row))
    assert (found.dsp, found.bram) == (TABLE.counts("dsp")[row], TABLE.counts("bram")[row])
    assert found.ff == pytest.approx(TABLE.counts("ff")[row], rel=0.01)
    assert found.lut == pytest.approx(TABLE.counts("lut")[row], rel=0.02)
    if TABLE.texts("fmax_mhz")[row]:
        assert clock_hz(design_of(row)) / 1e6 == pytest.approx(float(TABLE.texts("fmax_mhz")[row]), rel=0.15)


def test_what_is_counted_of_a_small_array() -> None:
    """2x2, ws: two adders of 17 bits below the second row, two of 32 bits with 32 LUTs that begin sums at zero, 32 that
    choose a column, four memories for weights and 14 for parameters."""
    design = ArrayDesign(rows=2, cols=2)
    assert counted_luts(design) == 2 * (18 + 4) + 2 * (32 + 4 + 32) + 32 + 6 * (4 + 14)
    piped = ArrayDesign(rows=2, cols=2, is_pipelined=True)
    # the marks travel a cycle longer; multipliers hold the products, or else the first row's sums
    assert counted_registers(piped) - counted_registers(design) == 11 + 2 * 16
    assert counted_luts(piped) == counted_luts(design)


def test_what_was_not_fitted_is_refused() -> None:
    with pytest.raises(Unsupported, match="tile=128"):
        area(ArrayDesign(rows=4, cols=4, tile=128))
    with pytest.raises(Unsupported, match="lanes=2"):
        clock_hz(ArrayDesign(rows=4, cols=4, lanes=2))
