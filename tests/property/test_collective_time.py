"""Laws of the time of collectives, whatever the machine."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisys import machine
from aisys.collective import OPS, libraries, limit, time
from aisys.errors import BadInput, UnknownName, Unsupported
from aisys.frozen import FrozenMap
from aisys.machine import Machine, list_machines
from aisys.units import Sourced


def joined(name: str) -> list[Machine]:
    """The machine alone, and four of it where it names a network."""
    alone = machine(name)
    try:
        return [alone, machine(f"{name}*4")]
    except BadInput:
        return [alone]


MACHINES = [found for name in list_machines() for found in joined(name) if found.mesh]
SIZES = np.array([0.0, 1.0, 1e3, 1e5, 1e7, 1e9])
GROUPS = [{"node": 8, "network": 1}, {"node": 2, "network": 4}, {"node": 1, "network": 4}, {"node": 8, "network": 4}]


@pytest.mark.parametrize("found", MACHINES, ids=lambda m: m.name)
def test_no_collective_is_faster_than_the_data_sheet(found: Machine) -> None:
    for op in OPS:
        cost = time(op, SIZES, dict(found.mesh), found)
        assert (cost.time_s >= limit(op, SIZES, dict(found.mesh), found).time_s).all(), op
        assert np.isfinite(cost.time_s).all()
        known = np.isfinite(cost.error_low)
        assert (cost.error_low[known] <= 1).all()
        assert (cost.error_high[known] >= 1).all()
        assert cost.keys


@pytest.mark.parametrize("library", [name for name in libraries() if name != "ring"])
@pytest.mark.parametrize("name", ["dgx-a100", "dgx-h100", "dgx-b200", "l40s-node"])
def test_every_library_prices_every_op_on_every_switch(name: str, library: str) -> None:
    for op in OPS:
        cost = time(op, SIZES[1:], {"node": 8}, machine(name), library=library)
        assert (cost.time_s > 0).all()
        assert (np.diff(cost.time_s[-3:]) > 0).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_rows_do_not_know_each_other(seed: int) -> None:
    random = np.random.default_rng(seed)
    found, num = machine("dgx-h100*8"), 12
    ops, size = random.integers(0, 6, num), 10 ** random.uniform(0, 10, num)
    ranks = {"node": random.integers(1, 9, num), "network": random.integers(1, 9, num)}
    shared = random.integers(1, 9, num)
    whole = time(ops, size, ranks, found, sharing=shared)
    for row in range(num):
        group = {tier: count[row] for tier, count in ranks.items()}
        one = time(OPS[ops[row]], size[row], group, found, sharing=shared[row])
        assert one.time_s[0] == whole.time_s[row]
        assert one.algorithm[0] == whole.algorithm[row]


def test_rows_of_several_local_tiers_take_the_link_that_they_cross() -> None:
    found = machine("a100-pairs-node")
    mixed = time("all_reduce", 1e8, {"pair": [2, 2, 1], "node": [1, 2, 2]}, found)
    alone = [time("all_reduce", 1e8, {"pair": a, "node": b}, found).time_s[0] for a, b in ((2, 1), (2, 2), (1, 2))]
    np.testing.assert_array_equal(mixed.time_s, alone)
    assert mixed.time_s[1] > 4 * mixed.time_s[0]


@pytest.mark.parametrize("op", OPS)
def test_a_group_of_one_and_an_empty_buffer_take_no_time(op: str) -> None:
    assert time(op, [1e6, 1e9], {"node": 1, "network": 1}, machine("dgx-h100*2")).time_s.tolist() == [0, 0]
    assert time(op, 0, {"node": 8}, machine("dgx-h100")).time_s.tolist() == [0]


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_long_buffers_take_longer_in_proportion(op: str, group: dict[str, int]) -> None:
    cost = time(op, [1e10, 2e10], group, machine("dgx-h100*4"))
    assert 1.9 < cost.time_s[1] / cost.time_s[0] < 2.01


@pytest.mark.parametrize("op", OPS)
def test_groups_that_share_the_adapters_of_their_node_are_slower(op: str) -> None:
    """Four adapters in a node of eight: four groups of lone ranks have one each, eight share them in pairs."""
    found = machine("dgx-a100-4nic*8")
    cost = time(op, 1e9, {"node": 1, "network": 8}, found, sharing=[1, 2, 4, 8])
    assert cost.time_s[0] == cost.time_s[1] == cost.time_s[2]
    assert 1.9 < cost.time_s[3] / cost.time_s[2] <= 2


def test_ranks_of_one_node_that_send_at_once_share_its_adapters() -> None:
    """Four adapters of 25 GB/s: a lone rank has one of them, eight have half of one each."""
    found = machine("dgx-a100-4nic*2")
    one, eight = (time("send_recv", 1e10, {"node": n, "network": 2}, found).time_s[0] for n in (1, 8))
    assert eight == pytest.approx(2 * one, rel=1e-3)


@pytest.mark.parametrize("op", OPS)
def test_more_bandwidth_is_never_slower_for_long_buffers(op: str) -> None:
    found = machine("dgx-a100*4")
    link = found.links["network"]
    rate = Sourced(2 * link.bandwidth_bytes_per_s, source="test", kind="assumed")
    faster = replace(found, links=FrozenMap({**found.links, "network": replace(link, bandwidth_bytes_per_s=rate)}))
    for group in GROUPS:
        assert time(op, 1e9, group, faster).time_s <= time(op, 1e9, group, found).time_s


def test_wire_bytes_are_what_a_rank_must_send() -> None:
    cost = time(OPS, 800.0, {"node": 8}, machine("dgx-h100"))
    assert cost.wire_bytes.tolist() == [1400, 700, 700, 700, 800, 800]


def test_a_link_without_constants_of_its_own_says_whose_it_took_and_is_less_sure() -> None:
    own = machine("dgx-h100")
    bare = replace(own.links["node"], name="mine", constants=FrozenMap())
    cost = time("all_reduce", 1e6, {"node": 8}, replace(own, links=FrozenMap({"node": bare})))
    known = time("all_reduce", 1e6, {"node": 8}, own)
    assert cost.time_s == known.time_s
    assert any(key.startswith("nvswitch-h100.nccl.") for key in cost.keys)
    assert cost.error_low < known.error_low
    assert cost.error_high > known.error_high


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("all_reduse", 1, {"node": 8}), UnknownName, "nearest known: all_reduce"),
        (("all_reduce", -1, {"node": 8}), BadInput, "num_bytes is -1"),
        (("all_reduce", np.nan, {"node": 8}), BadInput, "num_bytes is nan"),
        (("all_reduce", np.inf, {"node": 8}), BadInput, "num_bytes is inf"),
        (("all_reduce", 1, {"node": 9}), BadInput, "9 ranks on tier 'node' of 8 members"),
        (("all_reduce", 1, {"node": 0}), BadInput, "0 ranks on tier 'node'"),
        (("all_reduce", 1, {"rack": 2}), UnknownName, "unknown tier 'rack'"),
    ],
)
def test_what_cannot_be_is_refused(arguments: tuple[str, float, dict[str, int]], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        time(*arguments, machine("dgx-h100"))


def test_unknown_libraries_and_unmeasured_links_are_refused() -> None:
    with pytest.raises(UnknownName, match="nearest known: nccl"):
        time("all_reduce", 1, {"node": 8}, machine("dgx-h100"), library="ncl")
    with pytest.raises(Unsupported, match="no constants for technology 'ici'"):
        time("all_reduce", 1, {"node": 8}, machine("tpu-v5e-8"), library="nccl")
    with pytest.raises(BadInput, match="sharing is 0"):
        time("all_reduce", 1, {"node": 8}, machine("dgx-h100"), sharing=0)
