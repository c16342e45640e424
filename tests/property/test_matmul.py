"""Matrix multiplications on a GPU obey the laws that hold for every shape, and the price is the formula in words."""

from dataclasses import replace
from math import ceil, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisys.cost import cost
from aisys.cost.gpu import matmul
from aisys.cost.gpu.stack import with_constants
from aisys.errors import Unsupported
from aisys.frozen import FrozenMap
from aisys.ir import OpTable, dtype
from aisys.machine import Device, Gpu, load
from aisys.units import Sourced
from aisys.validate.gemm import operands

DEVICES = ("v100-sxm2-32gb", "a100-80-sxm", "h100-sxm", "h200", "b200", "gb200", "l40s", "rtx-4090", "mi210")
FORMATS = ("fp16", "fp32", "fp8", "fp8_block", "nvfp4", "int8_w8a8", "int8_wo", "int4_wo")
extent = st.integers(1, 20000)
rows = st.lists(st.tuples(extent, extent, extent), min_size=1, max_size=6)


def table(name: str, shapes: list[tuple[int, int, int]], batch: int = 1) -> OpTable:
    m, n, k = (list(column) for column in zip(*shapes, strict=True))
    formats = {column: str(value[0]) for column, value in operands(np.array([name])).items()}
    return OpTable.of("matmul", batch=batch, m=m, n=n, k=k, b_is_weight=True, **formats)


def priced(name: str, shapes: list[tuple[int, int, int]], device: Device) -> np.ndarray:
    try:
        return cost(table(name, shapes), device).time_s
    except Unsupported:
        pytest.skip(f"{device.name} has no arithmetic for {name}")


def faster_memory(device: Device) -> Device:
    memory = device.main_memory
    wider = Sourced(memory.bandwidth_bytes_per_s * 2, source="test", kind="assumed", key="x")
    changed = replace(memory, bandwidth_bytes_per_s=wider)
    return replace(device, memories=FrozenMap({**device.memories, memory.name: changed}))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=5)
@given(shapes=rows)
def test_no_tier_is_below_the_data_sheet_and_the_interval_holds_the_price(
    name: str, device: str, shapes: list[tuple[int, int, int]]
) -> None:
    gpu = load.device(device)
    least = priced(name, shapes, gpu) * 0 + cost(table(name, shapes), gpu, tier="limit").time_s
    for tier in ("analytic", "calibrated"):
        found = cost(table(name, shapes), gpu, tier=tier)
        assert (found.time_s >= least).all()
        assert (found.error_low < 1).all()
        assert (found.error_high > 1).all()
        assert (found.energy_joule <= found.time_s * float(gpu.max_watt) * (1 + 1e-12)).all()


@settings(max_examples=30)
@given(shapes=rows, device=st.sampled_from(DEVICES))
def test_more_bandwidth_and_fewer_rows_are_never_slower(shapes: list[tuple[int, int, int]], device: str) -> None:
    gpu = load.device(device)
    assert (priced("fp16", shapes, faster_memory(gpu)) <= priced("fp16", shapes, gpu) * (1 + 1e-9)).all()
    doubled = [(2 * m, n, k) for m, n, k in shapes]
    assert (priced("fp16", doubled, gpu) >= priced("fp16", shapes, gpu) * 0.999).all()


@given(shapes=rows)
def test_a_row_costs_the_same_whatever_its_neighbours(shapes: list[tuple[int, int, int]]) -> None:
    gpu = load.device("h100-sxm")
    alone = np.concatenate([priced("fp8", [shape], gpu) for shape in shapes])
    many = priced("fp8", shapes * 50, gpu)
    assert many.tolist() == alone.tolist() * 50


def test_a_table_of_mixed_formats_is_its_parts() -> None:
    gpu = load.device("h100-sxm")
    parts = [table(name, [(33, 4096, 1024)]) for name in ("fp16", "fp8", "int8_wo", "int4_wo")]
    together = cost(OpTable.join(parts), gpu).time_s
    assert together.tolist() == [float(cost(part, gpu).time_s[0]) for part in parts]


def test_intervals_widen_with_the_distance_from_the_fitted_device() -> None:
    powers = [matmul.widening(load.device(name)) for name in ("h100-sxm", "h200", "h100-pcie")]
    assert powers[0] == pytest.approx(1, abs=1e-3), "the catalogue keeps four digits"
    assert 1 < powers[1] < powers[2] <= 4
    ours, theirs = (cost(table("fp16", [(1, 8192, 8192)]), load.device(name)) for name in ("h100-sxm", "h200"))
    assert theirs.error_high[0] == pytest.approx(ours.error_high[0] ** powers[1], rel=1e-3)


