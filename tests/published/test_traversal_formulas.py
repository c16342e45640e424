"""The price of a traversal, phase by phase, worked by hand on a CPU core and on PIM banks."""

from dataclasses import replace

import numpy as np
import pytest

import aisys
from aisys.cost import CostTable, Tier, cost
from aisys.errors import Unsupported
from aisys.frozen import FrozenMap
from aisys.ir import NUM_BLOCKS, AccessRecord, BlockTraffic, OpTable, Phase, Stream
from aisys.machine import Cpu, Device, PimBank
from aisys.units import Sourced

LISTS = Stream(
    tensor="targets", pattern="sequential", accesses=64_000, grain_bytes=4, footprint_bytes=256_000, num_runs=8_000,
    reuse=(0.9,),
)  # fmt: skip
SCAN = Stream(
    tensor="queue", pattern="sequential", accesses=16_000, grain_bytes=4, footprint_bytes=64_000, reuse=(0.9375,)
)
CHECKS = Stream(
    tensor="depth", pattern="gather", accesses=64_000, grain_bytes=4, footprint_bytes=1_000_000,
    reuse=(*[0.0] * 9, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.75, 0.75, 0.75, 0.75, 0.75, 0.75),
)  # fmt: skip
"""A quarter of the checks is held by 2**9 lines, three quarters by 2**15."""


def record(*streams: Stream, slack: int = 8_000, traffic: BlockTraffic | None = None) -> AccessRecord:
    counts = FrozenMap(int_add=100_000, int_compare=50_000, rare_branch=3_000)
    phase = Phase(
        op_counts=counts, streams=streams, parallel_slack=slack, traffic=traffic or BlockTraffic.none()
    )  # fmt: skip
    return AccessRecord(data_digest="made up", phases=(phase, phase))


def priced(what: AccessRecord, device: Device, tier: Tier = "analytic") -> CostTable:
    return cost(OpTable.of("traversal", record=what), device, tier=tier)


def core(**changed: float) -> Device:
    """A core of round numbers: caches of 2**9, 2**12 and 2**15 lines at 1, 10 and 100 ns, memory at 200 ns."""
    device = aisys.device("xeon-core")
    cpu = device.architecture
    assert isinstance(cpu, Cpu)
    constants = {
        "slots_per_cycle": 5, "mispredict_cycles": 20, "prefetched_misses": 40, "memory_efficiency": 0.5,
        "barrier_s": 1e-6, "cache_latency_s.0": 1e-9, "cache_latency_s.1": 10e-9, "cache_latency_s.2": 100e-9,
    }  # fmt: skip
    numbers = {"num_cores": 1, "clock_hz": 2e9, "outstanding_misses": 10, **changed}
    architecture = replace(
        cpu, constants=FrozenMap({name: number(value) for name, value in constants.items()}),
        cache_bytes=tuple(number(64 * 2**lines) for lines in (9, 12, 15)),
        **{name: number(value) for name, value in numbers.items()},
    )  # fmt: skip
    memory = replace(device.main_memory, latency_s=number(200e-9), bandwidth_bytes_per_s=number(1000e9))
    return replace(device, architecture=architecture, memories=FrozenMap({memory.name: memory}))


def number(value: float) -> Sourced:
    return Sourced(value, source="the test", kind="assumed", key="test")


def test_a_core_computes_mispredicts_and_waits() -> None:
    """Per phase: 150,000 operations and 128,000 accesses at 5 a cycle, 3,000 branches of 20 cycles; then the waits."""
    compute = ((150_000 + 128_000) / 5 + 3_000 * 20) / 2e9
    lists = 0.1 * 64_000 * 200e-9 / 40
    checks = 64_000 * (0.5 * 100e-9 + 0.25 * 200e-9) / 10
    found = priced(record(LISTS, CHECKS), core())
    assert found.time_s[0] == pytest.approx(2 * (compute + lists + checks))
    assert found.traffic_bytes["ddr"][0] == pytest.approx(2 * 64 * (0.1 * 64_000 + 0.25 * 64_000))


