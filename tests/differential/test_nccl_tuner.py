"""NCCL's choice, beside the same model written a second time, one number at a time, from its source."""

from math import floor, log2

import numpy as np
import pytest

from aisys.collective.layout import Rows
from aisys.collective.library.nccl_tuner import ALGORITHMS, Seen, choose, predicted_s

BASE = {"ring": (6.6, 14.0, 8.4), "tree": (6.8, 14.0, 8.4)}
NEAR = {"ring": (0.6, 1.9, 3.4), "tree": (0.6, 1.25, 4.0)}
NEAR_PCIE = {"ring": (1.0, 2.5, 5.7), "tree": (1.0, 1.9, 4.0)}
FAR = {"ring": (2.7, 4.0, 14.0), "tree": (5.0, 8.5, 14.0)}
LL = ((39, 39, 20.4), (87.7, 22.5, 19), (141, 45, 35), (282, 90, 70))
RING_LL128 = ((20, 20, 20), (20, 20, 20), (36.7, 36.7, 36.7), (40, 40, 40))
TREE_LL128 = ((20, 20, 20), (20, 20, 20), (36.7, 36.7, 29), (55.6, 31.67, 20))
TREE = ((26.5, 18.5, 10), (24, 23.6, 17.8), (38.7, 41.4, 36), (70, 42.8, 24))
NVLS_TREE = ((26.5, 18.5, 10), (24, 23.6, 17.8), (0, 57.7, 45.5), (0, 96, 80))
NVLS = (0, 0, 0.85, 0.74)
CORRECTION = (
    (1, 1, 1, 1, 0.9, 0.8, 0.7, 0.7, 0.7, 0.7, 0.6, 0.5, 0.4, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1, 1, 1),
    (1, 1, 1, 1, 1, 0.9, 0.8, 0.8, 0.8, 0.7, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.8, 0.9, 0.9, 0.9, 0.9, 1, 1),
    (0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.8, 0.7, 0.6, 0.6, 0.5, 0.5, 0.5, 0.5, 0.6, 0.7, 0.8, 0.7, 0.7, 0.8, 0.9, 0.9),
)  # fmt: skip
PROTOCOLS = ("ll", "ll128", "simple")

A100 = Seen(generation=1, is_pcie=False, bandwidth_bytes_per_s=240e9, num_channels=12, has_nvls=False, has_ll128=True)
H100 = Seen(generation=2, is_pcie=False, bandwidth_bytes_per_s=360e9, num_channels=24, has_nvls=True, has_ll128=True)
B200 = Seen(generation=3, is_pcie=False, bandwidth_bytes_per_s=720e9, num_channels=16, has_nvls=True, has_ll128=False)
L40S = Seen(generation=1, is_pcie=True, bandwidth_bytes_per_s=24e9, num_channels=4, has_nvls=False, has_ll128=False)


