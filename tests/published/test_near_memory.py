"""UPMEM banks as Gomez-Luna et al. 2022 (PrIM, IEEE Access) measured them, and real logs of PrIM kernels."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import aisys
from aisys.cost import CostTable, cost
from aisys.ir import OpTable
from aisys.kernel import bfs
from aisys.kernel.csr import kronecker
from aisys.machine import Device, PimBank
from aisys.units import Sourced
from aisys.validate import read_table, run

TABLES = os.environ.get("AISYS_TABLES")


def bank_of(num_threads: int) -> Device:
    """One DPU of the 2,556 at work, with so many threads."""
    device = aisys.device("upmem")
    bank = device.architecture
    assert isinstance(bank, PimBank)
    counts = {
        name: Sourced(value, source="the test", kind="assumed")
        for name, value in (("num_banks", 1), ("num_threads", num_threads))
    }
    return replace(device, architecture=replace(bank, **counts))


def additions(count: int, dtype: str, *, num_bytes: int, num_threads: int = 16) -> CostTable:
    table = OpTable.of(
        "stream", read_bytes=num_bytes, write_bytes=0, flop=count, rows=1, cols=count, function="add", dtype=dtype
    )
    return cost(table, bank_of(num_threads))


@pytest.mark.parametrize(("dtype", "published"), [("int32", 58.56e6), ("int64", 50.16e6), ("fp32", 4.91e6)])
def test_arithmetic_throughput_of_one_bank_is_the_published_one(dtype: str, published: float) -> None:
    """Operations on data in the scratchpad, figure 4; slots are whole or half instructions, hence 1 %."""
    count = 10**7
    assert count / additions(count, dtype, num_bytes=8).time_s[0] == pytest.approx(published, rel=0.01)


def test_throughput_grows_with_threads_until_eleven_fill_the_pipeline() -> None:
    times = [additions(10**6, "int32", num_bytes=8, num_threads=threads).time_s[0] for threads in range(1, 25)]
    speedup = times[0] / np.array(times)
    assert speedup[:11] == pytest.approx(np.arange(1, 12), rel=1e-4)
    assert speedup[11:] == pytest.approx(11, rel=1e-4)


def test_streams_from_bank_memory_reach_the_published_bandwidth() -> None:
    """628 MB/s with blocks of 2 KiB, figure 6; the double buffers of 16 threads hold 2 KiB each. Within 5 %."""
    table = OpTable.of(
        "stream", read_bytes=2**26, write_bytes=0, flop=0, rows=1, cols=2**23, function="copy", dtype="int64"
    )
    assert 2**26 / cost(table, bank_of(16)).time_s[0] == pytest.approx(628e6, rel=0.05)


@pytest.mark.skipif(not TABLES, reason="set AISYS_TABLES to the folder that holds measured/ to compare")
def test_fitted_kernels_give_their_own_rows_back() -> None:
    """Seven kernels, one row and one number each: this tests the fit's arithmetic and no prediction."""
    found = run(Path(TABLES or "", "measured", "upmem_prim.csv"))
    assert found.errors is not None
    assert found.errors.rows == 7
    assert found.errors.mape < 0.001


def product(device: Device, *, m: int, n: int, k: int, is_weight: bool = True, batch: int = 1) -> CostTable:
    table = OpTable.of(
        "matmul", batch=batch, m=m, n=n, k=k, b_is_weight=is_weight, a_dtype="int8", b_dtype="int8",
        out_dtype="int32", math="int8",
    )  # fmt: skip
    return cost(table, device)


def test_a_matrix_vector_product_is_its_busiest_bank_and_the_host() -> None:
    """5,000 columns on 2,556 banks: two in the busiest; weights, the vector and results pass its transfers."""
    device = aisys.device("upmem")
    bank = device.architecture
    assert isinstance(bank, PimBank)
    found = product(device, m=1, n=5000, k=4096)
    slots, moved = 2 * 4096 * 4.5, 2 * 4096 + 4096 + 2 * 4
    host = 2500 * 4096 + 4 * 5000
    assert found.counts["dma_cycles"][0] == pytest.approx(moved * (77 / 1024 + 1 / 2))
    assert found.counts["slots"][0] == 4096 * 5000 * 4.5
    assert found.traffic_bytes["host"][0] == host
    assert found.traffic_bytes["mram"][0] == 2500 * moved
    assert found.time_s[0] == pytest.approx(slots / 350e6 + host / bank.host_bytes_per_s)
    assert found.bound.tolist() == ["host"]
    energy = (
        found.counts["slots"][0] * bank.energy_joule_per_cycle
        + found.traffic_bytes["mram"][0] * device.main_memory.energy_joule_per_byte
        + found.time_s[0] * device.idle_watt
    )
    assert found.energy_joule[0] == pytest.approx(energy)


