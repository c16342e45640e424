"""The mapper on machines of three levels, against random mappings of them: what stays inside fan-outs, and windows."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from math import inf, prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aisys
from aisys.cost import cost as price
from aisys.cost.loop_nest import Einsum, Hierarchy, Keep, Level, Loop, Mapping, conv, evaluate, matmul
from aisys.cost.loop_nest.optimum import objective_of, optimum
from aisys.frozen import FrozenMap
from aisys.ir import OpTable
from aisys.machine import SpatialArray

ROLES = ("input", "weight", "output")
NUM_SAMPLED = 1000


def machine(random: np.random.Generator) -> Hierarchy:
    """DRAM, a shared buffer with units of a buffer each, and up to two multipliers in each."""

    def level(name: str, scale: float, **fields: object) -> Level:
        ports = {f"{way}_bits_per_cycle": float(random.choice([1, 4, 16, inf])) for way in ("read", "write")}
        joule = {f"{way}_joule_per_bit": float(random.choice([0.5, 1, 3, 10]) * scale) for way in WAYS}
        return Level(name=name, **ports, **joule, **fields)  # type: ignore[arg-type]  # drawn

    def one(*choices: object) -> object:
        return choices[random.integers(len(choices))]

    shares = bool(random.integers(2))
    net = dict(can_multicast=shares, can_reduce=shares)
    shared = level(
        "glb", 1.0, keeps=frozenset(one(("input", "output"), ("input",), ROLES)), capacity_bits=one(48, 96, inf),
        fanout=FrozenMap(y=one(1, 2, 4)), is_double_buffered=one(True, False), **net,
    )  # fmt: skip
    own = level(
        "pe", 0.1, keeps=frozenset(one(("weight",), ("weight", "output"), ROLES)), capacity_bits=one(24, 48, 96),
        fanout=FrozenMap(x=one(1, 2)), leak_joule_per_cycle=one(0.0, 0.5), **net,
    )  # fmt: skip
    return Hierarchy(name="three", levels=(level("dram", 10.0), shared, own), mac_joule=0.01)


WAYS = ("read", "write", "update")


def splits(extent: int, num: int) -> list[tuple[int, ...]]:
    """Every way to make `extent` of so many factors."""
    chosen = product([f for f in range(1, extent + 1) if extent % f == 0], repeat=num)
    return [factors for factors in chosen if prod(factors) == extent]


def sampled(einsum: Einsum, array: Hierarchy, random: np.random.Generator) -> Iterator[Mapping]:
    """Random mappings: any factors that divide, any loops in time in any order, anything kept where it may be."""
    _, glb, pe = array.levels
    dims = [d for d in einsum.dims if einsum.extents[d] > 1]
    ways = [splits(einsum.extents[d], 5) for d in dims]
    for _ in range(NUM_SAMPLED):
        chosen = [way[random.integers(len(way))] for way in ways]
        if prod(c[2] for c in chosen) > glb.fanout["y"] or prod(c[4] for c in chosen) > pe.fanout["x"]:
            continue
        loops = [
            [Loop(d, c[i], over) for d, c in zip(dims, chosen, strict=True) if c[i] > 1]
            for i, over in enumerate(("", "", "glb.y", "", "pe.x"))
        ]
        kept = [
            [Keep(level.name, (o.name,)) for o in einsum.operands if o.role in level.keeps and random.random() < 0.7]
            for level in (glb, pe)
        ]
        mixed = [list(random.permutation(np.array([*a, *b], object))) for a, b in zip(loops[1::2], kept, strict=True)]
        top = (Keep("dram", tuple(o.name for o in einsum.operands)), *random.permutation(np.array(loops[0], object)))
        yield Mapping((*top, *mixed[0], *loops[2], *mixed[1], *loops[4]))


def lingers(mapping: Mapping, einsum: Einsum) -> bool:
    """Whether a tile of a unit stays for some of the steps outside and not for all, which the search does not count."""
    for at, node in enumerate(mapping.nodes):
        if isinstance(node, Keep) and node.level == "pe":
            dims = einsum.operand(node.operands[0]).dims
            outside = [x.dim in dims for x in reversed(mapping.nodes[:at]) if isinstance(x, Loop) and not x.over]
            if outside and not outside[0] and any(outside):
                return True
    return False


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), objective=st.sampled_from(["energy", "latency"]))
def test_no_random_mapping_beats_the_optimum_by_more_than_the_gap(seed: int, objective: str) -> None:
    random = np.random.default_rng(seed)
    array, einsum = machine(random), matmul(m=int(random.choice([1, 2, 4])), n=4, k=int(random.choice([2, 3, 4])))
    best = optimum(einsum, array, objective_of(objective))
    reached = best.joule[0] if objective == "energy" else best.cycles[0]
    least = reached / (1 + best.certificate.gap) * (1 - 1e-9)
    for mapping in (one for one in sampled(einsum, array, random) if not lingers(one, einsum)):
        cost = evaluate(einsum, array, mapping)
        found = cost.energy_joule[0] if objective == "energy" else cost.cycles[0]
        assert found >= least or not cost.fits[0], str(mapping)


def three(**fields: object) -> Hierarchy:
    """DRAM, a buffer for inputs, and four units that keep weights."""
    glb = Level(
        name="glb", keeps=frozenset({"input"}), capacity_bits=64, fanout=FrozenMap(y=4), read_joule_per_bit=1.0,
        write_joule_per_bit=1.0,
    )  # fmt: skip
    pe = Level(name="pe", keeps=frozenset({"weight"}), capacity_bits=128, read_joule_per_bit=0.1, **fields)  # type: ignore[arg-type]  # any
    dram = Level(name="dram", read_joule_per_bit=100.0, write_joule_per_bit=100.0, update_joule_per_bit=100.0)
    return Hierarchy(name="three", levels=(dram, glb, pe), mac_joule=0.0)


def test_weights_that_fit_the_units_come_once_however_inputs_are_cut() -> None:
    """16 x 4 weights in four units of 16; the buffer holds 8 of 128 inputs, so that loops over m stand outside it."""
    einsum, array = matmul(m=32, k=4, n=16), three(write_joule_per_bit=0.1)
    best = optimum(einsum, array, "energy")
    cost = evaluate(einsum, array, best.best)
    assert cost.accesses["dram", "weight"].reads[0] == 64
    assert best.certificate.is_optimal
    assert best.certificate.spared == 0


def test_units_share_what_lies_along_diagonals_of_a_window() -> None:
    """Four rows of outputs and three of a filter over twelve units: 6 different inputs of 12, once per channel."""
    row = Level(
        name="pe", keeps=frozenset({"weight"}), fanout=FrozenMap(x=4, y=3), reuse=FrozenMap(x="weight", y="output"),
        capacity_bits=8 * 3 * 4,
    )  # fmt: skip
    dram = Level(name="dram", read_joule_per_bit=1.0, read_bits_per_cycle=8.0)
    array = Hierarchy(name="rows", levels=(dram, row), mac_joule=0.0)
    einsum = conv(dict(n=1, g=1, m=1, c=4, p=4, q=1, r=3, s=1), stride=1, dilation=1, bits=8)
    best = optimum(einsum, array, "latency")
    cost = evaluate(einsum, array, best.best)
    assert cost.accesses["dram", "input"].reads[0] == 6 * 4
    assert best.cycles[0] == 6 * 4 + 3 * 4 + 4 * 3  # inputs, weights, and sums that come back for three more channels
    assert best.certificate.is_optimal
    assert best.certificate.spared == 0


def test_a_single_buffer_waits_for_each_of_its_tiles() -> None:
    """One tile of everything: 128 operands come, then all the work is done, then 64 results leave."""
    dram = Level(name="dram", read_bits_per_cycle=8.0)
    keeps = dict(capacity_bits=1e6, write_bits_per_cycle=16.0, read_bits_per_cycle=64.0)
    costs = {}
    for is_double in (True, False):
        pe = Level(name="pe", is_double_buffered=is_double, **keeps)  # type: ignore[arg-type]  # numbers
        array = Hierarchy(name="one", levels=(dram, pe), mac_joule=0.0)
        best = optimum(matmul(m=8, n=8, k=8), array, "latency")
        assert best.certificate.is_optimal
        assert best.certificate.spared == 0
        costs[is_double] = best.cycles[0]
    assert costs[True] == 8 * 8 * 8
    assert costs[False] == 8 * 8 * 8 + 128 * 8 / 16 + 64 * 8 / 64


def test_an_op_takes_as_long_as_its_nest_where_a_buffer_is_single() -> None:
    """A product on simba-like whose weights lie in single buffers: the wait for them is part of its time."""
    device = aisys.device("simba-like")
    formats = dict.fromkeys(("a_dtype", "b_dtype", "out_dtype", "math"), "int8")
    ops = OpTable.of("matmul", batch=1, m=512, n=512, k=512, b_is_weight=True, **formats)
    array = device.architecture
    assert isinstance(array, SpatialArray)
    level = replace(array.levels["weight_buffer"], buffering="single")
    changed = replace(array, levels=FrozenMap({**array.levels, "weight_buffer": level}))
    single = replace(device, architecture=changed)
    machine = Hierarchy.of(single)
    cost = evaluate(matmul(m=512, n=512, k=512), machine, optimum(matmul(m=512, n=512, k=512), machine, "latency").best)
    slower = price(ops, single).time_s[0] - price(ops, device).time_s[0]
    assert cost.cycles[0] > cost.compute_cycles[0]
    assert slower == pytest.approx((cost.cycles[0] - cost.compute_cycles[0]) / machine.clock_hz)


def test_what_leaks_is_part_of_the_energy_that_is_searched_for() -> None:
    """With leakage the fastest nest has the least energy, without it the one with the least traffic."""
    dram = Level(name="dram", read_joule_per_bit=1.0, read_bits_per_cycle=1.0, update_joule_per_bit=1.0)
    kept = dict(keeps=frozenset({"weight"}), capacity_bits=8 * 16, write_joule_per_bit=3.0)
    found = {}
    for leak in (0.0, 50.0):
        pe = Level(name="pe", fanout=FrozenMap(x=4), leak_joule_per_cycle=leak, **kept)  # type: ignore[arg-type]  # any
        array = Hierarchy(name="leaky", levels=(dram, pe), mac_joule=0.0)
        best = optimum(matmul(m=4, n=4, k=4), array, "energy")
        cost = evaluate(matmul(m=4, n=4, k=4), array, best.best)
        assert best.joule[0] == cost.energy_joule[0]
        found[leak] = best.cycles[0]
    assert found[50.0] <= found[0.0]
