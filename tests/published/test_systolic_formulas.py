"""Systolic arrays by the closed forms of SCALE-Sim, worked by hand, and the memory and energy that follow."""

from dataclasses import replace

import numpy as np
import pytest

import aisys
from aisys.cost import CostTable, Tier, cost
from aisys.errors import UnknownName, Unsupported
from aisys.ir import OpTable
from aisys.machine import Device, SystolicArray
from aisys.units import Sourced


def grid(dataflow: str, *, num_arrays: int = 1, buffer_bytes: float = 1e9) -> Device:
    device = aisys.device("systolic-32x32")
    array = device.architecture
    assert isinstance(array, SystolicArray)
    buffer, main = device.memories.values()
    buffer = replace(buffer, capacity_bytes=number(buffer_bytes))
    architecture = replace(array, dataflow=dataflow, num_arrays=number(num_arrays))
    return replace(device, architecture=architecture, memories={buffer.name: buffer, main.name: main})


def number(value: float) -> Sourced:
    return Sourced(value, source="the test", kind="assumed")


def matmul(m: int, n: int, k: int, device: Device, *, batch: int = 1, tier: Tier = "analytic") -> CostTable:
    table = OpTable.of(
        "matmul", batch=batch, m=m, n=n, k=k, b_is_weight=True, a_dtype="int8", b_dtype="int8", out_dtype="int32",
        math="int8",
    )  # fmt: skip
    return cost(table, device, tier=tier)


@pytest.mark.parametrize(
    ("dataflow", "cycles", "ifmap", "filter_", "ofmap"),
    [
        ("os", 2 * 3 * (70 + 32 + 32 - 2), 40 * 70 * 3, 70 * 90 * 2, 40 * 90),
        ("ws", 3 * 3 * (40 + 64 + 32 - 2), 40 * 70 * 3, 70 * 90, 40 * 90 * 3),
        ("is", 3 * 2 * (90 + 64 + 32 - 2), 40 * 70, 70 * 90 * 2, 40 * 90 * 3),
    ],
)
def test_cycles_and_accesses_of_a_product_of_40_by_90_by_70(
    dataflow: str, cycles: int, ifmap: int, filter_: int, ofmap: int
) -> None:
    counts = matmul(40, 90, 70, grid(dataflow)).counts
    found = [counts[name][0] for name in ("cycles", "ifmap_reads", "filter_reads", "ofmap_writes")]
    assert found == [cycles, ifmap, filter_, ofmap]
    used = {"os": 40 * 90 / (64 * 96), "ws": 70 * 90 / (96 * 96), "is": 70 * 40 / (96 * 64)}[dataflow]
    assert counts["mapping_efficiency"][0] == pytest.approx(used)


def test_arrays_share_the_folds_of_all_batches() -> None:
    alone, four = (matmul(40, 64, 64, grid("ws", num_arrays=n), batch=3) for n in (1, 4))
    assert alone.counts["cycles"][0] == 12 * (40 + 94)
    assert four.counts["cycles"][0] == 3 * (40 + 94)
    assert matmul(40, 64, 64, grid("ws", num_arrays=5), batch=3).counts["cycles"][0] == 3 * (40 + 94)


def test_operands_that_fit_the_buffer_move_once_and_others_as_often_as_the_grid_asks() -> None:
    """In ws, 3 column folds read the input again and 3 row folds write and read back 4-byte partial sums."""
    once = 40 * 70 + 70 * 90 + 4 * 40 * 90
    assert matmul(40, 90, 70, grid("ws")).traffic_bytes["dram"][0] == once
    for dataflow, kept in (("ws", 40 * 32), ("is", 90 * 32)):
        fits, spills = (
            matmul(40, 90, 16, grid(dataflow, buffer_bytes=3 * 4 * kept - less)).traffic_bytes["dram"][0]
            for less in (0, 3)
        )
        assert fits == spills == 40 * 16 + 16 * 90 + 4 * 40 * 90
        fits, spills = (
            matmul(40, 90, 33, grid(dataflow, buffer_bytes=3 * 4 * kept - less)).traffic_bytes["dram"][0]
            for less in (0, 3)
        )
        assert spills - fits == 4 * 2 * 40 * 90
    nothing_fits = 3 * 40 * 70 + 70 * 90 + 4 * (2 * 3 - 1) * 40 * 90
    assert matmul(40, 90, 70, grid("ws", buffer_bytes=300)).traffic_bytes["dram"][0] == nothing_fits
    assert matmul(40, 90, 70, grid("ws", buffer_bytes=300)).traffic_bytes["sram"][0] == nothing_fits


