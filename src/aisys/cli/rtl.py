"""`aisys rtl`: an array as Verilog, simulated, and placed on an FPGA."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from aisys.rtl import Array, MemoryPort, PlacedDesign

Size = Annotated[str, typer.Option("--array", metavar="RxC", help="Rows and columns: 8x8.")]
Dataflow = Annotated[str, typer.Option("--dataflow", help="ws or os: what stays in the array.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Write Verilog, testbench and machine file.")]
Products = Annotated[str | None, typer.Option("--simulate", metavar="M,K,N", help="Run a random product.")]
NetworkName = Annotated[str | None, typer.Option("--network", help="Run a small int8 network: digits.")]
Images = Annotated[int, typer.Option("--images", help="Test images that the network sees at once.")]
Chip = Annotated[str | None, typer.Option("--place-and-route", metavar="FPGA", help="Area and clock: ecp5-85k.")]
Clock = Annotated[float, typer.Option("--clock", metavar="MHZ", help="The clock that the array should reach.")]
Pipelined = Annotated[bool, typer.Option("--pipelined", help="A register behind each multiplier.")]
Sparsity = Annotated[str | None, typer.Option("--sparsity", metavar="N:M", help="Keep N of M weights along k: 2:4.")]
Tile = Annotated[int, typer.Option("--tile", help="Most vectors of a step.")]
LeftSlots = Annotated[int, typer.Option("--left-slots", help="Chunks of A on chip.")]
PortBytes = Annotated[int, typer.Option("--port-bytes", help="Bytes per beat of the memory port.")]
Lanes = Annotated[int, typer.Option("--lanes", help="Channels requantized per cycle.")]
Latency = Annotated[int, typer.Option("--latency", metavar="CYCLES", help="From a read to its first beat.")]
PerBeat = Annotated[int, typer.Option("--cycles-per-beat", help="A beat of the memory every so many cycles.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]

MOST_CLOCK_MHZ = 2000
MOST_ELEMENTS = 2**26
"""Of one matrix of a product that is simulated: what fits in memory, and in an afternoon."""


def rtl(
    array: Size, *, dataflow: Dataflow = "ws", out: Out = None, simulate: Products = None,
    network: NetworkName = None, images: Images = 16, place_and_route: Chip = None, clock: Clock = 80.0,
    pipelined: Pipelined = False, sparsity: Sparsity = None, tile: Tile = 64, left_slots: LeftSlots = 8,
    port_bytes: PortBytes = 8, lanes: Lanes = 1, latency: Latency = 8, cycles_per_beat: PerBeat = 1, json: Json = False,
) -> None:  # fmt: skip
    """Generate an int8 systolic array: Verilog with a testbench that checks itself, cycles, area and clock.

    Results are bit-equal to numpy and cycles to the model, stalls of the memory included. Without --out, --simulate and
    --place-and-route it says what the array is, with the area and clock of the model. Needs the extra `rtl`; Verilator
    makes simulation fast where installed.

    **Examples**

    - `aisys rtl --array 8x8 --dataflow ws --out my-array`
    - `aisys rtl --array 4x4 --dataflow os --simulate 30,70,10 --cycles-per-beat 2`
    - `aisys rtl --array 8x8 --network digits --images 360`
    - `aisys rtl --array 4x4 --pipelined --place-and-route ecp5-85k --json`
    """
    from aisys.cli.output import emit_json
    from aisys.rtl import Array, MemoryPort
    from aisys.rtl.tools import need

    _check_clock(clock)
    rows, cols = _extents("--array", array, "x", 2)
    made = Array(
        rows, cols, dataflow, tile=tile, left_slots=left_slots, port_bytes=port_bytes, lanes=lanes,
        is_pipelined=pipelined, sparsity=None if sparsity is None else tuple(_extents("--sparsity", sparsity, ":", 2)),
    )  # fmt: skip
    port = MemoryPort(latency_cycles=latency, cycles_per_beat=cycles_per_beat)
    shape = None if simulate is None else _shape(made, simulate)
    need("amaranth", "yosys")
    answer: dict[str, Any] = {"array": made.design.name, "design": made.design, "port": port}
    answer["area_model"] = _modelled(made)
    if shape is not None:
        answer["simulation"] = _simulated(made, shape, port, is_quiet=json)
    placed = None if place_and_route is None else _placed(made, place_and_route, clock * 1e6, is_quiet=json)
    if placed is not None:
        answer["place_and_route"] = {**_fields(placed), "is_met": placed.is_met}
    if network is not None:
        clock_hz = clock * 1e6 if placed is None else placed.fmax_hz
        done = _network(made, network, images, port, clock_hz, is_quiet=json)
        answer["network"] = {**done, "area_model": answer["area_model"]}
    if out is not None:
        answer["files"] = _saved(made, out, port, clock * 1e6, placed)
    if json:
        emit_json(answer)
    else:
        _show(answer)
    _say_missed(placed)


def _extents(option: str, text: str, mark: str, count: int) -> list[int]:
    """`count` whole numbers in `text`, with `mark` between them."""
    from aisys.errors import BadInput

    parts = text.lower().split(mark)
    if len(parts) != count or not all(part.strip().isascii() and part.strip().isdigit() for part in parts):
        raise BadInput(f"{option} {text[:40]!r} is not {mark.join(['NUMBER'] * count)}; give whole numbers")
    return [int(part) for part in parts]


def _shape(made: "Array", text: str) -> list[int]:
    """The product that --simulate asks for. Raises BadInput for one that the array or the simulator cannot hold."""
    from aisys.cost.generated_array.design import tiling
    from aisys.errors import BadInput

    m, k, n = _extents("--simulate", text, ",", 3)
    tiling(made.design, m, k, n)
    most = max(m * k, k * n, m * n)
    if most > MOST_ELEMENTS:
        raise BadInput(f"a matrix of {most:,} elements is too large to simulate; give up to {MOST_ELEMENTS:,}")
    return [m, k, n]


def _check_clock(clock_mhz: float) -> None:
    """Raises BadInput for a clock that no circuit has."""
    from aisys.errors import BadInput

    if not 1 <= clock_mhz <= MOST_CLOCK_MHZ:
        raise BadInput(f"--clock {clock_mhz:g} MHz cannot be reached; give 1 to {MOST_CLOCK_MHZ}")


def _modelled(made: "Array") -> dict[str, Any] | None:
    """Area and clock on an ECP5-85k as the model says, without place and route; None where it was not fitted."""
    from dataclasses import asdict

    from aisys.cost.generated_array.area import area, clock_hz
    from aisys.errors import Unsupported

    try:
        return {**asdict(area(made.design)), "clock_hz": clock_hz(made.design)}
    except Unsupported:
        return None


def _simulated(made: "Array", shape: list[int], port: "MemoryPort", *, is_quiet: bool) -> dict[str, Any]:
    """What the circuit did with a random product, beside numpy and the model."""
    from aisys.cli.progress import progress_bar
    from aisys.rtl.testbench import example

    m, k, n = shape
    a, b, given = example(made.design, (m, k, n))
    with progress_bar("simulating the circuit", is_shown=not is_quiet):
        raw, small = made.simulate_many([(a, b, None), (a, b, given)], port=port)
    sums = (a.astype("int64") @ b.astype("int64")).astype("int32")
    is_equal = bool((raw.values == sums).all() and (small.values == given.apply(sums)).all())
    return {
        "m": m, "k": k, "n": n, "cycles": small.cycles, "model_cycles": small.model_cycles,
        "cycles_int32": raw.cycles, "model_cycles_int32": raw.model_cycles, "results_equal_numpy": is_equal,
        "macs_per_cycle": m * k * n / small.cycles,
    }  # fmt: skip


def _network(
    made: "Array", name: str, num_images: int, port: "MemoryPort", clock_hz: float, *, is_quiet: bool
) -> dict[str, Any]:  # fmt: skip
    """What the circuit did with the test images of a network."""
    from dataclasses import asdict

    from aisys.cli.progress import progress_bar
    from aisys.rtl.network import network
    from aisys.rtl.network_run import run_network

    with progress_bar(f"{name} on {made.design.name}", is_shown=not is_quiet):
        done = run_network(made, network(name), num_images, port=port, clock_hz=clock_hz)
    return {**asdict(done), "cycles": done.cycles}


def _placed(made: "Array", chip: str, goal_hz: float, *, is_quiet: bool) -> "PlacedDesign":
    from aisys.cli.progress import progress_bar
    from aisys.rtl.place import chip_of

    chip_of(chip)
    with progress_bar(f"placing {made.design.name} on {chip}", is_shown=not is_quiet) as progress:
        return made.place_and_route(chip, goal_hz=goal_hz, progress=progress)


def _saved(
    made: "Array", out: Path, port: "MemoryPort", goal_hz: float, placed: "PlacedDesign | None"
) -> list[str]:  # fmt: skip
    """The files of the array; its clock is the placed one, else the goal."""
    from aisys.rtl.folder import save

    if placed is None:
        clock_hz, source = goal_hz, "assumed: the clock that was asked for; --place-and-route gives the one it reaches"
    else:
        clock_hz, source = (
            placed.fmax_hz,
            f"timing analysis of {placed.chip} by {placed.tools}; not measured on a board",
        )
    names = save(made.design, out, port=port, clock_hz=clock_hz, clock_source=source)
    return [str(out / name) for name in names]


def _fields(placed: "PlacedDesign") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(placed)


def _show(answer: dict[str, Any]) -> None:
    from rich.table import Table

    from aisys.cli.output import console
    from aisys.report.quantity import scaled

    design, out = answer["design"], console()
    table = Table(title=f"generated array {design.name}", title_justify="left", show_header=False, box=None)
    table.add_column(style="dim")
    table.add_column()
    table.add_row("elements", f"{design.rows} x {design.cols}, int8 operands, int32 sums")
    beats = f"A takes {design.left_beats} beats per vector, B {design.top_beats}"
    table.add_row("memory port", f"{design.port_bytes} B per beat; {beats}")
    if "simulation" in answer:
        run = answer["simulation"]
        same = "equal to numpy" if run["results_equal_numpy"] else "[bold red]NOT equal to numpy[/]"
        table.add_row("simulated", f"m={run['m']} k={run['k']} n={run['n']}: {run['cycles']:,} cycles, {same}")
        table.add_row("model", f"{run['model_cycles']:,} cycles; {run['macs_per_cycle']:.2f} multiply-adds per cycle")
    if answer["area_model"] is not None:
        said = answer["area_model"]
        counts = f"{said['lut']:,} LUT, {said['ff']:,} FF, {said['dsp']} DSP, {said['bram']} BRAM"
        table.add_row("area model", f"{counts}, {scaled(said['clock_hz'], 'Hz')} on ecp5-85k (fitted)")
    for label, said in _network_rows(answer):
        table.add_row(label, said)
    if "place_and_route" in answer:
        placed = answer["place_and_route"]
        table.add_row("area", f"{placed['lut']:,} LUT, {placed['ff']:,} FF, {placed['dsp']} DSP, {placed['bram']} BRAM")
        table.add_row("clock", f"[bold]{scaled(placed['fmax_hz'], 'Hz')}[/] on {placed['chip']} ({placed['tools']})")
    for name in answer.get("files", ()):
        table.add_row("wrote", name)
    out.print(table)


def _network_rows(answer: dict[str, Any]) -> Iterator[tuple[str, str]]:
    from aisys.report.quantity import scaled

    if "network" not in answer:
        return
    run = answer["network"]
    same = "equal to numpy, bit for bit" if run["are_logits_equal"] else "[bold red]NOT equal to numpy[/]"
    per_layer = ", ".join(f"{cycles:,}" for cycles in run["layer_cycles"])
    rate = f"{run['images_per_s']:,.0f} images/s at {scaled(run['clock_hz'], 'Hz')}"
    origin = "placed" if "place_and_route" in answer else "assumed"
    yield run["network"], f"{run['num_images']} images, {run['accuracy']:.1%} right; logits {same}"
    yield "cycles", f"{run['cycles']:,} ({per_layer} by layer); the model says {run['model_cycles']:,}"
    yield "speed", f"[bold]{rate}[/] ({origin} clock; the host that lays out patches is not counted)"
    yield "energy", f"{scaled(run['energy_joule_per_image'], 'J')} per image (assumed energies)"


def _say_missed(placed: "PlacedDesign | None") -> None:
    """Raises DoesNotFit, the answer no, where the array is slower than asked for."""
    from aisys.errors import DoesNotFit

    if placed is not None and not placed.is_met:
        reached, goal = placed.fmax_hz / 1e6, placed.goal_hz / 1e6
        raise DoesNotFit(
            f"{placed.design} reaches {reached:.1f} MHz on {placed.chip} and should reach {goal:g} MHz; "
            f"ask for --clock {int(reached)}, add --pipelined, or take a smaller array"
        )
