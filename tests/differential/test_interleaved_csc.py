"""The compressed product equals the dense one, and its recurrence a machine that is clocked cycle by cycle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisys.errors import BadInput
from aisys.kernel import interleaved_csc

seeds = st.integers(0, 2**32 - 1)
densities = st.sampled_from([0.0, 0.03, 0.1, 0.4, 1.0])


def drawn(seed: int, shape: tuple[int, ...], density: float) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.integers(1, 9, shape) * (random.random(shape) < density)


def clocked(entries: list[list[int]], depth: int, batches: list[int] | None = None) -> int:
    """Cycles of real queues: every element works on its head, then one input goes to all if all have room.

    A batch of inputs has to be read, for 64 cycles each, before its first input goes.
    """
    batches = batches or [0] * len(entries)
    there, left = 0, 0
    waiting = list(range(len(entries)))
    queues: list[list[list[int]]] = [[] for _ in entries[0]] if entries else []
    cycle = 0
    while True:
        if waiting and batches[waiting[0]] > there:
            there, left = batches[waiting[0]], 64 * (batches[waiting[0]] - there)
        if left:
            left -= 1
        elif waiting and all(len(queue) < depth for queue in queues):
            column = waiting.pop(0)
            for pe, queue in enumerate(queues):
                queue.append([max(1, entries[column][pe])])
        if not waiting and not any(queues):
            return cycle
        cycle += 1
        for queue in queues:
            if queue:
                queue[0][0] -= 1
                if not queue[0][0]:
                    queue.pop(0)


@given(seeds, densities, densities, st.integers(1, 5), st.integers(1, 9))
@settings(deadline=None, max_examples=60)
def test_the_product_is_exact_and_takes_the_cycles_of_clocked_queues(seed, density, active, num_pes, depth):
    matrix, vector = drawn(seed, (70, 24), density), drawn(seed + 1, (24,), active)
    encoded = interleaved_csc.encode(matrix, num_pes)
    done = interleaved_csc.run(encoded, vector, depth)
    assert (done.outputs == matrix @ vector).all()
    assert done.cycles == clocked(encoded.entries[vector > 0].tolist(), depth)


@given(seeds, st.sampled_from([0.03, 0.2, 1.0]), st.integers(1, 3))
@settings(deadline=None, max_examples=25)
def test_long_vectors_and_tall_matrices_run_in_batches_of_clocked_queues(seed, density, num_pes):
    """Registers for 64 inputs and 64 sums an element: 300 columns and 200 rows are several batches of each."""
    matrix, vector = drawn(seed, (200, 300), density), drawn(seed + 1, (300,), 0.4)
    done, high = interleaved_csc.multiply(matrix, vector, num_pes), 64 * num_pes
    assert (done.outputs == matrix @ vector).all()
    sent = np.flatnonzero(vector)
    batches = (sent // high).tolist()
    cycles = [
        clocked(interleaved_csc.encode(part, num_pes).entries[sent].tolist(), 8, batches)
        for part in np.split(matrix, range(high, 200, high))
    ]
    assert done.cycles == sum(cycles)
    places = interleaved_csc.multiply(matrix[:, sent], vector[sent], num_pes, sent)
    assert (places.cycles, places.outputs.tolist()) == (done.cycles, done.outputs.tolist())


@given(seeds, densities, st.integers(1, 5))
@settings(deadline=None, max_examples=60)
def test_entries_are_the_non_zeros_and_one_for_every_sixteen_zeros_before_them(seed, density, num_pes):
    matrix = drawn(seed, (120, 5), density)
    encoded = interleaved_csc.encode(matrix, num_pes)
    for (column, pe), found in np.ndenumerate(encoded.entries):
        places = np.flatnonzero(matrix[pe::num_pes, column])
        gaps = np.diff(np.concatenate([[-1], places])) - 1
        assert found == len(places) + (gaps // 16).sum()
    assert len(encoded.values) == encoded.entries.sum()
    assert encoded.num_bits == 8 * encoded.entries.sum() + 16 * num_pes * 6


def test_one_slow_element_holds_all_back_as_far_as_its_queue_is_short():
    """Column 0 has 8 entries in element 0; the other 7 columns one in element 1."""
    matrix = np.zeros((16, 8), int)
    matrix[::2, 0], matrix[1, 1:] = 1, 1
    encoded = interleaved_csc.encode(matrix, 2)
    assert interleaved_csc.run(encoded, np.ones(8, int), 8).cycles == 8 + 7
    assert interleaved_csc.run(encoded, np.ones(8, int), 1).cycles == 8 + 7
    slow_last = encoded.entries[::-1]
    assert clocked(slow_last.tolist(), 8) == 7 + 8


def test_what_does_not_fit_is_refused():
    with pytest.raises(BadInput, match=r"shape \(0, 3\)"):
        interleaved_csc.encode(np.zeros((0, 3)))
    with pytest.raises(BadInput, match=r"a vector \(2,\) for 3 columns"):
        interleaved_csc.run(interleaved_csc.encode(np.ones((4, 3)), 2), np.ones(2))