def test_energy_is_that_of_products_accesses_and_idling() -> None:
    device = grid("ws")
    found = matmul(40, 90, 70, device)
    sram, dram = device.memories.values()
    expected = (
        40 * 90 * 70 * device.architecture.energy_joule_per_mac
        + found.traffic_bytes["sram"][0] * sram.energy_joule_per_byte
        + found.traffic_bytes["dram"][0] * dram.energy_joule_per_byte
        + found.time_s[0] * device.idle_watt
    )
    assert found.energy_joule[0] == pytest.approx(expected, rel=1e-12)


def test_the_slower_of_grid_and_memory_binds() -> None:
    device = grid("os")
    few, many = (matmul(m, 4096, 4096, device) for m in (1, 4096))
    assert few.bound.tolist() == ["memory"]
    assert few.time_s[0] == few.traffic_bytes["dram"][0] / device.main_memory.bandwidth_bytes_per_s
    assert many.bound.tolist() == ["compute"]
    assert many.time_s[0] == many.counts["cycles"][0] / device.architecture.clock_hz


def test_the_limit_is_every_unit_busy_and_every_byte_moved_once() -> None:
    device = grid("os")
    found = matmul(4096, 4096, 4096, device, tier="limit")
    sram, dram = device.memories.values()
    once = (1 + 1 + 4) * 4096**2
    assert found.time_s[0] == 4096**3 / 1024 / 1e9
    assert found.traffic_bytes == {"sram": once, "dram": once}
    expected = (
        4096**3 * device.architecture.energy_joule_per_mac
        + once * (sram.energy_joule_per_byte + dram.energy_joule_per_byte)
        + found.time_s[0] * device.idle_watt
    )
    assert found.energy_joule[0] == pytest.approx(expected, rel=1e-12)


def test_experts_share_rows_and_heads_are_products_of_their_own() -> None:
    device = grid("ws")
    experts = OpTable.of(
        "grouped_matmul", groups=[8, 8], m=[64, 4], n=64, k=64, a_dtype="int8", b_dtype="int8", out_dtype="int8",
        math="int8",
    )  # fmt: skip
    assert cost(experts, device).counts["cycles"].tolist() == [8 * 4 * (8 + 94), 4 * 4 * (1 + 94)]
    heads = OpTable.of(
        "attention", batch=2, q_len=16, kv_len=128, q_heads=4, kv_heads=2, head_dim=64, value_dim=32, window=0,
        is_causal=False, is_backward=[False], page_size=0, q_dtype="int8", kv_dtype="int8", math="int8",
    )  # fmt: skip
    found = cost(heads, device)
    assert found.counts["cycles"][0] == 8 * (2 * 4 + 4 * 1) * (16 + 94)
    keys_and_values = 2 * 2 * 128 * (64 + 32)
    assert found.traffic_bytes["dram"][0] == 8 * 16 * 64 + keys_and_values + 8 * 16 * 32
    spilled = cost(heads, grid("ws", buffer_bytes=30)).traffic_bytes["dram"][0]
    assert spilled == 4 * 8 * 16 * 64 + keys_and_values + (2 * 4 - 1) * 8 * 16 * 32


def test_a_stream_takes_its_bytes_at_the_bandwidth_of_memory() -> None:
    device = grid("ws")
    table = OpTable.of(
        "stream", read_bytes=[1e6], write_bytes=[5e5], flop=0, rows=1, cols=1, function="copy", dtype="int8"
    )
    found = cost(table, device)
    assert found.time_s[0] == 1.5e6 / device.main_memory.bandwidth_bytes_per_s
    assert np.isnan(found.error_low[0])


def test_what_has_no_mapping_is_refused() -> None:
    with pytest.raises(UnknownName, match="unknown dataflow 'rs'; nearest known: "):
        matmul(4, 4, 4, grid("rs"))
    backward = OpTable.of(
        "attention", batch=1, q_len=4, kv_len=4, q_heads=1, kv_heads=1, head_dim=4, value_dim=4, window=0,
        is_causal=False, is_backward=True, page_size=0, q_dtype="int8", kv_dtype="int8", math="int8",
    )  # fmt: skip
    with pytest.raises(Unsupported, match="backward of fused attention"):
        cost(backward, grid("ws"))