def worked(m: int, n: int, k: int, name: str, device: Device) -> float:
    """The price of one matmul, written as it would be on paper."""
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    column = {field: str(value[0]) for field, value in operands(np.array([name])).items()}
    kind = matmul.variant(column["a_dtype"], column["b_dtype"], column["math"])
    c = {field: float(gpu.constant(f"matmul.{kind}.{field}", f"matmul.{field}")) for field in matmul.FIELDS}
    a, b, out = (dtype(column[f"{x}_dtype"]).bytes_per_element for x in ("a", "b", "out"))
    peak = float(gpu.flop_per_s["fp8" if column["math"] == "fp8_block" else column["math"]]) / float(gpu.num_sm)
    clock, port = float(gpu.clock_hz), c["l2_bytes_per_clock_per_sm"] * float(gpu.clock_hz)
    bandwidth = float(device.main_memory.bandwidth_bytes_per_s) * float(gpu.constants.get("memory_share", 1.0))
    moved = m * k * a + n * k * b + m * n * out
    memory = moved / (bandwidth * c["memory_efficiency"])
    is_walk = c["is_column_walk"] == 1
    menu = [((ceil(m / 16) * 16, 64), s) for s in (1, 2, 3, 4)] if is_walk else [
        (tile, s) for tile in matmul.TILES for s in matmul.SPLITS
    ]  # fmt: skip
    found = []
    for (tile_m, tile_n), split in menu:
        if split > 1 and (k < 128 * split or (is_walk and m > 64)):
            continue
        waves = ceil(m / tile_m) * ceil(n / tile_n) * split / float(gpu.num_sm)
        soft = c["wave_softness"]
        rounds = max(1.0, (1 - soft) * ceil(waves) + soft * waves)
        depth = ceil(k / (32 * split)) * 32
        multiply = tile_n * (2 * tile_m / (peak * c["compute_efficiency"]) + c["dequantise_clocks"] / clock)
        feed = (tile_m * a + tile_n * b * c["b_share"]) / port
        loop = depth * max(max(multiply, feed) * rounds, c["k_latency_s"])
        ends = c["tile_s"] + tile_m * tile_n * out / (c["epilogue_bytes_per_clock"] * clock)
        gather = split * m * n * 8 / (port * float(gpu.num_sm)) + c["split_s"] if split > 1 else 0.0
        compute = loop + ends * rounds
        found.append((overlapped(compute, memory, c["overlap_loss"]) + gather, compute, gather))
    total, compute, gather = min(found)
    watt = 0.8 * float(device.max_watt) - float(device.main_memory.energy_joule_per_byte) * moved / total
    rate = 2 * m * n * k / (total + c["launch_s"])
    clock_share = min(1.0, (max(watt, 0.2 * float(device.max_watt)) / (c["joule_per_flop"] * rate)) ** 0.4)
    pads = 0.0 if m % 4 == 0 else 1.0
    touched = m * k * c["quantise_bytes"] + (m * k + m * n) * c["pad_bytes"] * pads
    near = min(1.0, 0.1 * float(gpu.l2_bytes) / (m * k + m * n * pads))
    around = touched * (near / (port * float(gpu.num_sm)) + (1 - near) / (bandwidth * c["memory_efficiency"]))
    busy = overlapped(compute / clock_share, memory, c["overlap_loss"]) + gather
    return busy + c["launch_s"] + around + c["pad_s"] * pads


def overlapped(compute: float, memory: float, loss: float) -> float:
    return (compute + memory + sqrt((compute - memory) ** 2 + 4 * loss**2 * compute * memory)) / 2


@pytest.mark.parametrize("device", ["a100-80-sxm", "h200", "b200", "l40s"])
@pytest.mark.parametrize("name", ["fp16", "fp8_block", "int8_wo", "int8_w8a8"])
@pytest.mark.parametrize("shape", [(1, 7168, 2048), (37, 128, 65536), (515, 1536, 4096), (8192, 12288, 16384)])
def test_the_price_is_the_formula_on_paper(device: str, name: str, shape: tuple[int, int, int]) -> None:
    gpu = load.device(device)
    ours = float(priced(name, [shape], gpu)[0])
    least = float(cost(table(name, [shape]), gpu, tier="limit").time_s[0])
    assert ours == pytest.approx(max(worked(*shape, name, gpu), least), rel=1e-9)


def test_a_batch_multiplies_blocks_and_bytes() -> None:
    gpu = load.device("a100-80-sxm")
    one, many = (cost(table("fp16", [(512, 512, 512)], batch=b), gpu) for b in (1, 64))
    assert many.traffic_bytes["hbm"][0] == 64 * one.traffic_bytes["hbm"][0]
    assert many.counts["waves"][0] * float(gpu.architecture.num_sm) % 64 == pytest.approx(0, abs=1e-6)
    assert one.time_s[0] < many.time_s[0] < 64 * one.time_s[0]


def test_memory_that_corrects_its_own_errors_is_slower() -> None:
    gpu = load.device("a40")
    slower = with_constants(gpu, {"memory_share": Sourced(0.5, source="test", kind="assumed", key="x")})
    shape = [(1, 16384, 16384)]
    launch = float(gpu.architecture.constants["matmul.bf16.launch_s"])
    assert priced("fp16", shape, slower)[0] - launch == pytest.approx(
        2 * (priced("fp16", shape, gpu)[0] - launch), rel=0.05
    )
