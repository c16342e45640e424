"""Prices of NCCL on a link with round constants are those of the formulas, written out by hand."""

from math import sqrt

import numpy as np
import pytest

from aisys.collective import time
from aisys.collective.layout import Rows
from aisys.collective.library import kernels, nccl
from aisys.collective.types import Fabric
from aisys.frozen import FrozenMap
from aisys.machine import Link, machine
from aisys.units import Sourced
from aisys.validate.fabric import Wired

MB = 1e6


def number(value: float, key: str = "test") -> Sourced:
    return Sourced(value, source="a round number of this test", kind="assumed", key=key)


def constants(**changes: float) -> dict[str, float]:
    """Launch 2 us; every protocol 1 us base, 0.5 us a hop, no growth, half the bandwidth, plain sums."""
    found: dict[str, float] = {"launch_s": 2e-6, "copy": 0.5, "nvls.copy": 1, "p2p.copy": 0.25}
    found |= {"gather_growth": 2, "gather_wire": 1.5}
    for protocol in nccl.PROTOCOLS:
        found |= {f"{protocol}.base_s": 1e-6, f"{protocol}.step_s": 0.5e-6, f"{protocol}.growth_s": 1e-30}
        found |= {f"{protocol}.knee_bytes": 1000, f"{protocol}.efficiency": 0.5, f"{protocol}.overlap": 1}
        found |= {f"{protocol}.error_low": 0.9, f"{protocol}.error_high": 1.1}
    found |= {"tuner.generation": 2, "tuner.bandwidth_bytes_per_s": 360e9, "tuner.num_channels": 24}
    return found | {"tuner.has_nvls": 1, "tuner.has_ll128": 1} | changes


def fabric(num_nodes: int = 1, **changes: float) -> Fabric:
    node = Link(
        name="test-switch", technology="nvswitch", bandwidth_bytes_per_s=number(200e9), latency_s=number(1e-6),
        constants=FrozenMap({f"nccl.{k}": number(v, f"test.{k}") for k, v in constants(**changes).items()}),
    )  # fmt: skip
    wide = {"efficiency": 0.8, "p2p.efficiency": 0.4, "step_factor": 2, "p2p.step_s": 7e-6}
    wide |= {"error_low": 0.5, "error_high": 2}
    network = Link(
        name="test-network", technology="infiniband", bandwidth_bytes_per_s=number(10e9), latency_s=number(5e-6),
        constants=FrozenMap({f"nccl.{k}": number(v) for k, v in wide.items()}),
    )  # fmt: skip
    return Wired(FrozenMap({"node": 8, "network": num_nodes}), FrozenMap({"node": node, "network": network}))


def one(op: str, size: float, node: int = 8, network: int = 1, **changes: float) -> tuple[float, str]:
    cost = time(op, size, {"node": node, "network": network}, fabric(network, **changes))
    return float(cost.time_s[0]), str(cost.algorithm[0])


RATE = 100e9
"""Half of 200 GB/s."""


@pytest.mark.parametrize(
    ("op", "size", "algorithm", "seconds"),
    [
        ("all_reduce", 800, "ring/ll", 3e-6 + 14 * 0.5e-6 + 1450 / RATE),
        ("all_gather", 800, "ring/ll", 3e-6 + 7 * 0.5e-6 + 750 / RATE),
        ("reduce_scatter", 16 * MB, "ring/ll128", 3e-6 + 7 * 0.5e-6 + 15 * MB / RATE),
        ("reduce_scatter", 800 * MB, "ring/simple", 3e-6 + 7 * 0.5e-6 + 750 * MB / RATE),
        ("all_gather", 800 * MB, "ring/simple", 3e-6 + 7 * 0.5e-6 + 1.5 * 750 * MB / RATE),
        ("all_reduce", 800 * MB, "nvls/simple", 3e-6 + 0.5e-6 + 900 * MB / RATE),
        ("broadcast", 800 * MB, "ring/simple", 3e-6 + 7 * 0.5e-6 + 850 * MB / RATE),
        ("all_to_all", 800, "p2p/ll", 1e-6 + 7 * 0.5e-6 + 725 / RATE),
        ("all_to_all", 800 * MB, "p2p/simple", 1e-6 + 7 * 0.5e-6 + 725 * MB / RATE),
        ("send_recv", 800 * MB, "p2p/simple", 1e-6 + 0.5e-6 + 1000 * MB / RATE),
    ],
)
def test_inside_a_node(op: str, size: float, algorithm: str, seconds: float) -> None:
    assert one(op, size) == (pytest.approx(seconds, rel=1e-6), algorithm)


