"""Arrays that overlap their folds, and sparse weights, by formulas worked by hand with round constants."""

from dataclasses import replace

import numpy as np
import pytest

import aisys
from aisys.cost import cost
from aisys.cost.systolic_array import Matmuls, overlapped, run, sparse
from aisys.errors import BadInput, UnknownName, Unsupported
from aisys.frozen import FrozenMap
from aisys.ir import OpTable
from aisys.machine import Device, SystolicArray
from aisys.units import Sourced
from aisys.validate.tpu_rows import one_program

CLOCK_HZ, BYTES_PER_S, ROOM = 1e9, 1e9, 1_000_000.0
ROUND = {
    "launch_s": 1e-6, "alone_s": 3e-6, "loop_s": 2e-6, "step_s": 1e-7, "compute_efficiency": 0.5,
    "memory_efficiency": 0.8, "weight_load_share": 0.25, "fold_share": 0.5, "fetch_share": 0.75, "write_share": 0.5,
    "overlap_power": 2.0, "prefetch_share": 0.5, "resident_share": 0.1, "softmax_s": 1e-9, "attention_s": 5e-6,
    "score_s": 2e-9, "stream_share": 0.4, "repack_passes": 6.0,
}  # fmt: skip


def number(value: float, key: str = "") -> Sourced:
    return Sourced(value, source="the test", kind="assumed", key=key)


def chip(**changed: float) -> Device:
    """256 x 256, two arrays, 1 GHz, 1 GB/s, 1 MB of vector memory."""
    device = aisys.device("tpu-v6e")
    constants = {f"overlapped.{name}": number(value, name) for name, value in {**ROUND, **changed}.items()}
    array = replace(device.architecture, clock_hz=number(CLOCK_HZ), constants=FrozenMap(constants))
    buffer, main = device.memories.values()
    memories = {
        "vmem": replace(buffer, capacity_bytes=number(ROOM), bandwidth_bytes_per_s=number(1e12)),
        "hbm": replace(main, bandwidth_bytes_per_s=number(BYTES_PER_S)),
    }
    return replace(device, architecture=array, memories=FrozenMap(memories))


def matmul(m: int, n: int, k: int, *, batch: int = 1, is_weight: bool = True) -> OpTable:
    return OpTable.of(
        "matmul", batch=[batch], m=m, n=n, k=k, b_is_weight=is_weight, a_dtype="bf16", b_dtype="bf16",
        out_dtype="bf16", math="bf16",
    )  # fmt: skip


def seconds(table: OpTable, moved: overlapped.Moved, device: Device) -> float:
    return float(overlapped.time(table, moved, device).time_s[0])


def test_a_product_alone_is_fetched_computed_and_written_with_what_overlaps() -> None:
    """512 columns over 300 deep: 2 x 2 folds of 104 rows and 128 cycles between, on two arrays at half their peak."""
    table, device = matmul(100, 512, 300), chip()
    compute = 2 * 2 * (104 + 128) / 2 / (0.5 * CLOCK_HZ)
    read, written = 2 * (100 * 300 + 300 * 512), 2 * 100 * 512
    memory = (read + written) / (0.8 * BYTES_PER_S)
    seen = (0.75 * read + 0.5 * written) / (read + written)
    expected = 3e-6 + 2 * 1e-7 + memory + seen * compute
    assert seconds(table, overlapped.alone(table), device) == pytest.approx(expected, rel=1e-12)


def test_the_next_weights_bound_a_fold_of_few_rows() -> None:
    table = matmul(1, 512, 300)
    done = overlapped.time(table, overlapped.alone(table), chip())
    assert done.counts["cycles"][0] == 2 * 2 * (64 + 128) / 2
    assert done.bound.tolist() == ["memory"]
    assert overlapped.time(table, overlapped.alone(table), chip(alone_s=1.0)).bound.tolist() == ["launch"]


def test_operands_that_do_not_fit_stream_and_the_longer_of_the_two_binds_softly() -> None:
    table = matmul(4096, 512, 300)
    compute = 4 * (4096 + 128) / 2 / (0.5 * CLOCK_HZ)
    memory = 2 * (4096 * 300 + 300 * 512 + 4096 * 512) / (0.8 * BYTES_PER_S)
    expected = 3.2e-6 + np.hypot(compute, memory)
    assert seconds(table, overlapped.alone(table), chip()) == pytest.approx(expected, rel=1e-12)


def test_in_a_loop_only_the_result_moves() -> None:
    table = matmul(100, 512, 300)
    compute, memory = 4 * (104 + 128) / 2 / (0.5 * CLOCK_HZ), 2 * 100 * 512 / (0.8 * BYTES_PER_S)
    expected = 2e-6 + 2e-7 + memory + 0.5 * compute
    assert seconds(table, overlapped.in_loop(table), chip()) == pytest.approx(expected, rel=1e-12)


