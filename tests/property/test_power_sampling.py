"""What a sampler shows of a run, worked by hand, and the order in which runs were collected."""

from dataclasses import replace

import numpy as np
import pytest

from aisys.frozen import FrozenMap
from aisys.machine import Device, device
from aisys.units import Sourced
from aisys.validate import power_sampling
from aisys.validate.compiled_kernels import compiles, layouts
from aisys.validate.power_sampling import Cases, Collection, History

VLLM = Collection(("bf16", "fp8_block"), is_by_weight=False, num_boards=1, num_copies=6, is_compiled=True)
TRTLLM = Collection(("bf16", "fp8"), is_by_weight=True, num_boards=8, num_copies=0, is_compiled=False)


def board(setup_s: float, setup_watt: float = 100.0, **more: float) -> Device:
    """An H200 whose set-up takes `setup_s` at `setup_watt`."""
    values = {"setup_s": setup_s, "setup_watt": setup_watt, **more}
    found = {f"energy.sampling.{k}": Sourced(v, source="a test", kind="assumed", key=k) for k, v in values.items()}
    gpu = device("h200")
    return replace(gpu, architecture=replace(gpu.architecture, constants=FrozenMap(found)))


def past(num_runs: int, num_boards: int = 1, **compiled: bool) -> History:
    """One op, and the runs before it, the latest first; all of them the same small matmul."""
    first = np.array([compiled.get("compiled", False)] + [False] * (num_runs - 1))
    made = Cases(np.array(["bf16"] * num_runs), np.full((num_runs, 3), 128), first)
    order = np.arange(num_runs)
    return History(replace(VLLM, num_boards=num_boards), made, order, order[None], np.array([True]))


def shown(history: History, gpu: Device, time_s: float, *watt: float) -> float:
    """The one reading, where every kernel takes `time_s` and has the power given, the op first."""
    times = np.full(len(watt), time_s)
    return float(power_sampling.reading(history, gpu, times, np.array(watt))[0])


def test_a_run_of_a_second_after_a_run_reads_as_worked_by_hand() -> None:
    # readings at 0, 0.1 .. 1 s: of the second before each, t is this run, up to 0.5 set-up, and what is left the run
    # before: 500 W x 0.5 + 100 W x 4.0 / 11 + 300 W x 1.5 / 11
    assert shown(past(2), board(0.5), 1e-3, 500.0, 300.0) == pytest.approx(250 + 400 / 11 + 450 / 11)


def test_a_short_run_is_read_once_or_twice_and_mostly_shows_what_was_before() -> None:
    # 3,000 repeats of 6 copies of 5 us are 0.09 s: one reading, at its start
    assert shown(past(2), board(0.9), 5e-6, 500.0, 300.0) == pytest.approx(0.9 * 100 + 0.09 * 300 + 0.01 * 100)
    # 3,000 repeats of 6 copies of 16 us are 0.288 s: three readings, at 0, 0.1 and 0.2 s
    assert shown(past(1), board(9.0), 16e-6, 500.0) == pytest.approx(100 + 400 * (0.0 + 0.1 + 0.2) / 3)


def test_of_a_shared_list_every_second_run_counts_for_half() -> None:
    alone, shared = past(2), past(3, num_boards=2)
    expected = shown(alone, board(0.5), 1e-3, 500.0, 300.0)
    assert shown(shared, board(0.5), 1e-3, 500.0, 9999.0, 300.0) == pytest.approx(expected)


def test_a_compiled_kernel_starts_on_an_idle_board() -> None:
    assert shown(past(2, compiled=True), board(0.0), 1e-3, 500.0, 300.0) == pytest.approx((500 + 100) / 2)


def test_writing_weights_takes_time_by_their_elements_and_copies() -> None:
    slow = board(0.0, **{"bf16.s_per_element": 0.5 / (6 * 128 * 128)})
    assert shown(past(2), slow, 1e-3, 500.0, 300.0) == pytest.approx(shown(past(2), board(0.5), 1e-3, 500.0, 300.0))


def test_runs_go_from_large_to_small_by_rows_or_by_weights() -> None:
    by_rows, by_weight = power_sampling.cases(VLLM), power_sampling.cases(TRTLLM)
    assert by_rows.shape[:3].tolist() == [[32768, 65536, 51200], [32768, 65536, 51200], [32768, 65536, 16384]]
    assert by_rows.formats[:3].tolist() == ["bf16", "fp8_block", "bf16"]
    assert by_weight.shape[:2].tolist() == [[32768, 65536, 51200], [16384, 65536, 51200]]
    narrow = by_rows.shape[by_rows.formats == "fp8_block"][:, 1:]
    assert narrow.min() == 128


def test_an_op_is_found_in_the_list_or_nearest_to_it() -> None:
    found = power_sampling.cases(VLLM)
    at = np.array([5, 1000, 20000])
    assert power_sampling.positions(found, found.ops(at)).tolist() == at.tolist()
    assert power_sampling.positions(power_sampling.cases(TRTLLM), found.ops(np.array([1]))).tolist() == [-1]


def test_a_kernel_compiles_once_and_where_its_layout_is_new() -> None:
    m = np.array([4097, 4096, 513, 512, 65, 64, 64, 33, 32, 17, 16, 15])
    wide = compiles(m, np.full_like(m, 51200), np.full_like(m, 6144))
    assert wide.tolist() == [True, False, True, True, True, True, False, False, True, True, True, False]
    small = compiles(m, np.full_like(m, 2560), np.full_like(m, 12288))
    assert small.tolist() == [True, False, True, True, True, True, False, False, True, True, False, False]
    again = compiles(np.tile(m, 2), np.full(24, 2560), np.full(24, 12288))
    assert not again[12:].any()
    assert len(np.unique(layouts(m, np.full_like(m, 2560), np.full_like(m, 12288)))) == small.sum()
