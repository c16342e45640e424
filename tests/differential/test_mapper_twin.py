"""The mapper against a search of every mapping, on machines and einsums small enough for one."""

from collections.abc import Iterator
from itertools import chain, combinations, permutations, product
from math import inf, prod

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from aisys.cost.loop_nest import Einsum, Hierarchy, Keep, Level, Loop, Mapping, MappingTable, check, evaluate, matmul
from aisys.cost.loop_nest.optimum import optimum
from aisys.cost.loop_nest.totals import totals
from aisys.frozen import FrozenMap
from aisys.ir.density import NOfM, Uniform
from aisys.ir.sparse_format import Bitmap

energies = st.sampled_from([0.5, 1.0, 3.0, 10.0])
bandwidths = st.sampled_from([1.0, 4.0, 16.0, inf])
extents = st.sampled_from([1, 2, 3, 4, 6])
primes = st.sampled_from([1, 2, 3])


@st.composite
def machines(draw: st.DrawFn) -> Hierarchy:
    outer = Level(
        name="dram", read_joule_per_bit=draw(energies), write_joule_per_bit=draw(energies),
        read_bits_per_cycle=draw(bandwidths), write_bits_per_cycle=draw(bandwidths),
        has_shared_port=draw(st.booleans()), update_joule_per_bit=draw(energies),
    )  # fmt: skip
    shares = draw(st.booleans())
    inner = Level(
        name="buffer", keeps=frozenset(draw(st.sampled_from([("input", "weight", "output"), ("weight", "output")]))),
        capacity_bits=draw(st.sampled_from([24, 48, 96, inf])), fanout=FrozenMap(x=draw(st.sampled_from([1, 2, 4]))),
        can_multicast=shares, can_reduce=shares, read_joule_per_bit=draw(energies) / 10,
        write_joule_per_bit=draw(energies) / 10, read_bits_per_cycle=draw(bandwidths),
        write_bits_per_cycle=draw(bandwidths), update_joule_per_bit=draw(energies) / 10,
    )  # fmt: skip
    return Hierarchy(name="small", levels=(outer, inner), mac_joule=draw(energies) / 20)


def every_table(einsum: Einsum, machine: Hierarchy) -> Iterator[MappingTable]:
    """Every mapping: prime extents have one loop each, in time or over the units; all orders, all that may be kept."""
    names = tuple(o.name for o in einsum.operands)
    dims = [d for d in einsum.dims if einsum.extents[d] > 1]
    can = [o.name for o in einsum.operands if o.role in machine.levels[1].keeps]
    spread = [Loop(d, 1, "buffer.x") for d in dims]
    for keeps in chain.from_iterable(combinations(can, size) for size in range(len(can) + 1)):
        middle = [*(Loop(d, 1) for d in dims), *(Keep("buffer", (name,)) for name in keeps)]
        for order in permutations(middle):
            nest = Mapping((Keep("dram", names), *order, *spread))
            rows = []
            for spatial in product((False, True), repeat=len(dims)):
                over = {d: einsum.extents[d] if is_spread else 1 for d, is_spread in zip(dims, spatial, strict=True)}
                if prod(over.values()) <= machine.levels[1].fanout["x"]:
                    rows.append([over[x.dim] if x.over else einsum.extents[x.dim] // over[x.dim] for x in nest.loops])
            yield MappingTable.of(nest, rows)


@settings(max_examples=4, deadline=None)
@given(machine=machines(), m=primes, n=primes, k=st.sampled_from([2, 3]))
def test_no_mapping_of_a_small_machine_beats_the_front(machine: Hierarchy, m: int, n: int, k: int) -> None:
    einsum = matmul(m=m, n=n, k=k)
    best = optimum(einsum, machine)
    joule, cycles = np.array(best.joule) * (1 - 1e-9), np.array(best.cycles) * (1 - 1e-9)
    for table in every_table(einsum, machine):
        cost = evaluate(einsum, machine, table)
        reached = (joule[None, :] <= cost.energy_joule[:, None]) & (cycles[None, :] <= cost.cycles[:, None])
        assert (reached.any(axis=1) | ~cost.fits).all(), str(table.nest)


@settings(max_examples=4, deadline=None)
@given(machine=machines(), m=primes, n=primes, looked=st.sampled_from(["weight", "input"]))
def test_no_mapping_beats_the_front_where_operands_have_zeros(machine: Hierarchy, m: int, n: int, looked: str) -> None:
    einsum = matmul(m=m, n=n, k=2).with_density("weight", NOfM(1, 4)).with_density("input", Uniform(0.6))
    sparse = machine.storing("weight", Bitmap()).storing("input", Bitmap(), "dram").looking(looked, "skip:1")
    best = optimum(einsum, sparse)
    joule, cycles = np.array(best.joule) * (1 - 1e-9), np.array(best.cycles) * (1 - 1e-9)
    for table in every_table(einsum, sparse):
        cost = evaluate(einsum, sparse, table)
        reached = (joule[None, :] <= cost.energy_joule[:, None]) & (cycles[None, :] <= cost.cycles[:, None])
        assert (reached.any(axis=1) | ~cost.fits).all(), str(table.nest)


@settings(max_examples=12, deadline=None)
@given(machine=machines(), m=extents, n=extents, k=extents)
def test_the_mapper_says_what_the_evaluator_finds(machine: Hierarchy, m: int, n: int, k: int) -> None:
    einsum = matmul(m=m, n=n, k=k)
    found = optimum(einsum, machine)
    for mapping, joule, cycles in zip(found.mappings, found.joule, found.cycles, strict=True):
        check(mapping, einsum, machine)
        cost = evaluate(einsum, machine, mapping)
        assert cost.fits[0]
        assert abs(cost.energy_joule[0] / joule - 1) < 1e-9
        assert abs(cost.cycles[0] / cycles - 1) < 1e-9


@settings(max_examples=20, deadline=None)
@given(machine=machines(), exponents=st.lists(st.lists(st.integers(0, 2), min_size=5, max_size=5), min_size=1))
def test_the_compiled_totals_are_the_evaluators(machine: Hierarchy, exponents: list[list[int]]) -> None:
    """Factors that divide: n is cut in two loops and spread, so that its three factors always give 64."""
    kept = tuple(o for o in ("input", "weight", "output") if o in machine.levels[1].keeps)
    nest = Mapping(
        (
            Keep("dram", ("input", "weight", "output")), Loop("n", 1), Loop("k", 1), Keep("buffer", kept[-1:]),
            Loop("m", 1), Loop("n", 1), Keep("buffer", kept[:-1]), Loop("n", 1, "buffer.x"), Loop("k", 1),
        )
    )  # fmt: skip
    einsum = matmul(m=4, n=64, k=16)
    rows = [[2**a, 2**b, 4, 2 ** (6 - a - c), 2**c, 16 // 2**b] for a, b, c, *_ in exponents]
    table = MappingTable.of(nest, rows)
    cost, (joule, cycles, is_fit) = evaluate(einsum, machine, table), totals(einsum, machine, table)
    assert np.allclose(joule, cost.energy_joule, rtol=1e-12)
    assert np.allclose(cycles, cost.cycles, rtol=1e-12)
    assert (is_fit == cost.fits).all()