def test_weights_pass_once_for_all_rows_that_fit_half_a_scratchpad() -> None:
    """Rows of 4,096 bytes: eight fit 32 KiB, so 16 rows take two passes; a row of 40,000 bytes is read per column."""
    device = aisys.device("upmem")
    found = [product(device, m=m, n=2556, k=4096).traffic_bytes["mram"][0] / 2556 for m in (8, 16)]
    assert found == [4096 + 8 * 4096 + 8 * 4, 2 * 4096 + 16 * 4096 + 16 * 4]
    long = product(device, m=3, n=5112, k=40_000).traffic_bytes["mram"][0] / 2556
    assert long == 2 * 40_000 * 3 + 2 * 3 * 40_000 + 2 * 3 * 4


def test_operands_that_are_no_weights_pass_the_host_too() -> None:
    device = aisys.device("upmem")
    weights, activations = (product(device, m=1, n=64, k=64, is_weight=w, batch=4) for w in (True, False))
    assert activations.traffic_bytes["host"][0] - weights.traffic_bytes["host"][0] == 4 * 64 * 64
    assert weights.traffic_bytes["host"][0] == 4 * 64 * 64 + 4 * 4 * 64


def test_a_product_of_two_rows_of_wide_integers_counts_every_byte() -> None:
    """4-byte operands, two rows, 5,112 columns: two columns on each of 2,556 banks."""
    device = aisys.device("upmem")
    table = OpTable.of(
        "matmul", batch=1, m=2, n=5112, k=512, b_is_weight=False, a_dtype="int32", b_dtype="int32", out_dtype="int32",
        math="int32",
    )  # fmt: skip
    found = cost(table, device)
    assert found.traffic_bytes["mram"][0] == 2556 * 4 * (2 * 512 + 2 * 512 + 2 * 2)
    assert found.traffic_bytes["host"][0] == 4 * (2556 * 2 * 512 + 512 * 5112 + 2 * 5112)
    assert found.counts["slots"][0] == 2 * 5112 * 512 * 36


def test_a_stream_is_shared_by_all_banks_and_the_fullest_one_decides() -> None:
    """10,000,001 sums of two: 3,913 on the fullest of 2,556 banks, each 6 slots, 8 bytes read and 4 written."""
    device = aisys.device("upmem")
    bank = device.architecture
    assert isinstance(bank, PimBank)
    count = 10_000_001
    table = OpTable.of(
        "stream", read_bytes=8 * count, write_bytes=4 * count, flop=count, rows=1, cols=count, function="add",
        dtype="int32",
    )  # fmt: skip
    found = cost(table, device)
    dma = 3913 * 12 * (77 / 1024 + 1 / 2)
    assert found.counts["dma_cycles"][0] == pytest.approx(dma)
    assert found.time_s[0] == pytest.approx(dma / 350e6)
    assert found.traffic_bytes["mram"][0] == 12 * count
    few = additions(count, "fp32", num_bytes=8)
    assert few.time_s[0] == pytest.approx(count * 71 / 350e6)
    energy = 6 * count * bank.energy_joule_per_cycle + 12 * count * device.main_memory.energy_joule_per_byte
    assert found.energy_joule[0] == pytest.approx(energy + found.time_s[0] * device.idle_watt)
    slow = replace(table, columns={**table.columns, "dtype": np.array(["fp32"])})
    assert cost(slow, device).time_s[0] == pytest.approx(3913 * 71 / 350e6)


@pytest.mark.slow
@pytest.mark.skipif(not TABLES, reason="set AISYS_TABLES to the folder that holds measured/ to compare")
def test_a_search_on_one_core_is_within_a_factor_of_two_of_two_programs() -> None:
    """No constant is fitted. The graphs follow the same specification; sources differ. Measured: 0.49 to 0.77."""
    table = read_table(Path(TABLES or "", "measured", "graph_kernels_one_core.csv"))
    rows = zip(table.texts("graph"), table.texts("tool"), table.texts("kernel"), table.numbers("cpu_ms"), strict=True)
    times = {tool: ms for graph, tool, kernel, ms in rows if graph == "k18" and kernel.startswith("bfs")}
    graph = kronecker(18)
    sources = np.random.default_rng(18).choice(np.flatnonzero(np.diff(graph.offsets)), 8)
    records = [bfs.record(graph, bfs.run(graph, int(source))) for source in sources]
    found = 1e3 * cost(OpTable.of("traversal", record=records), aisys.device("xeon-core")).time_s.mean()
    assert 0.5 < found / times["gapbs"] < 2
    assert 0.5 < found / (times["numba"] / 8) < 2
