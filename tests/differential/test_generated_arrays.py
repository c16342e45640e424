"""Generated arrays: the circuit gives what numpy gives, in as many cycles as the recurrence says, stalls included."""

import doctest
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aisys.rtl import Array, ArrayDesign, MemoryPort, Requantization
from aisys.rtl.testbench import pruned

pytest.importorskip("amaranth", reason="the extra rtl is not installed")

ports = st.builds(MemoryPort, latency_cycles=st.integers(1, 40), cycles_per_beat=st.integers(1, 5))
seeds = st.integers(0, 2**32 - 1)
shapes = st.tuples(st.integers(1, 9), st.integers(1, 18), st.integers(1, 9))


@st.composite
def arrays(draw: Any) -> Array:
    """Small arrays of every kind."""
    dataflow = draw(st.sampled_from(("ws", "os")))
    sparsity = draw(st.sampled_from((None, (2, 4), (1, 2)))) if dataflow == "ws" else None
    rows = draw(st.integers(2, 4))
    rows += rows % 2 if sparsity else 0
    port_bytes = draw(st.sampled_from((4, 8, 16)))
    return Array(
        rows, draw(st.integers(2, 4)), dataflow, tile=draw(st.sampled_from((4, 8))), sparsity=sparsity,
        left_slots=draw(st.sampled_from((2, 4))), port_bytes=port_bytes, is_pipelined=draw(st.booleans()),
        lanes=draw(st.sampled_from([x for x in (1, 2, 4) if 4 * x <= port_bytes])),
    )  # fmt: skip


def product(array: Array, shape: tuple[int, int, int], seed: int) -> tuple[Any, Any, Requantization | None]:
    """Random operands, with extreme values more often than chance gives them; every other one stays int32."""
    random = np.random.default_rng(seed)
    m, k, n = shape
    a, b = (random.choice([-128, 127, 0, 1], extents) for extents in ((m, k), (k, n)))
    noise = random.random() < 0.8
    a, b = (np.where(noise, random.integers(-128, 128, x.shape), x).astype(np.int8) for x in (a, b))
    if array.design.sparsity is not None:
        b = pruned(b, *array.design.sparsity)
    if seed % 2:
        return a, b, None
    return a, b, Requantization(
        bias=random.integers(-(2**31), 2**31, n) >> random.integers(0, 24, n), multiplier=random.integers(0, 2**16, n),
        shift=random.integers(0, 48, n), is_relu=bool(random.integers(2)),
    )  # fmt: skip


def check(array: Array, jobs: list[tuple[Any, Any, Requantization | None]], port: MemoryPort, simulator: str) -> None:
    """Every job on one circuit, one after another."""
    for (a, b, requantization), found in zip(
        jobs, array.simulate_many(jobs, port=port, simulator=simulator), strict=True
    ):
        sums = a.astype(np.int64) @ b.astype(np.int64)
        assert (found.values == (sums if requantization is None else requantization.apply(sums))).all()
        is_raw = requantization is None
        assert found.cycles == array.cycles(a.shape[0], *b.shape, port=port, is_raw=is_raw) == found.model_cycles


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    array=arrays(), port=ports, seed=seeds, shape=st.tuples(st.integers(1, 9), st.integers(1, 18), st.integers(1, 9))
)
def test_a_circuit_step_by_step_gives_the_product_in_the_cycles_of_the_model(
    array: Array, port: MemoryPort, seed: int, shape: tuple[int, int, int]
) -> None:
    check(array, [product(array, shape, seed), product(array, (2, 3, 2), seed + 1)], port, "amaranth")


COMPILED = [
    Array(2, 2), Array(2, 2, "os"), Array(3, 5, is_pipelined=True, tile=16), Array(5, 3, "os", tile=8, left_slots=2),
    Array(4, 4), Array(4, 4, "os", is_pipelined=True), Array(8, 8, is_pipelined=True, port_bytes=16, lanes=2),
    Array(8, 8, "os", port_bytes=4), Array(6, 7, sparsity=(2, 4)), Array(8, 8, sparsity=(2, 4), is_pipelined=True),
    Array(16, 16, port_bytes=16, lanes=4), Array(16, 16, "os", port_bytes=32, lanes=8, is_pipelined=True),
    Array(7, 2, is_pipelined=True, tile=8), Array(2, 16, "os", port_bytes=4), Array(16, 3, "os", is_pipelined=True),
    Array(3, 13, tile=32, left_slots=4), Array(12, 9, sparsity=(1, 2), port_bytes=32, lanes=2),
    Array(8, 5, sparsity=(4, 8), tile=16, is_pipelined=True), Array(9, 14, "os", tile=16, left_slots=16),
    Array(10, 10, "os", port_bytes=64, lanes=16), Array(11, 6, port_bytes=4), Array(16, 4, sparsity=(1, 4), tile=16),
    Array(5, 12, "os", is_pipelined=True, port_bytes=16, lanes=4), Array(14, 15, is_pipelined=True, port_bytes=32),
]  # fmt: skip
"""Every size from 2 to 16 as rows or columns, every option, and memory words of one to sixteen beats."""


