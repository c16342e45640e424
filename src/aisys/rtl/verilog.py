"""The Verilog of a generated array."""

from pathlib import Path
from tempfile import TemporaryDirectory

from aisys.cost.generated_array.design import ArrayDesign
from aisys.rtl.tools import need, run

SCRIPT = """read_rtlil top.il
proc -norom
pmuxtree
opt_clean
memory_collect
attrmap -remove generator -remove top -remove src -remove amaranth.hierarchy -remove amaranth.decoding
attrmap -modattr -remove generator -remove top -remove src -remove amaranth.hierarchy -remove amaranth.decoding
write_verilog -norename top.v
"""


def module_name(design: ArrayDesign) -> str:
    """The Verilog module of `design`: `aisys_ws_8x8`."""
    return "aisys_" + design.name.replace("-", "_")


def verilog(design: ArrayDesign) -> str:
    """Verilog-2001 of the whole array, one module per component. Raises MissingExtra without the extra `rtl`."""
    need("amaranth", "yosys")
    from amaranth.back import rtlil

    from aisys.rtl.circuit.top import Top

    text = rtlil.convert(Top(design), name=module_name(design), emit_src=False)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "top.il").write_text(text, encoding="utf-8")
        (folder / "top.ys").write_text(SCRIPT, encoding="utf-8")
        run("yosys", ["-q", "top.ys"], folder)
        return (folder / "top.v").read_text(encoding="utf-8")