def microseconds(seen: Seen, op: str, local: int, nodes: int, size: float, network: float) -> dict[str, float]:
    """Each candidate of NCCL with its predicted time; bandwidths in GB/s as in its source."""
    ranks, gen, span, channels = local * nodes, seen.generation, min(nodes, 3) - 1, seen.num_channels
    steps = 2 * (ranks - 1) if op == "all_reduce" else ranks - 1
    far_steps = 0 if nodes == 1 else (2 * (nodes - 1) if op == "all_reduce" else nodes - 1)
    bus = seen.bandwidth_bytes_per_s / 1e9 if nodes == 1 else min(seen.bandwidth_bytes_per_s, network) / 1e9
    ll_most = LL[gen if nodes == 1 else 0][span]
    near, out = NEAR_PCIE if seen.is_pcie else NEAR, {}
    for p, protocol in enumerate(PROTOCOLS):
        if protocol == "ll128" and not seen.has_ll128:
            continue
        rate = (min(ll_most, bus / 2), min(bus * 0.92, channels * RING_LL128[gen][span]), bus)[p]
        far = FAR["tree"][p] if local == 1 else FAR["ring"][p]
        hop = near["ring"][p] if nodes == 1 else max(near["ring"][p], 3.0 if p == 2 else 1.0)
        latency = BASE["ring"][p] + (steps - far_steps) * hop + far_steps * far
        if op == "all_reduce" and nodes > 1 and p == 2 and size / (channels * ranks) >= 64:
            latency *= 1.4
        out[f"ring/{protocol}"] = latency + size / (1000 * rate * ranks / steps)
        if op == "all_reduce":
            rate = min(bus * 0.92, channels * TREE[gen][span])
            if p == 0:
                rate = min(rate / 3.8, ll_most)
            elif p == 1:
                rate = min(rate * (7 / 9 if nodes == 1 else 120 / 128), channels * TREE_LL128[gen][span])
            at = floor(log2(max(size, 64) / 64))
            rate *= 0.5 * (CORRECTION[p][at] if at < 23 else 1)
            latency = BASE["tree"][p] + 2 * ((local - 1) * near["tree"][p] + floor(log2(nodes)) * FAR["tree"][p])
            out[f"tree/{protocol}"] = latency + size / (1000 * rate)
    if seen.has_nvls and local > 2:
        switch = seen.bandwidth_bytes_per_s / 1e9 * NVLS[gen] * (channels - 1) / channels
        if nodes == 1:
            rate = 2 * switch * ranks / steps if op == "all_reduce" else switch * (local - 1) / local
            out["nvls/simple"] = 25 + size / (1000 * rate)
        elif op == "all_reduce":
            rate = min(2 * switch, network / 1e9 * (2 if nodes == 2 else 1), channels * NVLS_TREE[gen][span])
            latency = 25 + 2 * floor(log2(nodes)) * 20.9
            out["nvls_tree/simple"] = latency + size / (1000 * rate * ranks / steps)
    if op != "all_reduce" and local == 1:
        out["pat/simple"] = 8 + floor(log2(nodes)) * 14 / 3.5 + ranks * 2.8 + size / (1000 * 0.75 * bus)
    return out


@pytest.mark.parametrize("seen", [A100, H100, B200, L40S], ids=["A100", "H100", "B200", "L40S"])
@pytest.mark.parametrize("op", ["all_reduce", "all_gather", "reduce_scatter"])
def test_the_choice_is_that_of_nccl(op: str, seen: Seen) -> None:
    for local, nodes in ((2, 1), (4, 1), (8, 1), (8, 2), (8, 4), (4, 16), (1, 8), (1, 3)):
        size = np.exp2(np.arange(6, 34))
        network = np.full(len(size), min(local, 8) * 50e9)
        rows = Rows(
            op=np.full(len(size), ["all_reduce", "all_gather", "reduce_scatter"].index(op)), num_bytes=size,
            per_node=np.full(len(size), float(local)), num_nodes=np.full(len(size), float(nodes)),
            network_bytes_per_s=network, rank_network_bytes_per_s=network / local,
        )  # fmt: skip
        found = [ALGORITHMS[i] for i in choose(rows, seen)]
        every = predicted_s(rows, seen) * 1e6
        for row, (one, got) in enumerate(zip(size, found, strict=True)):
            times = microseconds(seen, op, local, nodes, one, network[0])
            assert times[got] == pytest.approx(min(times.values()), rel=1e-9), (local, nodes, one, got)
            usable = {name: t for name, t in zip(ALGORITHMS, every[:, row], strict=False) if t < np.inf}
            assert usable == pytest.approx(times, rel=1e-9), (local, nodes, one)


def test_short_messages_between_peers_go_by_ll() -> None:
    size = np.array([16384.0, 16385, 8 * 16384, 8 * 16384 + 8])
    rows = Rows(
        op=np.array([5, 5, 3, 3]), num_bytes=size, per_node=np.full(4, 8.0), num_nodes=np.ones(4),
        network_bytes_per_s=np.full(4, np.inf), rank_network_bytes_per_s=np.full(4, np.inf),
    )  # fmt: skip
    assert [ALGORITHMS[i] for i in choose(rows, H100)] == ["p2p/ll", "p2p/simple", "p2p/ll", "p2p/simple"]