def test_distinct_bytes_move_once_at_least() -> None:
    wide = replace(CHECKS, footprint_bytes=10**10)
    found = priced(record(LISTS, wide), core())
    assert found.traffic_bytes["ddr"][0] == 256_000 + 10**10
    assert found.time_s[0] == (256_000 + 10**10) / 1000e9


def test_cores_share_a_phase_as_far_as_its_slack_goes_and_meet_at_its_end() -> None:
    one = priced(record(LISTS), core()).time_s[0]
    for slack, share in ((8_000, 8), (3, 3)):
        eight = priced(record(LISTS, slack=slack), core(num_cores=8)).time_s[0]
        assert eight == pytest.approx(one / share + 2 * 1e-6)


def test_energy_is_that_of_the_cores_at_work_and_of_the_bytes_moved() -> None:
    """Three of eight cores work, and none during the barriers."""
    device = core(num_cores=8)
    found = priced(record(LISTS, slack=3), device)
    at_work = found.time_s[0] - 2 * 1e-6
    moving = found.traffic_bytes["ddr"][0] * device.main_memory.energy_joule_per_byte
    watt = device.max_watt - device.idle_watt
    assert found.energy_joule[0] == pytest.approx(device.idle_watt * found.time_s[0] + watt * at_work * 3 / 8 + moving)


def test_many_cores_are_bound_by_the_bandwidth_of_memory() -> None:
    cold = replace(CHECKS, reuse=())
    found = priced(record(cold), core(num_cores=1000))
    compute = ((150_000 + 64_000) / 5 + 3_000 * 20) / 2e9 / 1000
    assert found.time_s[0] == pytest.approx(2 * (compute + 64_000 * 64 / 500e9 + 1e-6))


def test_a_chase_waits_for_every_access() -> None:
    chase = replace(CHECKS, pattern="chase")
    gathered, chased = (priced(record(s), core()).time_s[0] for s in (CHECKS, chase))
    assert chased - gathered == pytest.approx(2 * 64_000 * (0.5 * 100e-9 + 0.25 * 200e-9) * 0.9)


def test_a_dense_op_on_a_cpu_is_a_roofline() -> None:
    device = aisys.device("xeon-2s")
    table = OpTable.of(
        "matmul", batch=1, m=[1, 4096], n=4096, k=4096, b_is_weight=True, a_dtype="bf16", b_dtype="bf16",
        out_dtype="bf16", math="bf16",
    )  # fmt: skip
    found, limit = cost(table, device), cost(table, device, tier="limit")
    moved = 2 * (4096 * 4096 + 2 * 4096)
    assert found.bound.tolist() == ["memory", "compute"]
    assert limit.time_s[0] == pytest.approx(moved / 614.4e9)
    assert found.time_s[0] == pytest.approx(moved / (614.4e9 * 0.81))
    assert found.time_s[1] == limit.time_s[1] == 2 * 4096**3 / 229.4e12
    assert found.energy_joule[1] == pytest.approx(
        found.time_s[1] * device.max_watt + 3 * 2 * 4096**2 * device.main_memory.energy_joule_per_byte
    )
    with pytest.raises(Unsupported, match="epyc-7742-2s has no bf16 arithmetic; it has fp64, fp32"):
        cost(table, aisys.device("epyc-7742-2s"))


def banks(num_banks: int = 16, num_threads: int = 16) -> Device:
    device = aisys.device("upmem")
    bank = device.architecture
    assert isinstance(bank, PimBank)
    return replace(
        device, architecture=replace(bank, num_banks=number(num_banks), num_threads=number(num_threads))
    )  # fmt: skip