def test_in_a_program_activations_that_fit_stay_and_weights_are_fetched() -> None:
    table, device = matmul(16, 512, 300), chip()
    done = overlapped.time(table, overlapped.in_program(table), device)
    assert done.main_bytes[0] == 2 * 300 * 512
    more = matmul(1000, 512, 300)
    near = 2 * 1000 * (300 + 512)
    spilled = overlapped.time(more, overlapped.in_program(more), device).main_bytes[0]
    assert spilled == pytest.approx(2 * 300 * 512 + near - 0.1 * ROOM)
    both = matmul(16, 512, 300, is_weight=False)
    assert overlapped.time(both, overlapped.in_program(both), device).main_bytes[0] == pytest.approx(
        2 * (16 * 300 + 300 * 512 + 16 * 512) - 0.1 * ROOM
    )


def test_a_result_that_does_not_fill_registers_is_repacked_in_a_program() -> None:
    device = chip(resident_share=1.0)
    ragged, even = matmul(100, 500, 300), matmul(100, 512, 300)
    extra = 6 * 2 * 100 * 500 / (0.8 * BYTES_PER_S)
    less_weight = 2 * 12 * 300 / (0.8 * BYTES_PER_S)
    difference = seconds(ragged, overlapped.in_program(ragged), device) - seconds(
        even, overlapped.in_program(even), device
    )
    assert difference == pytest.approx(extra - less_weight, rel=1e-9)


def test_independent_products_share_an_array_by_blocks_of_registers() -> None:
    heads = matmul(128, 128, 64, batch=8, is_weight=False)
    done = overlapped.time(heads, overlapped.in_program(heads), chip())
    assert done.counts["cycles"][0] == 8 * 0.5 * 0.5 * (128 + 128) / 2


def test_softmax_and_other_streams_of_a_program() -> None:
    device = chip()
    for function, share, per_element in (("softmax", 1.0, 1e-9), ("gelu", 0.4, 0.0)):
        table = OpTable.of(
            "stream", read_bytes=[4e5], write_bytes=4e5, flop=0, rows=1000, cols=200, function=function, dtype="bf16"
        )
        memory = (8e5 - 0.1 * ROOM) / (0.8 * BYTES_PER_S)
        expected = 1e-6 + share * memory + per_element * 2e5
        assert seconds(table, overlapped.in_program(table), device) == pytest.approx(expected, rel=1e-12)


def test_fused_attention_adds_its_pairs_and_reads_cached_keys_from_main_memory() -> None:
    table = OpTable.of(
        "attention", batch=1, q_len=[8], kv_len=1024, q_heads=4, kv_heads=2, head_dim=128, value_dim=128, window=0,
        is_causal=False, is_backward=False, page_size=0, q_dtype="bf16", kv_dtype="bf16", math="bf16",
    )  # fmt: skip
    done = overlapped.time(table, overlapped.in_program(table), chip())
    cached = 2 * 2 * 1024 * 2 * 128
    assert done.main_bytes[0] == cached
    cycles = 4 * 2 * (0.5 * 4 * (64 + 128)) / 2
    assert done.counts["cycles"][0] == cycles
    memory, compute = cached / (0.8 * BYTES_PER_S), cycles / (0.5 * CLOCK_HZ)
    expected = 1e-6 + 5e-6 + 4 * 8 * 1024 * 2e-9 + np.hypot(compute, memory)
    assert done.time_s[0] == pytest.approx(expected, rel=1e-12)


def test_a_program_of_several_ops_starts_once() -> None:
    device = chip()
    ops = [matmul(100, 512, 300), matmul(100, 256, 512)]
    each = sum(float(cost(op, device).time_s[0]) for op in ops)
    assert one_program(ops, device, "analytic").time_s == pytest.approx(each + 3e-6 - 1e-6)


def test_the_limit_lets_activations_stay_in_the_vector_memory() -> None:
    device = chip()
    table = matmul(1000, 512, 300)
    found = cost(table, device, tier="limit")
    far = 2 * 300 * 512 + max(2 * 1000 * (300 + 512) - ROOM, 0)
    assert found.time_s[0] == pytest.approx(far / BYTES_PER_S)
    assert found.traffic_bytes["hbm"][0] == far


def test_every_catalogued_chip_carries_its_constants_and_a_bare_one_is_told_which_are_missing() -> None:
    table = matmul(128, 256, 256)
    for name in ("tpu-v4", "tpu-v5e", "tpu-v6e"):
        found = cost(table, aisys.device(name))
        assert found.error_low[0] < 1 < found.error_high[0]
    device = aisys.device("tpu-v6e")
    assert isinstance(device.architecture, SystolicArray)
    bare = replace(device, architecture=replace(device.architecture, constants=FrozenMap()))
    with pytest.raises(Unsupported, match=r"does not say its overlapped.launch_s; .* timing = \"exact\""):
        cost(table, bare)
    wrong = replace(device, architecture=replace(device.architecture, timing="fast"))
    with pytest.raises(UnknownName, match="unknown timing 'fast'"):
        cost(table, wrong)
    rigid = replace(device, architecture=replace(device.architecture, timing="exact"))
    assert cost(table, rigid).counts["cycles"][0] == 128 + 512 + 256 - 2


