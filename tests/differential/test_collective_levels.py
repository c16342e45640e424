"""Three answers to how long the same sends take: a closed form, steps one after another, and flows on links."""

import numpy as np
import pytest

from aisys import plugins
from aisys.collective import flows, recurrence
from aisys.collective.algorithm.direct_all_reduce import DirectAllReduce
from aisys.collective.algorithm.hierarchical_all_reduce import HierarchicalAllReduce
from aisys.collective.algorithm.ring_all_gather import RingAllGather
from aisys.collective.algorithm.ring_all_reduce import RingAllReduce

LATENCY_S, BYTES_PER_S = 1e-6, 1e9
ALGORITHMS = plugins.names("collective")


@pytest.mark.parametrize("num_bytes", [0.0, 1e3, 1e6])
@pytest.mark.parametrize("num_ranks", [4, 8, 16])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_steps_take_what_the_closed_form_says(name: str, num_ranks: int, num_bytes: float) -> None:
    algorithm = plugins.find("collective", name)()
    found = recurrence.times_s(algorithm, num_ranks, num_bytes, LATENCY_S, BYTES_PER_S).max()
    expected = algorithm.closed_form(num_ranks).time_s(num_bytes, LATENCY_S, BYTES_PER_S)
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("num_ranks", [3, 5, 6, 7, 12])
@pytest.mark.parametrize("name", sorted(set(ALGORITHMS) - {"hierarchical_all_reduce", "hierarchical_all_to_all"}))
def test_ranks_that_wait_only_for_their_peers_are_never_later_than_steps_for_all(name: str, num_ranks: int) -> None:
    algorithm = plugins.find("collective", name)()
    found = recurrence.times_s(algorithm, num_ranks, 1e6, LATENCY_S, BYTES_PER_S).max()
    assert found <= algorithm.closed_form(num_ranks).time_s(1e6, LATENCY_S, BYTES_PER_S) * (1 + 1e-9)


@pytest.mark.parametrize("num_ranks", [4, 8])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_flows_through_one_switch_take_what_the_steps_take(name: str, num_ranks: int) -> None:
    algorithm = plugins.find("collective", name)()
    steps = recurrence.times_s(algorithm, num_ranks, 1e6, LATENCY_S, BYTES_PER_S)
    found = flows.times_s(algorithm, num_ranks, 1e6, flows.star(num_ranks, BYTES_PER_S, LATENCY_S))
    assert found.max() == pytest.approx(steps.max(), rel=1e-9)


def test_a_ring_over_ring_links_takes_what_it_takes_through_a_switch() -> None:
    network = flows.torus(8, BYTES_PER_S, LATENCY_S)
    expected = RingAllReduce().closed_form(8).time_s(1e6, LATENCY_S, BYTES_PER_S)
    assert flows.times_s(RingAllReduce(), 8, 1e6, network).max() == pytest.approx(expected, rel=1e-9)


def test_all_pairs_on_a_ring_of_links_pay_for_their_long_ways() -> None:
    """8 ranks: the 16 ways over 1, 2, 3 links and the 8 over 4 cross a link 10 times one way, 6 the other."""
    found = flows.times_s(DirectAllReduce(), 8, 8e6, flows.torus(8, BYTES_PER_S, 0.0)).max()
    assert found == pytest.approx(2 * 10 * 1e6 / BYTES_PER_S, rel=1e-9)


def test_a_flat_ring_between_nodes_is_bound_by_the_one_flow_that_leaves_each_node() -> None:
    network = flows.nodes(8, 4, (1e9, 0.25e9), 0.0)
    expected = RingAllGather().closed_form(8).wire_share * 8e6 / 0.25e9
    assert flows.times_s(RingAllGather(), 8, 8e6, network).max() == pytest.approx(expected, rel=1e-9)


def test_two_levels_use_the_adapter_for_one_node_buffer_only() -> None:
    """Inside: 2 x 3/4 of 8 MB at 1 GB/s; between: 4 chunks of 1 MB at once through 0.25 GB/s, twice."""
    found = flows.times_s(HierarchicalAllReduce(4), 8, 8e6, flows.nodes(8, 4, (1e9, 0.25e9), 0.0)).max()
    assert found == pytest.approx(2 * 6e-3 + 2 * 4e6 / 0.25e9, rel=1e-9)


def test_max_min_rates_are_those_of_the_text_book() -> None:
    """Bertsekas, Gallager 1992, figure 6.11: a flow over two links, and others on one link each."""
    uses = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], bool)
    rates = flows.max_min(np.ones(5), uses, np.array([1.0, 1.0, 2.0]))
    np.testing.assert_allclose(rates, [1 / 3, 1 / 3, 1 / 3, 2 / 3, 2])


def test_shares_follow_weights_and_no_link_carries_more_than_it_can() -> None:
    random = np.random.default_rng(3)
    for _ in range(20):
        uses = random.random((12, 5)) < 0.4
        uses[:, 0] |= ~uses.any(axis=1)
        weight, capacity = random.integers(1, 4, 12).astype(float), random.random(5) + 0.1
        rates = flows.max_min(weight, uses, capacity)
        assert (rates @ uses <= capacity * (1 + 1e-9)).all()
        is_full = rates @ uses >= capacity * (1 - 1e-9)
        assert (uses & is_full).any(axis=1).all(), "a flow could still grow"
        assert flows.max_min(weight, uses, 2 * capacity) == pytest.approx(2 * rates)