def even() -> BlockTraffic:
    """Every block checks 256 bytes of itself and 256 of the other half."""
    matrix = np.eye(NUM_BLOCKS, dtype=np.int64) * 256
    return BlockTraffic.of(matrix + np.roll(matrix, NUM_BLOCKS // 2, axis=1))


def test_banks_transfer_runs_and_gathers_and_send_checks_past_the_host() -> None:
    """Lists: 8,000 transfers of 32 bytes. Checks of 1 MB fit no scratchpads: one 8-byte transfer each."""
    found = priced(record(LISTS, CHECKS, traffic=even()), banks())
    lists = 8_000 * 77 + 256_000 / 2
    checks = 64_000 * (77 + 8 / 2)
    slots = (150_000 + 128_000) / 16
    dma = (lists + checks) / 16
    assert dma > slots
    host = 2 * 2 * 256 * NUM_BLOCKS
    assert found.counts["dma_cycles"][0] == pytest.approx(2 * dma)
    assert found.counts["slots"][0] == 2 * (150_000 + 128_000)
    assert found.traffic_bytes["host"][0] == host
    assert found.traffic_bytes["mram"][0] == 2 * (256_000 + 8 * 64_000)
    assert found.time_s[0] == pytest.approx(2 * dma / 350e6 + host / 4.74e9)


def test_a_gather_that_fits_half_a_scratchpad_is_loaded_once_in_full_blocks() -> None:
    small = replace(CHECKS, footprint_bytes=16 * 32_768)
    found = priced(record(small, traffic=even()), banks())
    assert found.counts["dma_cycles"][0] == pytest.approx(2 * 32_768 * (77 / 2048 + 1 / 2))
    large = replace(CHECKS, footprint_bytes=16 * 32_768 + 16)
    assert priced(record(large, traffic=even()), banks()).counts["dma_cycles"][0] == pytest.approx(2 * 4_000 * 81)


def test_the_busiest_bank_decides_but_a_scan_is_cut_evenly() -> None:
    """All work on the first block: its bank does everything but the scan."""
    lonely = BlockTraffic(np.array([0]), np.array([0]), np.array([1000]))
    found = priced(record(LISTS, SCAN, traffic=lonely), banks())
    lists, scan = 8_000 * 77 + 256_000 / 2, 64_000 * (77 / 2048 + 1 / 2)
    assert found.counts["dma_cycles"][0] == pytest.approx(2 * (lists + scan / 16))
    assert found.traffic_bytes["host"][0] == 0


def test_instructions_follow_their_accesses_to_the_busiest_bank() -> None:
    """Two slots per addition, three per access: all on one bank but the share of the scan, which is even."""
    device = banks()
    bank = device.architecture
    assert isinstance(bank, PimBank)
    slots_of = {"int_add": 2.0, "int_compare": 1.0, "load_store": 3.0}
    dearer = replace(bank, instructions=FrozenMap({name: number(slots) for name, slots in slots_of.items()}))
    lonely = BlockTraffic(np.array([0]), np.array([0]), np.array([1000]))
    small = replace(CHECKS, footprint_bytes=4096)
    found = priced(record(SCAN, small, traffic=lonely), replace(device, architecture=dearer))
    slots = 100_000 * 2 + 50_000 + 80_000 * 3
    share = 0.2 / 16 + 0.8
    assert found.counts["slots"][0] == 2 * slots
    assert found.time_s[0] == pytest.approx(2 * slots * share / 350e6)


def test_few_pieces_of_work_leave_threads_idle() -> None:
    """Sixteen pieces on sixteen banks: one thread each, which issues every eleventh cycle and waits for transfers."""
    found = priced(record(SCAN, slack=16, traffic=even()), banks())
    slots, dma = (150_000 + 16_000) / 16, 64_000 * (77 / 2048 + 1 / 2) / 16
    host = found.traffic_bytes["host"][0] / 4.74e9
    assert found.time_s[0] == pytest.approx(2 * (11 * slots + dma) / 350e6 + host)
