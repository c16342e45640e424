"""Attention, grouped matmuls and streaming ops on a GPU obey the laws that hold for every shape."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisys.cost import cost
from aisys.cost.gpu import limit, stack
from aisys.cost.gpu.grouped_matmul import effective_groups
from aisys.errors import Unsupported
from aisys.frozen import FrozenMap
from aisys.ir import OpTable
from aisys.machine import Device, load
from aisys.units import Sourced
from aisys.validate.moe import rank_load

DEVICES = ("v100-sxm2-32gb", "a100-80-sxm", "h100-sxm", "b200", "l40s", "rtx-4090", "mi210")
FUNCTIONS = ("rmsnorm", "layernorm", "softmax", "silu", "gelu", "add", "rope", "embedding", "adamw", "dropout")
powers = st.integers(0, 14).map(lambda n: 2**n)
some = st.integers(1, 5000)


def attention(**columns: object) -> OpTable:
    """Attention rows; what is not given is one causal head of 128 in half precision."""
    plain: dict[str, object] = dict(
        batch=1, q_len=1, kv_len=1, q_heads=1, kv_heads=1, head_dim=128, value_dim=128, window=0, is_causal=True,
        is_backward=False, page_size=0, q_dtype="fp16", kv_dtype="fp16", math="fp16",
    )  # fmt: skip
    return OpTable.of("attention", **{**plain, **columns})


def experts(groups: object, m: object, n: object, k: object) -> OpTable:
    return OpTable.of(
        "grouped_matmul", groups=groups, m=m, n=n, k=k, a_dtype="fp16", b_dtype="fp16", out_dtype="fp16", math="fp16"
    )


def stream(function: object, rows: object, cols: object, dtype: str = "fp16") -> OpTable:
    size = np.asarray(rows) * np.asarray(cols) * 2.0
    return OpTable.of(
        "stream", read_bytes=size, write_bytes=size, flop=0, rows=rows, cols=cols, function=function, dtype=dtype
    )


def with_bandwidth(device: Device, factor: float) -> Device:
    memory = device.main_memory
    wider = Sourced(memory.bandwidth_bytes_per_s * factor, source="test", kind="assumed", key="x")
    changed = replace(memory, bandwidth_bytes_per_s=wider)
    return replace(device, memories=FrozenMap({**device.memories, memory.name: changed}))


tables = st.one_of(
    st.builds(
        lambda b, q, extra, kv, g, back, page: attention(
            batch=b, q_len=q, kv_len=q + extra, q_heads=kv * g, kv_heads=kv, is_backward=back, page_size=page
        ),
        powers, some, some, st.integers(1, 64), st.integers(1, 64), st.booleans(), st.sampled_from((0, 16)),
    ),
    st.builds(experts, st.integers(1, 512), some, some, some),
    st.builds(stream, st.sampled_from(FUNCTIONS), some, powers, st.sampled_from(("fp16", "fp32"))),
)  # fmt: skip


@given(tables, st.sampled_from(DEVICES))
def test_no_kernel_is_faster_than_light_and_each_has_an_interval_around_it(table: OpTable, name: str) -> None:
    device = load.device(name)
    light, ours = cost(table, device, tier="limit"), cost(table, device)
    assert (ours.time_s >= light.time_s).all()
    assert (ours.time_s > 0).all()
    assert (ours.error_low <= 1).all()
    assert (ours.error_high >= 1).all()
    assert (ours.energy_joule > 0).all()


@given(tables, st.sampled_from(DEVICES))
def test_more_bandwidth_is_never_slower(table: OpTable, name: str) -> None:
    device = load.device(name)
    assert (cost(table, with_bandwidth(device, 1.5)).time_s <= cost(table, device).time_s * (1 + 1e-12)).all()


@given(powers, some, some, st.integers(1, 16), st.integers(1, 16))
def test_a_longer_cache_is_never_faster(batch: int, short: int, more: int, kv_heads: int, group: int) -> None:
    shape = dict(batch=batch, kv_heads=kv_heads, q_heads=kv_heads * group)
    device = load.device("h100-sxm")
    of_short, of_long = (cost(attention(kv_len=n, **shape), device).time_s[0] for n in (short, short + more))
    assert of_long >= of_short * 0.8, "beyond a split of the keys that comes out less even"


@given(powers, st.integers(9, 5000), st.integers(1, 32))
def test_a_mask_never_makes_a_prompt_slower(batch: int, tokens: int, heads: int) -> None:
    device = load.device("a100-80-sxm")
    shape = dict(batch=batch, q_len=tokens, kv_len=tokens, q_heads=heads, kv_heads=heads)
    full, causal, windowed = (
        cost(attention(**shape, **mask), device).time_s[0]
        for mask in (dict(is_causal=False), dict(), dict(window=max(tokens // 4, 1)))
    )
    assert windowed <= causal <= full


@given(st.lists(st.tuples(powers, some, some), min_size=2, max_size=6))
def test_a_table_costs_what_its_rows_cost_one_by_one(rows: list[tuple[int, int, int]]) -> None:
    device = load.device("h100-sxm")
    batch, q_len, extra = (np.array(column) for column in zip(*rows, strict=True))
    tables = (
        attention(batch=batch, q_len=q_len, kv_len=q_len + extra, is_backward=q_len % 2 == 0),
        experts(batch, q_len, extra, 256),
        stream(["add", "softmax"] * (len(rows) // 2) + ["rope"] * (len(rows) % 2), q_len, extra),
    )
    for table in tables:
        whole = cost(table, device)
        for row in range(len(rows)):
            assert cost(table.take(np.array([row])), device).time_s[0] == pytest.approx(whole.time_s[row], rel=1e-12)


@given(st.integers(1, 4096), st.integers(1, 100_000))
def test_active_experts_are_at_least_one_and_at_most_experts_and_rows(groups: int, rows: int) -> None:
    active = limit.active_groups(np.array([float(groups)]), np.array([float(rows)]))[0]
    assert 1 - 1e-9 <= active <= min(groups, rows) + 1e-9


@given(st.integers(2, 500), st.integers(2, 500))
def test_effective_experts_leave_as_many_active_as_the_skewed_ones(active: int, more: int) -> None:
    rows = np.array([float(active + more)])
    groups = effective_groups(np.array([float(active)]), rows)
    assert limit.active_groups(groups, rows)[0] == pytest.approx(active, rel=1e-6)


@given(powers, st.integers(1, 8), st.sampled_from((8, 64, 256)), st.sampled_from((0.0, 1.01, 1.2)))
def test_one_rank_gets_every_row_and_many_ranks_share_them(tokens: int, topk: int, experts: int, alpha: float) -> None:
    all_rows, active = rank_load(tokens, topk, experts, 1, alpha)
    assert active <= experts
    assert all_rows == max(tokens * topk, 1)
    busiest, _ = rank_load(tokens, topk, experts, 8, alpha)
    assert busiest * 8 >= all_rows * 0.99
    assert busiest <= all_rows


def test_a_stack_without_constants_of_its_own_is_the_device_itself() -> None:
    device = load.device("h100-sxm")
    table = attention(q_len=64, kv_len=64, page_size=16)
    assert cost(table, stack.under(device, "elsewhere-1.0")).time_s == cost(table, device).time_s
    assert cost(table, stack.under(device, "trtllm-1.3")).time_s != cost(table, device).time_s


def test_pages_cost_what_a_serving_stack_does_around_the_kernel() -> None:
    device = load.device("h100-sxm")
    bare, paged = (cost(attention(batch=4, kv_len=4096, page_size=p), device).time_s[0] for p in (0, 16))
    assert paged > bare + 1e-6


def test_latent_attention_reads_its_keys_once() -> None:
    latent = attention(batch=64, kv_len=4096, q_heads=128, kv_heads=1, head_dim=576, value_dim=512)
    both = attention(batch=64, kv_len=4096, q_heads=128, kv_heads=1, head_dim=576, value_dim=576)
    read, twice = (limit.work(table).read_bytes[0] for table in (latent, both))
    queries = 64 * 128 * 576 * 2
    assert (twice - queries) == 2 * (read - queries)


def test_a_gpu_without_the_format_refuses_in_a_sentence() -> None:
    with pytest.raises(Unsupported, match="has no fp8 arithmetic"):
        cost(attention(math="fp8"), load.device("a100-80-sxm"))


@given(tables, st.sampled_from(["h200", "gb200", "l40s", "rtx-pro-6000", "h100-sxm"]))
def test_no_correction_learned_on_another_device_beats_light(table: OpTable, name: str) -> None:
    device = load.device(name)
    light = cost(table, device, tier="limit").time_s
    for one in ("", "vllm", "trtllm"):
        priced = cost(table, stack.under(device, one) if one else device, tier="calibrated")
        assert (priced.time_s >= light).all()
        assert ((priced.error_low <= 1) & (priced.error_high >= 1)).all()


def test_an_interval_widens_away_from_the_device_that_was_measured() -> None:
    op = attention(batch=8, kv_len=8192, q_heads=8, kv_heads=8, page_size=16)
    here, there = (cost(op, load.device(name)) for name in ("h100-sxm", "h200"))
    assert there.error_high[0] > here.error_high[0]
    assert there.error_low[0] < here.error_low[0]


def test_keys_that_a_cache_retains_are_not_read_again() -> None:
    op = attention(batch=1024, kv_len=2048, q_heads=8, kv_heads=2, page_size=16)
    device = load.device("b200")
    key = "attention.decode.retained_share"
    shares = [Sourced(share, source="test", kind="assumed", key=key) for share in (0.001, 0.5, 1.0)]
    times = [cost(op, stack.with_constants(device, {key: share})).time_s[0] for share in shares]
    saved = device.architecture.l2_bytes / float(device.main_memory.bandwidth_bytes_per_s)
    assert times[0] > times[1] > times[2]
    assert times[0] - times[2] == pytest.approx(float(saved) / 0.9, rel=0.3)
