"""Area and clock of generated arrays against place and route of sizes that the fit has not seen (4x4 and 8x8)."""

from pathlib import Path

import numpy as np
import pytest

import aisys.rtl
from aisys.cost.generated_array.area import area, clock_hz
from aisys.cost.generated_array.design import ArrayDesign
from aisys.validate import read_table

TABLE = read_table(Path(aisys.rtl.__file__).parent / "ecp5-85k.csv")
UNSEEN = [int(row) for row in np.flatnonzero(np.isin(TABLE.counts("rows"), (4, 8)))]


def design_of(row: int) -> ArrayDesign:
    size = int(TABLE.counts("rows")[row])
    return ArrayDesign(
        rows=size, cols=size, dataflow=str(TABLE.texts("dataflow")[row]),
        is_pipelined=TABLE.texts("is_pipelined")[row] == "1",
    )  # fmt: skip


@pytest.mark.parametrize("row", UNSEEN, ids=TABLE.texts("design")[UNSEEN].tolist())
def test_area_and_clock_of_unseen_sizes_are_near_place_and_route(row):
    found = area(design_of(row))
    assert (found.dsp, found.bram) == (TABLE.counts("dsp")[row], TABLE.counts("bram")[row])
    assert found.ff == pytest.approx(TABLE.counts("ff")[row], rel=0.005)
    assert found.lut == pytest.approx(TABLE.counts("lut")[row], rel=0.11)  # 10.3 % on the pipelined 8x8 ws array
    if TABLE.texts("fmax_mhz")[row]:
        assert clock_hz(design_of(row)) / 1e6 == pytest.approx(float(TABLE.texts("fmax_mhz")[row]), rel=0.15)
