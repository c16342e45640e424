"""Places generated arrays on an ECP5-85k and writes src/aisys/rtl/ecp5-85k.csv, one row per design.

    python scripts/place_arrays.py [--area-only] [--kept] [DESIGN ...]     DESIGN is like ws-4x4-pipelined; default: all

Runs are kept in the user's cache, so an interrupted series goes on where it stopped; --kept writes those alone. A row
without a clock was packed only: its area is that of place and route. A run of an 8x8 array takes some minutes of one
core.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import aisys.rtl
from aisys.cost.generated_array.design import ArrayDesign
from aisys.rtl.place import CHIPS, EFFORT, is_kept, pack, place_and_route, tools
from aisys.rtl.verilog import module_name, verilog

TARGET = Path(aisys.rtl.__file__).parent / "ecp5-85k.csv"
CHIP = CHIPS["ecp5-85k"]
SIZES = ((2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7), (8, 8), (3, 7), (7, 4), (12, 12))
KINDS = (("ws", None), ("os", None), ("ws", (2, 4)))
COLUMNS = "design,dataflow,rows,cols,is_pipelined,sparsity,lut,ff,dsp,bram,fmax_mhz"


def designs() -> Iterator[ArrayDesign]:
    """Every size and kind; sparse ones need an even number of rows."""
    for dataflow, sparsity in KINDS:
        for is_pipelined in (False, True):
            for rows, cols in SIZES:
                if sparsity is None or rows % 2 == 0:
                    yield ArrayDesign(
                        rows=rows, cols=cols, dataflow=dataflow, is_pipelined=is_pipelined, sparsity=sparsity
                    )


def row(design: ArrayDesign, *, is_run: bool, is_placed: bool) -> str | None:
    """The row of `design`, from a run or the cache; None where neither is wanted or there."""
    text, module = verilog(design), module_name(design)
    has_clock = is_kept(text, module, CHIP, "place")
    if not (is_run or has_clock or is_kept(text, module, CHIP, "count")):
        return None
    placed = place_and_route(text, module, CHIP) if has_clock or (is_run and is_placed) else None
    used = placed or pack(text, module, CHIP)
    sparsity = "" if design.sparsity is None else ":".join(map(str, design.sparsity))
    head = (design.name, design.dataflow, design.rows, design.cols, int(design.is_pipelined), sparsity)
    clock = f"{placed.fmax_hz / 1e6:.2f}" if placed else ""
    return ",".join(map(str, (*head, used.lut, used.ff, used.dsp, used.bram, clock)))


def main() -> None:
    wanted = [word for word in sys.argv[1:] if not word.startswith("--")]
    is_placed = "--area-only" not in sys.argv
    rows = []
    for design in designs():
        is_run = "--kept" not in sys.argv and (not wanted or design.name in wanted)
        line = row(design, is_run=is_run, is_placed=is_placed)
        if line is not None:
            rows.append(line)
            print(line, flush=True)
    head = (
        "# table: generated_array", f"# kind: simulated by {tools()}",
        "# source: scripts/place_arrays.py on our own designs; ECP5-85k, speed grade 6, out of context",
        f"# options of nextpnr: {' '.join(EFFORT)}; registers in DSP blocks (rtl/dsp_registers.py)",
        "# units: fmax MHz; lut counts carry halves and LUT memory; no clock: packed only", COLUMNS,
    )  # fmt: skip
    TARGET.write_text("\n".join([*head, *rows]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
