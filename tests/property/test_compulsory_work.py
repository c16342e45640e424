"""The least that each op must do, counted again by hand or one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisys.cost.gpu import limit
from aisys.ir import OpTable
from aisys.machine import device

H100 = device("h100-sxm")
small = st.integers(1, 12)


def attention(**changed: object) -> OpTable:
    usual = {
        "batch": 3, "q_len": 5, "kv_len": 7, "q_heads": 8, "kv_heads": 2, "head_dim": 11, "value_dim": 13, "window": 0,
        "is_causal": True, "is_backward": False, "page_size": 0, "q_dtype": "bf16", "kv_dtype": "fp8", "math": "bf16",
    }  # fmt: skip
    return OpTable.of("attention", **{**usual, **changed})


def pairs(q_len: int, kv_len: int, window: int, is_causal: bool) -> int:
    """Query-key pairs, one by one: the last query stands at the last key, a window holds a query's own place too."""
    count = 0
    for query in range(q_len):
        place = kv_len - q_len + query
        for key in range(kv_len):
            if is_causal:
                count += key <= place and (not window or key > place - window)
            else:
                count += not window or key < window
    return count


def test_a_matmul_reads_both_operands_writes_the_result_and_multiplies_each_pair() -> None:
    table = OpTable.of(
        "matmul", batch=3, m=5, n=7, k=11, b_is_weight=False, a_dtype="bf16", b_dtype="fp8", out_dtype="fp32",
        math="bf16",
    )  # fmt: skip
    work = limit.work(table)
    assert work.flop.tolist() == [2 * 3 * 5 * 7 * 11]
    assert work.read_bytes.tolist() == [3 * (5 * 11 * 2 + 11 * 7 * 1)]
    assert work.write_bytes.tolist() == [3 * 5 * 7 * 4]


@given(groups=st.integers(2, 300), rows=st.integers(1, 300))
def test_active_experts_are_those_that_at_least_one_row_chose(groups: int, rows: int) -> None:
    expected = groups * (1 - (1 - 1 / groups) ** rows)
    assert limit.active_groups(np.array([groups]), np.array([rows]))[0] == pytest.approx(expected)


def test_one_expert_is_always_active() -> None:
    assert limit.active_groups(np.array([1.0]), np.array([1.0]))[0] == pytest.approx(1)


def test_experts_read_only_the_weights_of_the_active_ones() -> None:
    table = OpTable.of(
        "grouped_matmul", groups=4, m=1, n=7, k=11, a_dtype="bf16", b_dtype="fp8", out_dtype="fp32", math="bf16"
    )
    work = limit.work(table)
    assert work.flop.tolist() == [2 * 7 * 11]
    assert work.read_bytes[0] == pytest.approx(11 * 2 + 7 * 11)
    assert work.write_bytes.tolist() == [7 * 4]


@given(q_len=small, extra=st.integers(0, 12), window=st.integers(0, 30), is_causal=st.booleans())
def test_scores_are_the_pairs_that_the_mask_leaves(q_len: int, extra: int, window: int, is_causal: bool) -> None:
    kv_len = q_len + extra
    found = limit.scores(attention(q_len=q_len, kv_len=kv_len, window=window, is_causal=is_causal))
    assert found.tolist() == [pairs(q_len, kv_len, window, is_causal)]


def test_attention_reads_queries_and_each_key_and_value_once() -> None:
    work = limit.work(attention())
    assert work.flop.tolist() == [2 * 3 * 8 * pairs(5, 7, 0, True) * (11 + 13)]
    assert work.read_bytes.tolist() == [3 * 5 * 8 * 11 * 2 + 3 * 7 * 2 * (11 + 13) * 1]
    assert work.write_bytes.tolist() == [3 * 5 * 8 * 13 * 2]


def test_backward_of_attention_multiplies_five_times_where_forward_does_twice() -> None:
    forward, backward = limit.work(attention()), limit.work(attention(is_backward=True))
    assert backward.flop[0] / forward.flop[0] == 5 / 2
    queries, keys_and_values = 3 * 5 * 8 * 2, 3 * 7 * 2 * (11 + 13)
    assert backward.read_bytes.tolist() == [queries * (11 + 2 * 13) + keys_and_values]
    assert backward.write_bytes.tolist() == [queries * 11 + keys_and_values]


def test_a_window_is_all_that_decode_reads() -> None:
    one = limit.work(attention(q_len=1, kv_len=4096, window=100))
    assert one.read_bytes.tolist() == [3 * 1 * 8 * 11 * 2 + 3 * 100 * 2 * (11 + 13)]


def test_arithmetic_runs_at_the_peak_of_its_format() -> None:
    work = limit.work(attention())
    peak = H100.architecture.peak_flop_per_s("bf16")
    assert limit.compute_s(work, H100)[0] == pytest.approx(work.flop[0] / peak)


@pytest.mark.parametrize("moved", [1e3, 1e6, 60e6, 1e9])
def test_bytes_of_a_stream_come_from_memory_unless_the_shared_cache_can_hold_them(moved: float) -> None:
    gpu, memory = H100.architecture, H100.main_memory
    table = OpTable.of(
        "stream", read_bytes=moved, write_bytes=moved, flop=0, rows=1, cols=1, function="add", dtype="bf16"
    )
    far = max(0.0, 2 * moved - gpu.l2_bytes) / memory.bandwidth_bytes_per_s
    near = 2 * moved / (64 * gpu.num_sm * gpu.clock_hz)
    assert limit.memory_s(limit.work(table), H100)[0] == pytest.approx(max(far, near))