def drawn_shapes(design: ArrayDesign, random: Any) -> list[tuple[int, int, int]]:
    """Shapes of eight products: a single element, tiles that are full, or one too many, and random ones.

    The random ones have up to three tiles along each axis and more along k than the left buffer holds; one has many
    tiles along one axis.
    """
    m, k = (design.tile, design.depth) if design.dataflow == "ws" else (design.rows, design.tile)
    tile = np.array([m, k, design.cols])
    most = tile * [3, design.left_slots + 3, 3]
    full = tile * random.integers(1, [3, design.left_slots + 2, 3])
    many = np.where(np.arange(3) == random.integers(3), tile * random.integers(8, 20), random.integers(1, tile + 1))
    some = [random.integers(1, random.integers(2, most + 1)) for _ in range(4)]
    return [tuple(int(x) for x in shape) for shape in ([1, 1, 1], full, full + 1, many, *some)]


@pytest.mark.slow
@pytest.mark.parametrize("array", COMPILED, ids=repr)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(port=ports, seed=seeds)
def test_a_compiled_circuit_gives_random_products_in_the_cycles_of_the_model(
    array: Array, port: MemoryPort, seed: int
) -> None:
    from aisys.rtl.simulation import compiled

    if not compiled.is_installed():
        pytest.skip("Verilator is not installed")
    shapes = drawn_shapes(array.design, np.random.default_rng(seed))
    check(array, [product(array, shape, seed + i) for i, shape in enumerate(shapes)], port, "verilator")


@pytest.mark.parametrize("dataflow", ["ws", "os"])
def test_a_memory_that_answers_as_it_likes_changes_the_cycles_and_no_result(
    dataflow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beats with random gaps, writes that wait at random: what `cycles` does not model is still computed right."""
    from aisys.rtl.simulation import step_by_step

    random = np.random.default_rng(5)
    gaps, takes = random.integers(0, 9, 5000) ** 2 // 20, random.random(5000) < 0.4

    class Irregular(step_by_step._Memory):
        def ask(self, cycle: int, address: int, num_beats: int) -> None:
            for place in range(address, address + num_beats):
                self.last_read = max(cycle + 1, self.last_read + 1) + int(gaps[place])
                self.due.append((self.last_read, place))

        def is_ready(self, cycle: int) -> bool:
            return bool(takes[cycle])

    monkeypatch.setattr(step_by_step, "_Memory", Irregular)
    array = Array(3, 3, dataflow, tile=4, left_slots=2)
    for seed, shape in enumerate(((1, 1, 1), (9, 14, 7), (4, 9, 3))):
        a, b, given = product(array, shape, seed)
        sums = a.astype(np.int64) @ b.astype(np.int64)
        found = array.simulate(a, b, given, port=MemoryPort(latency_cycles=1), simulator="amaranth")
        assert (found.values == (sums if given is None else given.apply(sums))).all()
        assert found.cycles > found.model_cycles


def test_the_compiled_recurrence_equals_the_plain_one() -> None:
    from aisys.cost.generated_array.cycles import _compiled, _counts, _timing, _walk
    from aisys.cost.generated_array.design import tiling

    for dataflow in ("ws", "os"):
        design = ArrayDesign(rows=3, cols=2, dataflow=dataflow, tile=4, left_slots=2)
        for shape in ((1, 1, 1), (9, 40, 7), (30, 2, 11)):
            cut = tiling(design, *shape)
            counts, timing = _counts(cut), _timing(design, MemoryPort(cycles_per_beat=3), True)
            assert _compiled()(counts, timing) == _walk(counts, timing)


@pytest.mark.parametrize("dataflow", ["ws", "os"])
def test_an_element_with_a_late_mark_computes_something_else(dataflow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The skew of the marks is tight: a cycle too late, and results differ, so the cycles could not be fewer."""
    from aisys.rtl.circuit import grid

    array = Array(3, 3, dataflow, tile=4, left_slots=2)
    jobs = [product(array, (9, 9, 4), 1)]
    check(array, jobs, MemoryPort(), "amaranth")
    kept = grid.delayed
    late = {"ws": "swap", "os": "first"}[dataflow]
    monkeypatch.setattr(
        grid, "delayed", lambda m, signal, num: kept(m, signal, num + (getattr(signal, "name", "") == late))
    )
    a, b, _ = jobs[0]
    found = array.simulate(a, b, simulator="amaranth")
    assert (found.values != a.astype(np.int64) @ b.astype(np.int64)).any()


def test_the_printed_examples_of_generated_hardware_hold() -> None:
    for name in ("array", "requantization"):
        failed, tried = doctest.testmod(import_module(f"aisys.rtl.{name}"))
        assert tried
        assert not failed


def test_a_faster_memory_is_never_slower() -> None:
    """More beats per cycle, and words that take fewer beats. Not latency alone: it may reorder waits."""
    array = Array(4, 4)
    for shape in ((64, 64, 64), (5, 200, 9), (130, 7, 33)):
        by_rate = [array.cycles(*shape, port=MemoryPort(cycles_per_beat=rate)) for rate in (1, 2, 4, 8)]
        assert by_rate == sorted(by_rate)
        wide = replace(array.design, port_bytes=16)
        assert Array(4, 4, port_bytes=wide.port_bytes).cycles(*shape) <= array.cycles(*shape)