def test_two_ranks_ring_because_multicast_needs_three() -> None:
    assert one("all_reduce", 800 * MB, node=2) == (pytest.approx(3e-6 + 1e-6 + 1000 * MB / RATE), "ring/simple")


def test_between_nodes_the_ring_takes_nccl_s_own_steps_twice_and_the_adapters_of_the_node() -> None:
    """4 nodes: 28 + 3 hops; 14 us a far hop times 2; 31/32 of 8 GB through 80 GB/s times 0.8."""
    expected = 3e-6 + 28 * 0.5e-6 + 3 * 28e-6 + 8000 * MB * 31 / 32 / 64e9
    assert one("all_gather", 8000 * MB, network=4) == (pytest.approx(expected), "ring/simple")


def test_between_nodes_short_sums_climb_a_tree() -> None:
    """2 (7 hops inside + 2 between of 5 us, doubled); a tree carries 2 buffers at 0.92, or 2 x 3/4 between nodes."""
    inside, between = 2 * 800 / 0.92 / RATE, 2 * 0.75 * 800 / 64e9
    expected = 3e-6 + 14 * 0.5e-6 + 4 * 10e-6 + max(inside, between)
    assert one("all_reduce", 800, network=4) == (pytest.approx(expected), "tree/ll")


def test_between_nodes_long_sums_climb_a_tree_of_switches() -> None:
    expected = 3e-6 + 0.5e-6 + 4 * 41.8e-6 + 2 * 0.75 * 8000 * MB / 64e9
    assert one("all_reduce", 8000 * MB, network=4) == (pytest.approx(expected), "nvls_tree/simple")


def test_lone_ranks_gather_by_pat_while_it_is_short() -> None:
    expected = 3e-6 + 6 / 3.5 * 28e-6 + 63 / 64 / 0.75 * 6400 / 8e9
    assert one("all_gather", 6400, node=1, network=64) == (pytest.approx(expected), "pat/simple")


def test_messages_to_far_peers_are_posted_in_turn() -> None:
    """24 of 32 peers are far: 7 us, 23 posts of 1 us, and 3/4 of the buffer through 10 GB/s times 0.4."""
    expected = 1e-6 + 31 * 0.5e-6 + 30e-6 + 0.75 * 800 * MB / 4e9
    assert one("all_to_all", 800 * MB, network=4) == (pytest.approx(expected), "p2p/simple")
    assert one("send_recv", 800 * MB, node=1, network=4)[0] == pytest.approx(1e-6 + 7e-6 + 0.2)


def test_latency_and_wire_overlap_by_their_norm() -> None:
    hops, wire = 14 * 0.5e-6, 14.5 / 8 * 400e3 / RATE
    found, algorithm = one("all_reduce", 400e3, **{"ll.overlap": 2.0})
    assert (found, algorithm) == (pytest.approx(3e-6 + sqrt(hops**2 + wire**2)), "ring/ll")


def test_growth_saturates_at_its_knee_and_is_larger_for_wide_groups_and_gathers() -> None:
    growth = {"ll.growth_s": 3e-6}
    plain = one("reduce_scatter", 3000)[0]
    assert one("reduce_scatter", 3000, **growth)[0] - plain == pytest.approx(3e-6 * 2 * 0.75)
    assert one("all_gather", 3000, **growth)[0] - plain == pytest.approx(3e-6 * 2 * 0.75 * 2)
    point = one("all_to_all", 8000, **{"p2p_ll.growth_s": 3e-6})[0] - one("all_to_all", 8000)[0]
    assert point == pytest.approx(3e-6 * 0.5)


