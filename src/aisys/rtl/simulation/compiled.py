"""Runs a circuit as a program that Verilator makes of its Verilog: a few hundred times faster than step by step."""

import os
from functools import cache
from hashlib import sha256
from pathlib import Path
from shutil import which
from string import Template
from tempfile import TemporaryDirectory

import numpy as np

from aisys.cost.generated_array.design import ArrayDesign, MemoryPort
from aisys.rtl.image import Bytes, Image
from aisys.rtl.place import cache_folder
from aisys.rtl.tools import run_program
from aisys.rtl.verilog import module_name, verilog

HARNESS = Path(__file__).parents[1] / "template" / "harness.txt"


def is_installed() -> bool:
    """Whether Verilator, make and a C++ compiler are here."""
    return all(which(program) for program in ("verilator", "make", os.environ.get("CXX", "g++")))


def run(design: ArrayDesign, jobs: list[Image], port: MemoryPort) -> list[tuple[int, Bytes]]:
    """The cycles that the circuit counted for each job, and the beats that it wrote."""
    program = build(design, tuple(jobs[0].fields))
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with (folder / "jobs").open("wb") as file:
            for job in jobs:
                head = [port.latency_cycles, port.cycles_per_beat, len(job.beats), job.num_out_beats]
                file.write(np.array([*head, *job.fields.values()], "<u4").tobytes())
                file.write(job.beats.tobytes())
        run_program([str(program), "jobs", "results"], folder, name=program.name)
        found = np.fromfile(folder / "results", np.uint8)
    done, at = list[tuple[int, Bytes]](), 0
    for job in jobs:
        after = at + 8 + job.num_out_beats * design.port_bytes
        done.append((int(found[at : at + 8].view("<u8")[0]), found[at + 8 : after].reshape(-1, design.port_bytes)))
        at = after
    return done


@cache
def build(design: ArrayDesign, fields: tuple[str, ...]) -> Path:
    """The program that simulates `design`; kept in the user's cache by its source."""
    text = verilog(design)
    lines = "".join(f"  top.{name} = fields[{i}];\n" for i, name in enumerate(fields))
    harness = Template(HARNESS.read_text(encoding="utf-8")).substitute(
        port_bytes=design.port_bytes, num_fields=len(fields), set_fields=lines
    )
    version = run_program(["verilator", "--version"], Path.cwd(), name="verilator")
    digest = sha256("\0".join((text, harness, version)).encode()).hexdigest()
    program = cache_folder() / f"{module_name(design)}-{digest[:16]}"
    if program.exists():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "top.v").write_text(text, encoding="utf-8")
        (folder / "harness.cpp").write_text(harness, encoding="utf-8")
        run_program([
            "verilator", "--cc", "--exe", "--build", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert",
            "-Wno-fatal", "-Wno-WIDTH", "-Wno-UNOPTFLAT", "-Wno-CASEINCOMPLETE", "--top-module", module_name(design),
            "--prefix", "Vtop", "-CFLAGS", "-O1", "top.v", "harness.cpp",
        ], folder, name="verilator")  # fmt: skip
        built = folder / "obj_dir" / "Vtop"
        partial = program.with_suffix(f".{os.getpid()}")
        partial.write_bytes(built.read_bytes())
        partial.chmod(0o755)
        partial.replace(program)
    return program
