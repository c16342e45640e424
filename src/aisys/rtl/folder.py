"""Writes an array to a folder: Verilog, a testbench with its data, the machine that it is, and a page about it."""

from collections.abc import Iterable
from pathlib import Path
from string import Template

from aisys.cost.generated_array.design import ArrayDesign, MemoryPort
from aisys.rtl import testbench
from aisys.rtl.verilog import module_name, verilog

PAGE = Path(__file__).parent / "template" / "readme.txt"
MACHINE = Path(__file__).parent / "template" / "machine.txt"


def save(design: ArrayDesign, folder: Path, *, port: MemoryPort, clock_hz: float, clock_source: str) -> tuple[str, ...]:
    """The names of the files that describe `design` in `folder`, written whole. clock_source: where clock_hz is from.

    Raises MissingExtra without the extra `rtl`.
    """
    text = verilog(design)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module_name(design)}.v").write_text(_head(design) + text, encoding="utf-8")
    testbench.write(design, folder, example_shape(design), port)
    (folder / "machine.toml").write_text(machine_file(design, port, clock_hz, clock_source), encoding="utf-8")
    (folder / "README.md").write_text(_page(design, port), encoding="utf-8")
    return (f"{module_name(design)}.v", "testbench.v", *testbench.FILES, "machine.toml", "README.md")


def example_shape(design: ArrayDesign) -> tuple[int, int, int]:
    """m, k, n of a small product with a full and a partial tile along every axis that is cheap to simulate."""
    if design.dataflow == "ws":
        return design.rows + 3, 2 * design.depth + 1, design.cols + 1
    return design.rows + 1, 2 * design.rows + 3, design.cols + 1


def machine_file(design: ArrayDesign, port: MemoryPort, clock_hz: float, clock_source: str) -> str:
    """The TOML file by which `aisys op --on FILE` targets the array."""
    kept, group = design.sparsity or (1, 1)
    kind = "assumed" if clock_source.startswith("assumed") else "fitted"
    return Template(MACHINE.read_text(encoding="utf-8")).substitute(
        name=f"generated-{design.name}", dataflow=design.dataflow, rows=design.rows, cols=design.cols,
        num_vectors_per_tile=design.tile, num_left_slots=design.left_slots, num_port_bytes=design.port_bytes,
        num_lanes=design.lanes, num_multiplier_stages=1 + design.is_pipelined, num_kept_weights=kept,
        num_group_weights=group, num_latency_cycles=port.latency_cycles, num_cycles_per_beat=port.cycles_per_beat,
        clock_hz=f"{clock_hz:.6g}", clock_source=clock_source, clock_kind=kind, buffer_bytes=buffer_bytes(design),
        bandwidth=f"{design.port_bytes * clock_hz / port.cycles_per_beat:.6g}",
        on_chip=f"{(design.left_word_bits + design.top_word_bits) / 8 * clock_hz:.6g}",
        latency_s=f"{port.latency_cycles / clock_hz:.6g}",
    )  # fmt: skip


def buffer_bytes(design: ArrayDesign) -> int:
    """Bytes of A and B that the buffers of an array hold."""
    left = design.left_slots * design.tile * design.left_word_bits
    return (left + 2 * design.top_slot_words * design.top_word_bits) // 8


def _head(design: ArrayDesign) -> str:
    """Comments at the top of the Verilog: what the array is, and what its ports mean."""
    from aisys.rtl.circuit.job import MEANINGS
    from aisys.rtl.circuit.top import PORTS

    described = {**PORTS, **MEANINGS}
    width = max(map(len, described))
    return "".join((
        f"// {design.name}: an int8 systolic array of {design.rows} x {design.cols} elements, written by aisys rtl.\n",
        f"// Up to {design.tile} vectors per step, {design.left_slots} chunks of A on chip, {design.lanes} channel(s) "
        f"requantized per cycle. README.md says how to drive it.\n//\n",
        *(f"//   {name:{width}}  {said}\n" for name, said in described.items()), "`timescale 1ns / 1ps\n\n",
    ))  # fmt: skip


def _page(design: ArrayDesign, port: MemoryPort) -> str:
    from aisys.rtl.circuit.job import JOB, MEANINGS
    from aisys.rtl.circuit.top import PORTS

    m, k, n = example_shape(design)
    return Template(PAGE.read_text(encoding="utf-8")).substitute(
        name=design.name, module=module_name(design), rows=design.rows, cols=design.cols, dataflow=design.dataflow,
        depth=design.depth, tile=design.tile, left_slots=design.left_slots, port_bytes=design.port_bytes,
        lanes=design.lanes, latency=port.latency_cycles, per_beat=port.cycles_per_beat, m=m, k=k, n=n,
        options=_lines(_options(design)), left_beats=design.left_beats, top_beats=design.top_beats,
        ports=_lines(f"| `{name}` | {said} |" for name, said in PORTS.items()),
        fields=_lines(f"| `{name}` | {field.width} | {MEANINGS[name]} |" for name, field in JOB),
    )  # fmt: skip


def _options(design: ArrayDesign) -> Iterable[str]:
    yield f"- {'a register behind each multiplier' if design.is_pipelined else 'no register behind the multipliers'}"
    if design.sparsity:
        kept, group = design.sparsity
        yield f"- sparse: {kept} of every {group} weights along k are kept, each with a {design.index_bits}-bit index"


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines)
