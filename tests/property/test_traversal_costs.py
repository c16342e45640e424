"""Laws of pricing an access record, for every record."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aisys
from aisys.cost import cost
from aisys.cost.traversal import compulsory_bytes, held, imbalance, remote_bytes
from aisys.errors import BadInput, Unsupported
from aisys.frozen import FrozenMap
from aisys.ir import LINE_BYTES, NUM_BLOCKS, AccessRecord, BlockTraffic, OpTable, Phase, Stream
from aisys.machine import Cpu, Device, PimBank
from aisys.units import Sourced


@st.composite
def traffics(draw: st.DrawFn) -> BlockTraffic:
    block = st.integers(0, NUM_BLOCKS - 1)
    pairs = draw(st.dictionaries(st.tuples(block, block), st.integers(1, 10**6), max_size=20))
    matrix = np.zeros((NUM_BLOCKS, NUM_BLOCKS), np.int64)
    for pair, count in pairs.items():
        matrix[pair] = count
    return BlockTraffic.of(matrix)


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    accesses = draw(st.integers(1, 10**6))
    grain = draw(st.sampled_from([4, 8, 16, 64]))
    reuse = draw(st.lists(st.floats(0, 1), max_size=16))
    return Stream(
        tensor=draw(st.sampled_from(["a", "b"])), pattern=draw(st.sampled_from(["sequential", "gather", "chase"])),
        accesses=accesses, grain_bytes=grain, footprint_bytes=draw(st.integers(grain, accesses * grain)),
        num_runs=draw(st.integers(1, accesses)), reuse=tuple(sorted(reuse)),
    )  # fmt: skip


@st.composite
def records(draw: st.DrawFn) -> AccessRecord:
    phases = tuple(
        Phase(
            op_counts=FrozenMap(int_add=draw(st.integers(0, 10**6)), rare_branch=draw(st.integers(0, 10**4))),
            streams=tuple(draw(st.lists(streams(), min_size=1, max_size=3))),
            parallel_slack=draw(st.integers(1, 10**6)), traffic=draw(traffics()),
        )
        for _ in range(draw(st.integers(1, 3)))
    )  # fmt: skip
    return AccessRecord(data_digest="made up", phases=phases)


def time_s(record: AccessRecord, device: Device, tier: str = "analytic") -> float:
    return float(cost(OpTable.of("traversal", record=record), device, tier=tier).time_s[0])


def number(value: float) -> Sourced:
    return Sourced(value, source="the test", kind="assumed", key="test")


@given(streams(), st.floats(1, 2**30), st.floats(1, 16))
def test_a_larger_cache_never_holds_less(stream: Stream, size: float, times: float) -> None:
    assert 0 <= held(stream, size) <= held(stream, size * times) <= 1
    whole = held(stream, 2.0 ** len(stream.reuse) * LINE_BYTES)
    assert whole == (stream.reuse[-1] if stream.reuse else 0)


@given(traffics(), st.integers(1, 3000))
@settings(deadline=None)
def test_spreading_work_gives_every_part_its_own(traffic: BlockTraffic, num_parts: int) -> None:
    total = int(traffic.num_bytes.sum())
    assert 1 <= imbalance(traffic, num_parts) <= num_parts
    assert 0 <= remote_bytes(traffic, num_parts) <= total
    assert remote_bytes(traffic, 1) == 0
    assert imbalance(traffic, 1) == 1
    part = np.arange(NUM_BLOCKS) * 8 // NUM_BLOCKS
    matrix = traffic.between(part, 8)
    assert matrix.sum() == total
    assert remote_bytes(traffic, 8) == total - np.trace(matrix)
    if total:
        assert imbalance(traffic, 8) == pytest.approx(matrix.sum(1).max() / (total / 8))


@given(records())
@settings(deadline=None, max_examples=50)
def test_no_tier_is_below_the_limit_and_the_compulsory_bytes(record: AccessRecord) -> None:
    for name in ("xeon-2s", "xeon-core", "upmem"):
        device = aisys.device(name)
        assert time_s(record, device) >= time_s(record, device, "limit")
        peak = device.main_memory.bandwidth_bytes_per_s
        assert time_s(record, device, "limit") >= compulsory_bytes(record) / peak or name == "upmem"


@given(records(), st.integers(1, 8))
@settings(deadline=None, max_examples=50)
def test_a_better_cpu_is_never_slower(record: AccessRecord, times: int) -> None:
    device = aisys.device("xeon-core")
    cpu = device.architecture
    assert isinstance(cpu, Cpu)
    better = (
        replace(cpu, outstanding_misses=number(cpu.outstanding_misses * times)),
        replace(cpu, clock_hz=number(cpu.clock_hz * times)),
        replace(cpu, cache_bytes=tuple(number(size * times) for size in cpu.cache_bytes)),
        replace(cpu, constants=FrozenMap({**cpu.constants, "mispredict_cycles": number(17 / times)})),
    )
    for one in better:
        assert time_s(record, replace(device, architecture=one)) <= time_s(record, device) * (1 + 1e-12)


@given(records())
@settings(deadline=None, max_examples=50)
def test_one_bank_sends_nothing_past_the_host(record: AccessRecord) -> None:
    device = aisys.device("upmem")
    bank = device.architecture
    assert isinstance(bank, PimBank)
    one = replace(device, architecture=replace(bank, num_banks=number(1)))
    found = cost(OpTable.of("traversal", record=record), one)
    assert found.traffic_bytes["host"].tolist() == [0]


def test_an_operation_without_instructions_and_a_cpu_without_caches_are_refused() -> None:
    stream = Stream(tensor="a", pattern="gather", accesses=1, grain_bytes=4, footprint_bytes=4)
    phase = Phase(
        op_counts=FrozenMap(fp_sqrt=1), streams=(stream,), parallel_slack=1, traffic=BlockTraffic.none()
    )  # fmt: skip
    record = AccessRecord(data_digest="made up", phases=(phase,))
    with pytest.raises(Unsupported, match="do not say what fp_sqrt takes; they know "):
        time_s(record, aisys.device("upmem"))
    device = aisys.device("xeon-2s")
    cpu = device.architecture
    assert isinstance(cpu, Cpu)
    bare = replace(device, architecture=replace(cpu, constants=FrozenMap()))
    with pytest.raises(Unsupported, match=r"xeon-2s does not say its slots_per_cycle; add constants.slots_per_cycle"):
        time_s(record, bare)


@pytest.mark.parametrize(
    ("source", "destination", "num_bytes"),
    [([0], [0, 1], [1]), ([0, 0], [1, 1], [1, 1]), ([1, 0], [0, 0], [1, 1]), ([0], [NUM_BLOCKS], [1]), ([0], [0], [0]),
     ([-1], [0], [1])],
)  # fmt: skip
def test_traffic_that_is_none_is_refused(source: list[int], destination: list[int], num_bytes: list[int]) -> None:
    with pytest.raises(BadInput, match="traffic: "):
        BlockTraffic(np.array(source), np.array(destination), np.array(num_bytes))


def test_traffic_compares_by_its_content_and_cannot_be_changed() -> None:
    source, destination, num_bytes = np.array([0, 3]), np.array([5, 1]), np.array([7, 9])
    one, same = (BlockTraffic(source, destination, num_bytes) for _ in range(2))
    assert one == same
    assert hash(one) == hash(same)
    assert one != BlockTraffic(source, destination, num_bytes + 1)
    with pytest.raises(ValueError, match="read-only"):
        one.num_bytes[0] = 1
    source[0] = 9
    assert one == same
