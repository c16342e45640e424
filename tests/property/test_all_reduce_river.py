"""An all-reduce, timed and really summed: the same sends, once on links and once on arrays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisys import machine, plugins
from aisys.collective import execute, recurrence, time
from aisys.collective.algorithm.direct_all_to_all import DirectAllToAll
from aisys.collective.algorithm.halving_doubling_all_reduce import HalvingDoublingAllReduce
from aisys.collective.algorithm.ring_all_gather import RingAllGather
from aisys.collective.algorithm.ring_all_reduce import RingAllReduce
from aisys.collective.algorithm.ring_broadcast import RingBroadcast
from aisys.collective.algorithm.ring_reduce_scatter import RingReduceScatter
from aisys.collective.algorithm.send_recv import SendRecv
from aisys.errors import BadInput

REDUCERS = [name for name in plugins.names("collective") if name.endswith("all_reduce")]
ACCEPTED = {"hierarchical_all_reduce": 4}


def buffers(num_ranks: int, length: int, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.integers(-(2**40), 2**40, length) for _ in range(num_ranks)]


@settings(max_examples=15, deadline=None)
@given(num_groups=st.integers(1, 4), length=st.integers(0, 70), seed=st.integers(0, 1000))
@pytest.mark.parametrize("name", REDUCERS)
def test_every_all_reduce_really_sums(name: str, num_groups: int, length: int, seed: int) -> None:
    parts = buffers(num_groups * ACCEPTED.get(name, 1), length, seed)
    done = execute(plugins.find("collective", name)(), parts)
    for held in done.buffers:
        np.testing.assert_array_equal(held, np.sum(parts, axis=0))


def test_an_all_reduce_is_timed_and_really_summed_by_the_same_sends() -> None:
    link = machine("dgx-h100").links["node"]
    parts = [np.arange(1024.0) * (rank + 1) for rank in range(8)]
    done = execute(RingAllReduce(), parts)
    np.testing.assert_array_equal(done.buffers[5], np.arange(1024.0) * 36)
    assert (done.sent_bytes == 2 * 7 * 1024).all()
    rate, latency = float(link.bandwidth_bytes_per_s), float(link.latency_s)
    seconds = recurrence.times_s(RingAllReduce(), 8, parts[0].nbytes, latency, rate).max()
    assert seconds == pytest.approx(2 * 7 * latency + done.sent_bytes[0] / rate)
    assert seconds < time("all_reduce", parts[0].nbytes, {"node": 8}, machine("dgx-h100")).time_s[0]


@pytest.mark.parametrize("num_ranks", [1, 2, 5, 8])
def test_bytes_that_leave_are_those_of_the_closed_form(num_ranks: int) -> None:
    parts = buffers(num_ranks, 8 * num_ranks)
    share = RingAllReduce().closed_form(num_ranks).wire_share
    assert (execute(RingAllReduce(), parts).sent_bytes == share * parts[0].nbytes).all()


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 8])
def test_the_other_ops_move_what_they_promise(num_ranks: int) -> None:
    parts = buffers(num_ranks, 24 * num_ranks)
    total = np.sum(parts, axis=0)
    for rank, held in enumerate(execute(RingReduceScatter(), parts).buffers):
        np.testing.assert_array_equal(held, np.array_split(total, num_ranks)[rank])
    for held in execute(RingAllGather(), parts).buffers:
        np.testing.assert_array_equal(held, np.concatenate(parts))
    for held in execute(RingBroadcast(), parts).buffers:
        np.testing.assert_array_equal(held, parts[0])
    for rank, held in enumerate(execute(DirectAllToAll(), parts).buffers):
        np.testing.assert_array_equal(held, np.concatenate([np.array_split(b, num_ranks)[rank] for b in parts]))
    sent = execute(SendRecv(), parts).buffers
    np.testing.assert_array_equal(sent[min(1, num_ranks - 1)], parts[0])


def test_the_inputs_are_left_as_they_are() -> None:
    parts = buffers(6, 10)
    copies = [part.copy() for part in parts]
    execute(HalvingDoublingAllReduce(), parts)
    for part, copy in zip(parts, copies, strict=True):
        np.testing.assert_array_equal(part, copy)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "there are no buffers"),
        ([np.zeros(3), np.zeros(4)], "rank 1 holds 4 elements"),
        ([np.zeros(3), np.zeros(3, np.float32)], "rank 1 holds float32"),
        ([np.zeros((2, 2))], "has 2 axes"),
    ],
)
def test_buffers_that_do_not_fit_are_refused(parts: list[np.ndarray], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        execute(RingAllReduce(), parts)