def test_shares_of_the_bandwidth_depend_on_the_number_of_ranks() -> None:
    shares = {"share.2": 1.0, "share.8": 0.25}
    full, quarter = one("reduce_scatter", 800 * MB)[0] - 6.5e-6, one("reduce_scatter", 800 * MB, **shares)[0] - 6.5e-6
    assert quarter == pytest.approx(4 * full)
    between = one("reduce_scatter", 800 * MB, node=4, **shares)[0] - 4.5e-6
    assert between == pytest.approx(800 * MB * 3.5 / 4 / RATE / 0.625)


def test_intervals_are_those_of_the_protocol_and_of_the_network() -> None:
    cost = time("all_reduce", 1e6, {"node": 8, "network": [1, 2]}, fabric(2, **{"ll.error_low": 0.8}))
    assert cost.error_low.tolist() == [0.8, 0.5]
    assert cost.error_high.tolist() == [1.1, 2.0]


def test_kernels_of_frameworks_add_up_and_hand_over_to_nccl() -> None:
    found = {"one_shot.base_s": 2e-6, "one_shot.step_s": 0.1e-6, "one_shot.efficiency": 0.5}
    found |= {"two_shot.base_s": 4e-6, "two_shot.step_s": 0.1e-6, "two_shot.efficiency": 0.25}
    ranges = {"one_shot.to_bytes.2": 1000, "two_shot.from_bytes.2": 1000, "two_shot.to_bytes.2": 1e5}
    size = np.array([800.0, 8000, 8e5, 800, 800])
    rows = Rows(
        op=np.array([0, 0, 0, 1, 0]), num_bytes=size, per_node=np.full(5, 8.0), num_nodes=np.array([1.0, 1, 1, 1, 2]),
        network_bytes_per_s=np.full(5, 1e10), rank_network_bytes_per_s=np.full(5, 1e10),
    )  # fmt: skip
    nccl_s = np.full(5, 1e-3)
    factor = {"nccl_factor.2": 1.2, "nccl_short_factor.2": 1.5}
    chosen = kernels.from_mapping(found | ranges | factor, 200e9)
    seconds, which = kernels.duration_s(rows, nccl_s, chosen)
    one_shot, two_shot = 2.7e-6 + 7 * 800 / 100e9, 4.7e-6 + 1.75 * 8000 / 50e9
    np.testing.assert_allclose(seconds, [one_shot, two_shot, 1.5e-3, 1e-3, 1e-3])
    assert kernels.NAMES[which].tolist() == ["one_shot", "two_shot", "nccl", "nccl", "nccl"]
    fastest = kernels.duration_s(rows, nccl_s, kernels.from_mapping(found | factor, 200e9))
    np.testing.assert_allclose(fastest[0][:3], [one_shot, 2.7e-6 + 56000 / 100e9, 4.7e-6 + 1.4e6 / 50e9])


def test_eager_calls_copy_twice_and_take_at_least_the_launch() -> None:
    found = machine("dgx-h100")
    rate = float(found.links["node"].constants["vllm_eager.copy_bytes_per_s"])
    graph = time("all_reduce", [1e3, 1e9], {"node": 8}, found, library="vllm").time_s
    eager = time("all_reduce", [1e3, 1e9], {"node": 8}, found, library="vllm_eager").time_s
    assert eager[0] == found.links["node"].constants["vllm_eager.launch_s"]
    assert eager[1] == pytest.approx(graph[1] + 2e9 / rate)


@pytest.mark.parametrize(("algorithm", "step"), [(3, 1.0), (4, 1.25 / 1.9), (5, 4.0 / 3.4)])
def test_a_tree_inside_a_node_takes_its_own_steps_and_a_wire_of_two_buffers(algorithm: int, step: float) -> None:
    rows = Rows(
        op=np.zeros(1, np.int64), num_bytes=np.array([1 * MB]), per_node=np.full(1, 8.0), num_nodes=np.ones(1),
        network_bytes_per_s=np.full(1, np.inf), rank_network_bytes_per_s=np.full(1, np.inf),
    )  # fmt: skip
    inside = nccl.from_mapping(constants(), 200e9, is_pcie=False)
    found = nccl.duration_s(rows, np.array([algorithm]), inside, None)
    assert found[0] == pytest.approx(3e-6 + 14 * 0.5e-6 * step + 2 / 0.92 * MB / RATE)
