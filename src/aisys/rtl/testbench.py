"""A Verilog testbench that checks itself: operands, expected results and expected cycles in files beside it."""

from pathlib import Path
from string import Template

import numpy as np
from numpy.typing import NDArray

from aisys.cost.generated_array.cycles import cycles
from aisys.cost.generated_array.design import ArrayDesign, MemoryPort
from aisys.rtl.image import Bytes, Image, image
from aisys.rtl.requantization import Requantization, scale_to_fixed_point
from aisys.rtl.verilog import module_name

TEMPLATE = Path(__file__).parent / "template" / "testbench.txt"
FILES = ("operands.hex", "expected.hex", "mask.hex", "jobs.hex")
ADDRESSES = {"left_base": 0, "top_base": 0, "parameter_base": 0}


def example(
    design: ArrayDesign, shape: tuple[int, int, int], seed: int = 0
) -> tuple[NDArray[np.int8], NDArray[np.int8], Requantization]:
    """Random operands a [m, k], b [k, n] that `design` takes, and a requantization that uses the range of int8."""
    m, k, n = shape
    random = np.random.default_rng(seed)
    a, b = (random.integers(-128, 128, extents).astype(np.int8) for extents in ((m, k), (k, n)))
    if design.sparsity is not None:
        b = pruned(b, *design.sparsity)
    multiplier, shift = scale_to_fixed_point(1 / (80 * np.sqrt(k) + 1))
    spread = random.integers(multiplier // 2, multiplier + 1, n)
    given = Requantization(
        bias=random.integers(-2000, 2001, n), multiplier=spread, shift=np.full(n, shift), is_relu=bool(seed % 2)
    )
    return a, b, given


def pruned(weights: NDArray[np.int8], kept: int, group: int) -> NDArray[np.int8]:
    """`weights` [k, n] with all but the `kept` largest of every `group` along k set to zero."""
    k, n = weights.shape
    padded = np.pad(weights, ((0, -k % group), (0, 0))).reshape(-1, group, n)
    order = np.argsort(-np.abs(padded.astype(np.int16)), axis=1, kind="stable")
    np.put_along_axis(padded, order[:, kept:], 0, axis=1)
    return padded.reshape(-1, n)[:k]


def write(design: ArrayDesign, folder: Path, shape: tuple[int, int, int], port: MemoryPort) -> None:
    """testbench.v and its data for one product of `shape` (m, k, n): once to int32 and once to int8 with ReLU."""
    a, b, given = example(design, shape, seed=1)
    sums = (a.astype(np.int64) @ b.astype(np.int64)).astype(np.int32)
    runs = ((None, sums), (given, given.apply(sums)))
    operands, expected, mask, jobs = list[Bytes](), list[Bytes](), list[Bytes](), list[int]()
    for requantization, values in runs:
        job = image(design, a, b, requantization)
        read_at, write_at = sum(map(len, operands)), sum(map(len, expected))
        moved = {name: job.fields[name] + read_at for name in ADDRESSES}
        jobs += [*{**job.fields, **moved, "out_base": write_at}.values()]
        jobs.append(cycles(design, *shape, port=port, is_raw=requantization is None))
        operands.append(job.beats)
        for beats, cells in ((expected, values), (mask, np.full_like(values, -1))):
            beats.append(_as_written(design, cells, job, is_raw=requantization is None))
    for name, parts in (("operands", operands), ("expected", expected), ("mask", mask)):
        _write_beats(folder / f"{name}.hex", np.concatenate(parts))
    (folder / "jobs.hex").write_text("".join(f"{value:x}\n" for value in jobs), encoding="ascii")
    fields = list(job.fields)
    text = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        module=module_name(design), num_jobs=len(runs), num_fields=len(fields), beat_bits=8 * design.port_bytes,
        latency_cycles=port.latency_cycles, cycles_per_beat=port.cycles_per_beat,
        last_operand=sum(map(len, operands)) - 1, last_result=sum(map(len, expected)) - 1,
        declare_fields="".join(f"  reg [{_highest_bit(x)}:0] {x} = 0;\n" for x in fields),
        load_fields="".join(f"      {x} = jobs[job*(FIELDS+1)+{i}];\n" for i, x in enumerate(fields)),
        connect_fields="".join(f"      .{x}({x}),\n" for x in fields),
    )  # fmt: skip
    (folder / "testbench.v").write_text(text, encoding="utf-8")


def _highest_bit(field: str) -> int:
    """Of a field of the job."""
    from aisys.rtl.circuit.job import JOB

    return int(JOB[field].width) - 1


def _as_written(
    design: ArrayDesign, values: NDArray[np.int32] | NDArray[np.int8], job: Image, *, is_raw: bool
) -> Bytes:
    """`values` [m, n] as beats in the order in which the writer sends them; bytes of no channel are zero."""
    m, n = values.shape
    num_n, per_row = -(-n // design.cols), job.num_out_beats // m // -(-n // design.cols)
    width = np.dtype(np.int32 if is_raw else np.int8)
    padded = np.zeros((m, num_n * design.cols), width)
    padded[:, :n] = values
    rows = np.zeros((job.num_out_beats // per_row, per_row * design.port_bytes), np.uint8)
    at = 0
    for first in range(0, m, design.out_slot_rows):
        block = padded[first : first + design.out_slot_rows].reshape(-1, num_n, design.cols).transpose(1, 0, 2)
        flat = np.ascontiguousarray(block).reshape(-1, design.cols).view(np.uint8)
        rows[at : at + len(flat), : flat.shape[1]] = flat
        at += len(flat)
    return rows.reshape(-1, design.port_bytes)


def _write_beats(path: Path, beats: Bytes) -> None:
    path.write_text("".join(beat[::-1].tobytes().hex() + "\n" for beat in beats), encoding="ascii")
