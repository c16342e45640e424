"""The mapper against a search of every mapping, on machines and einsums small enough for one."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, combinations, permutations, product
from math import inf, prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisys.cost.loop_nest import Einsum, Hierarchy, Keep, Level, Loop, Mapping, MappingTable, check, evaluate, matmul
from aisys.cost.loop_nest.mapper import front
from aisys.cost.loop_nest.optimum import nest, objective_of, optimum
from aisys.cost.loop_nest.space import Space
from aisys.cost.loop_nest.totals import totals
from aisys.cost.loop_nest.unit_steps import widest
from aisys.frozen import FrozenMap
from aisys.ir.density import NOfM, Uniform
from aisys.ir.sparse_format import Bitmap

energies = st.sampled_from([0.5, 1.0, 3.0, 10.0])
bandwidths = st.sampled_from([1.0, 4.0, 16.0, inf])
extents = st.sampled_from([1, 2, 3, 5, 6, 7])
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
        capacity_bits=draw(st.sampled_from([24, 48, 96, inf])), fanout=FrozenMap(x=draw(st.sampled_from([1, 2, 3, 4]))),
        can_multicast=shares, can_reduce=shares, read_joule_per_bit=draw(energies) / 10,
        write_joule_per_bit=draw(energies) / 10, read_bits_per_cycle=draw(bandwidths),
        write_bits_per_cycle=draw(bandwidths), update_joule_per_bit=draw(energies) / 10,
        is_double_buffered=draw(st.booleans()), leak_joule_per_cycle=draw(st.sampled_from([0.0, 0.2, 5.0])),
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
    best = optimum(einsum, machine, pareto=True)
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
    best = optimum(einsum, sparse, pareto=True)
    joule, cycles = np.array(best.joule) * (1 - 1e-9), np.array(best.cycles) * (1 - 1e-9)
    for table in every_table(einsum, sparse):
        cost = evaluate(einsum, sparse, table)
        reached = (joule[None, :] <= cost.energy_joule[:, None]) & (cycles[None, :] <= cost.cycles[:, None])
        assert (reached.any(axis=1) | ~cost.fits).all(), str(table.nest)


def uneven_tables(einsum: Einsum, machine: Hierarchy) -> Iterator[MappingTable]:
    """Every mapping of two dims: each cut in time outside and inside, and spread, with all tile sizes of the space."""
    space = Space(einsum=einsum, machine=machine, is_cut=True)
    names = tuple(o.name for o in einsum.operands)
    dims = [d for d in einsum.dims if einsum.extents[d] > 1]
    chains = {d: list(cut_chains(space, einsum.dims.index(d))) for d in dims}
    can = [o.name for o in einsum.operands if o.role in machine.levels[1].keeps]
    for keeps in chain.from_iterable(combinations(can, size) for size in range(len(can) + 1)):
        middle = [*(Loop(d) for d in dims for _ in range(2)), *(Keep("buffer", (name,)) for name in keeps)]
        for order in dict.fromkeys(permutations(middle)):
            nest = Mapping((Keep("dram", names), *order, *(Loop(d, 1, "buffer.x") for d in dims)))
            rows = []
            for chosen in product(*chains.values()):
                left = {d: list(factors) for d, factors in zip(dims, chosen, strict=True)}
                if prod(factors[2] for factors in left.values()) <= machine.levels[1].fanout["x"]:
                    rows.append([left[x.dim].pop(0) for x in nest.loops])
            yield MappingTable.of(nest, rows)


def cut_chains(space: Space, d: int) -> Iterator[tuple[int, int, int]]:
    """Factors of dim d: in time outside, in time inside, and spread; tiles are made of whole smaller ones."""
    sizes, contained = space.sizes[d], space.contained[d]
    for i, j in product(range(len(sizes)), repeat=2):
        if contained[0, i] and contained[i, j]:
            yield (int(-(-sizes[-1] // sizes[j])), int(-(-sizes[j] // sizes[i])), int(sizes[i]))


def towers(machine: Hierarchy, units: int) -> Hierarchy:
    """The same below as many units of the outer level, which share what they ask for as those inside do."""
    outer, inner = machine.levels
    outer = replace(outer, fanout=FrozenMap(y=units), can_multicast=inner.can_multicast, can_reduce=inner.can_reduce)
    return replace(machine, levels=(outer, inner))


def tower_tables(einsum: Einsum, machine: Hierarchy) -> Iterator[MappingTable]:
    """Every mapping of two dims: cut in time outside, spread over y, cut in time inside, and spread over x.

    Where factors do not divide, only those whose loops stand where `space` has them: elsewhere they need not cost more.
    """
    space = Space(einsum=einsum, machine=machine, is_cut=True)
    dims = [d for d in einsum.dims if einsum.extents[d] > 1]
    chains = [list(tower_chains(space, einsum.dims.index(d))) for d in dims]
    can = [o.name for o in einsum.operands if o.role in machine.levels[1].keeps]
    top = Keep("dram", tuple(o.name for o in einsum.operands))
    ends = [[Loop(d, 1, over) for d in dims] for over in ("dram.y", "buffer.x")]
    units = [(1, machine.levels[0].num_children), (3, machine.levels[1].num_children)]
    for keeps in chain.from_iterable(combinations(can, size) for size in range(len(can) + 1)):
        middle = [*(Loop(d) for d in dims), *(Keep("buffer", (name,)) for name in keeps)]
        for outside, inside in product(permutations([Loop(d) for d in dims]), permutations(middle)):
            nest = Mapping((top, *outside, *ends[0], *inside, *ends[1]))
            rows = []
            for chosen in product(*chains):
                left = {d: list(factors) for d, factors in zip(dims, chosen, strict=True)}
                is_even = all(prod(factors) == einsum.extents[d] for d, factors in left.items())
                fits = all(prod(factors[i] for factors in left.values()) <= most for i, most in units)
                row = [left[x.dim].pop(0) for x in nest.loops]
                if fits and (is_even or is_canonical(einsum, nest.with_factors(row))):
                    rows.append(row)
            if rows:
                yield MappingTable.of(nest, rows)


def is_canonical(einsum: Einsum, nest: Mapping) -> bool:
    """Whether each loop in time leaves the tile kept outside it alone and moves the next one inside; see `space`."""
    kept: list[str] = []
    waiting: list[str] = []
    for node in nest.nodes[1:]:
        if isinstance(node, Keep):
            if any(d not in einsum.operand(node.operands[0]).dims for d in waiting):
                return False
            kept, waiting = [*kept, node.operands[0]], []
        elif node.over and node.over.startswith("dram"):
            kept = [*kept, ""]
        elif not node.over and node.factor > 1:
            if kept and (kept[-1] == "" or node.dim in einsum.operand(kept[-1]).dims):
                return False
            waiting.append(node.dim)
    return True


def tower_chains(space: Space, d: int) -> Iterator[tuple[int, int, int, int]]:
    """Factors of dim d: in time outside, spread over y, in time inside, and spread over x.

    A reduced dim is not spread over x and then unevenly over y: the space leaves that out.
    """
    sizes, contained = space.sizes[d], space.contained[d]
    extent = int(sizes[-1])
    is_reduced = d not in space.moves[space.einsum.output.name]
    for i, j, k in product(range(len(sizes)), repeat=3):
        if contained[0, i] and contained[i, j] and contained[j, k]:
            y = int(-(-sizes[k] // sizes[j]))
            if not (is_reduced and i > 0 and y * sizes[j] > extent):
                yield (int(-(-extent // sizes[k])), y, int(-(-sizes[j] // sizes[i])), int(sizes[i]))


uneven = st.sampled_from([3, 4, 5, 6, 7])


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(
    machine=machines(), units=st.sampled_from([2, 3]), first=st.sampled_from([5, 7]), second=st.sampled_from([2, 3]),
    missing=st.sampled_from("mnk"), is_turned=st.booleans(),
)  # fmt: skip
def test_no_uneven_mapping_over_two_fan_outs_beats_the_front(
    machine: Hierarchy, units: int, first: int, second: int, missing: str, is_turned: bool
) -> None:
    left = [first, second] if is_turned else [second, first]
    einsum = matmul(**{d: 1 if d == missing else left.pop() for d in "mnk"})
    tower = towers(machine, units)
    counted = front(Space(einsum=einsum, machine=tower, is_cut=True))
    joule, cycles = counted.joule * (1 - 1e-9), counted.cycles * (1 - 1e-9)
    for table in tower_tables(einsum, tower):
        cost = evaluate(einsum, tower, table)
        reached = (joule[None, :] <= cost.energy_joule[:, None]) & (cycles[None, :] <= cost.cycles[:, None])
        assert (reached.any(axis=1) | ~cost.fits).all(), str(table.nest)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(machine=machines(), first=uneven, second=uneven, missing=st.sampled_from("mnk"))
def test_no_mapping_with_uneven_tiles_beats_the_front(
    machine: Hierarchy, first: int, second: int, missing: str
) -> None:
    left = [first, second]
    einsum = matmul(**{d: 1 if d == missing else left.pop() for d in "mnk"})
    best = optimum(einsum, machine, pareto=True)
    joule, cycles = np.array(best.joule) * (1 - 1e-9), np.array(best.cycles) * (1 - 1e-9)
    for table in uneven_tables(einsum, machine):
        cost = evaluate(einsum, machine, table)
        reached = (joule[None, :] <= cost.energy_joule[:, None]) & (cycles[None, :] <= cost.cycles[:, None])
        assert (reached.any(axis=1) | ~cost.fits).all(), str(table.nest)


@settings(max_examples=4, deadline=None)
@given(machine=machines(), m=extents, n=extents, k=extents)
def test_each_objective_is_the_best_of_the_front(machine: Hierarchy, m: int, n: int, k: int) -> None:
    einsum = matmul(m=m, n=n, k=k)
    every = optimum(einsum, machine, pareto=True)
    for objective, costs in (
        ("energy", every.joule), ("latency", every.cycles),
        ("edp", tuple(j * c for j, c in zip(every.joule, every.cycles, strict=True))),
    ):  # fmt: skip
        best = optimum(einsum, machine, objective_of(objective))
        found = {"energy": best.joule[0], "latency": best.cycles[0], "edp": best.joule[0] * best.cycles[0]}
        assert abs(found[objective] / min(costs) - 1) < 1e-9


@settings(max_examples=12, deadline=None)
@given(machine=machines(), m=extents, n=extents, k=extents, units=st.sampled_from([1, 2, 3]))
def test_the_mapper_says_what_the_evaluator_finds(machine: Hierarchy, m: int, n: int, k: int, units: int) -> None:
    einsum, machine = matmul(m=m, n=n, k=k), towers(machine, units)
    space = Space(einsum=einsum, machine=machine, is_cut=True)
    found = front(space)
    for (table, row), joule, cycles in zip(found.nests, found.joule, found.cycles, strict=True):
        mapping = nest(space, table, row)
        check(mapping, einsum, machine)
        cost = evaluate(einsum, machine, mapping)
        assert cost.fits[0]
        if units == 1:
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
    buffer = replace(machine.levels[1], is_double_buffered=True, leak_joule_per_cycle=0.0)
    machine = replace(machine, levels=(machine.levels[0], buffer))
    cost, (joule, cycles, is_fit) = evaluate(einsum, machine, table), totals(einsum, machine, table)
    assert np.allclose(joule, cost.energy_joule, rtol=1e-12)
    assert np.allclose(cycles, cost.cycles, rtol=1e-12)
    assert (is_fit == cost.fits).all()


def test_fan_outs_widen_a_nest_by_the_choices_that_no_other_has_more_of() -> None:
    one, two = [(1, 1), (2, 1), (4, 1), (2, 2)], [(1, 1), (1, 3)]
    assert widest([one, two], 2, (4, 5)).tolist() == [[2, 5], [4, 3]]
    assert widest([one, []], 2, (4, 5)).tolist() == [[1, 1]]
