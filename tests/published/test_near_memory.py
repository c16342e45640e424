"""UPMEM banks as Gomez-Luna et al. 2022 (PrIM, IEEE Access) measured them, and real logs of PrIM kernels."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import aisys
from aisys.cost import CostTable, cost
from aisys.ir import OpTable
from aisys.machine import Device, PimBank
from aisys.units import Sourced
from aisys.validate import run

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