def product(m: int, n: int, k: int) -> Matmuls:
    sizes = (np.array([x]) for x in (1, m, n, k))
    one = np.ones(1)
    return Matmuls(**dict(zip(("batch", "m", "n", "k"), sizes, strict=True)), a_bytes=one, b_bytes=one, out_bytes=one)


def small(rows: int, cols: int, dataflow: str = "ws") -> SystolicArray:
    array = aisys.device("systolic-32x32").architecture
    assert isinstance(array, SystolicArray)
    return replace(array, rows=number(rows), cols=number(cols), dataflow=dataflow)


LAYER_WISE = {
    (5, 7, 10, 4, 4, "2:4"): (59, 120, 42, 70, 2.625),
    (5, 7, 9, 4, 4, "2:4"): (59, 100, 35, 70, 2.1875),
    (5, 7, 11, 4, 4, "3:4"): (89, 120, 63, 105, 3.9375),
    (1, 7, 11, 4, 4, "1:4"): (21, 24, 21, 7, 1.3125),
    (6, 3, 1, 4, 4, "1:4"): (15, 24, 3, 18, 0.1875),
    (5, 7, 13, 8, 4, "1:8"): (45, 160, 14, 35, 1.3125),
    (3, 9, 16, 4, 4, "4:4"): (155, 144, 144, 108, 9.0),
    (2, 1, 3, 4, 2, "2:3"): (9, 6, 2, 2, 0.125),
    (5, 5, 8, 3, 4, "2:4"): (51, 80, 20, 50, 1.25),
}
"""M, N, K, rows, columns, density: last cycle, three counts of accesses, words of metadata.

Kind: simulated. Source: SCALE-Sim 3.0.0, SparsitySupport, ellpack_block, our runs of 2026-11."""
ROW_WISE = {
    (5, 7, 10, 4, 4, 4): (59, 512, 56, 70), (5, 7, 16, 4, 4, 4): (59, 512, 56, 70),
    (3, 9, 33, 8, 4, 8): (188, 5760, 216, 81), (1, 5, 24, 6, 4, 4): (59, 576, 60, 10),
    (4, 4, 7, 8, 4, 2): (21, 176, 16, 16), (6, 3, 1, 4, 4, 4): (15, 144, 12, 18),
}  # fmt: skip
"""M, N, K, rows, columns, block. Source: as above, OptimizedMapping, seed 40."""


@pytest.mark.parametrize("case", LAYER_WISE, ids=str)
def test_layer_wise_sparse_runs_are_those_of_scalesim(case: tuple[int, int, int, int, int, str]) -> None:
    m, n, k, rows, cols, density = case
    keep, of = (int(x) for x in density.split(":"))
    done = run(sparse.n_of_m(product(m, n, k), keep, of), small(rows, cols))
    found = (done.cycles - 1, done.ifmap_reads, done.filter_reads, done.ofmap_writes)
    words = sparse.metadata_words(sparse.n_of_m(product(m, n, k), keep, of))[0]
    assert (*(round(float(x[0]), 9) for x in found), words) == LAYER_WISE[case]


@pytest.mark.parametrize("case", ROW_WISE, ids=str)
def test_row_wise_sparse_runs_are_those_of_scalesim(case: tuple[int, int, int, int, int, int]) -> None:
    m, n, k, rows, cols, block = case
    done = sparse.row_wise(product(m, n, k), small(rows, cols), block)
    found = (done.cycles - 1, done.ifmap_reads, done.filter_reads, done.ofmap_writes)
    assert tuple(float(x[0]) for x in found) == ROW_WISE[case]


def test_blocks_of_six_share_rows_as_well() -> None:
    """K = 13 is one full and one begun pair of blocks: 12 rows of kept weights, two folds of 6 rows."""
    done = sparse.row_wise(product(5, 4, 13), small(6, 4), 6)
    assert (done.folds[0], done.cycles[0]) == (2, 2 * (5 + 12 + 4 - 2))
    with pytest.raises(Unsupported, match="blocks of 8 do not fill 6 rows twice over; use an even divisor of 12"):
        sparse.row_wise(product(5, 4, 13), small(6, 4), 8)


def test_dense_weights_are_the_dense_run_and_impossible_densities_are_refused() -> None:
    dense, full = (run(p, small(4, 4)) for p in (product(5, 7, 9), sparse.n_of_m(product(5, 7, 9), 4, 4)))
    assert (dense.cycles[0], dense.ifmap_reads[0]) == (full.cycles[0], full.ifmap_reads[0])
    with pytest.raises(BadInput, match="3:2 is no density"):
        sparse.n_of_m(product(5, 7, 9), 3, 2)
    with pytest.raises(Unsupported, match="blocks of 3 do not fill 4 rows twice over; use an even divisor of 8"):
        sparse.row_wise(product(5, 7, 9), small(4, 4), 3)
    with pytest.raises(Unsupported, match="dataflow 'os' has no such run, use 'ws'"):
        run(sparse.n_of_m(product(5, 7, 9), 2, 4), small(4, 4, "os"))
