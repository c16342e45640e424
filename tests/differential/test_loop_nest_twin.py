"""The vectorised loop nest counts what a walk over every step and unit counts."""

from math import prod

from hypothesis import given, settings
from hypothesis import strategies as st

from aisys.cost.loop_nest import (
    Einsum,
    Hierarchy,
    Keep,
    Level,
    Loop,
    Mapping,
    MappingTable,
    Operand,
    attention,
    check,
    conv,
    evaluate,
    matmul,
    parse,
)  # fmt: skip
from aisys.cost.loop_nest.reference import count, steps
from aisys.frozen import FrozenMap

FIELDS = ("reads", "fills", "updates", "drains", "tile")


def machine(*, multicast: bool, reduce: bool, drain: bool) -> Hierarchy:
    def level(name: str, fanout: dict[str, int]) -> Level:
        return Level(name=name, fanout=FrozenMap(fanout), can_multicast=multicast, can_reduce=reduce)

    levels = (level("dram", {}), level("buffer", {"rows": 6, "cols": 6}), level("lane", {"x": 6}), level("spad", {}))
    return Hierarchy(name="toy", levels=levels, mac_joule=1.0, reads_on_drain=drain)


MACHINES = st.builds(machine, multicast=st.booleans(), reduce=st.booleans(), drain=st.booleans())


def line(*, k: int, p: int, r: int, stride: int, dilation: int) -> Einsum:
    """A convolution of one dimension."""
    return Einsum(
        name="line", extents=FrozenMap(k=k, p=p, r=r),
        operands=(
            Operand(name="input", role="input", ranks=(FrozenMap(p=stride, r=dilation),)),
            Operand(name="weight", role="weight", ranks=(FrozenMap(k=1), FrozenMap(r=1))),
            Operand(name="output", role="output", ranks=(FrozenMap(k=1), FrozenMap(p=1))),
        ),
    )  # fmt: skip


DIMS = {"matmul": "bmnk", "line": "kpr", "conv": "mcpr", "depthwise": "gpr", "attention": "hqtd"}
ZONES = ("", "buffer.", "", "lane.x", "", "")
"""Loops outside, the array, loops of a lane, its fan-out, loops outside the spad and inside it."""


@st.composite
def nests(draw: st.DrawFn, *, is_perfect: bool) -> tuple[Einsum, Mapping]:
    """An einsum and a mapping of it: any order and factors, operands bypass levels and sit at places of their own."""
    kind = draw(st.sampled_from(["line", "line", "conv", "depthwise", "matmul", "attention"]))
    zones: list[list[Loop]] = [[] for _ in ZONES]
    extents, work = {}, 1
    for dim in draw(st.permutations(DIMS[kind])):
        covered = 1
        for zone, over in enumerate(ZONES):
            factor = draw(st.sampled_from([1, 1, 2, 3]))
            factor = factor if work * factor <= 160 else 1
            over = f"buffer.{draw(st.sampled_from(['rows', 'cols']))}" if over == "buffer." else over
            if dim == "r" and over and not is_perfect:
                factor = 1  # clipped tiles along a diagonal are counted as full ones
            used = prod(loop.factor for loop in zones[zone] if loop.over == over) if over else 1
            factor = 1 if over and used * factor > 6 else factor
            zones[zone].append(Loop(dim, factor, over))
            covered, work = covered * factor, work * factor
        extents[dim] = covered if is_perfect else max(1, covered - draw(st.integers(0, 2)))
    einsum = made(kind, extents, draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    zones = [list(draw(st.permutations(zone))) for zone in zones]
    names = [operand.name for operand in einsum.operands]
    keeps = {level: [n for n in names if draw(st.booleans())] for level in ("buffer", "lane", "spad")}
    nodes: list[Keep | Loop] = [Keep("dram", tuple(names))]
    places = {name: draw(st.integers(0, len(zones[0]))) for name in keeps["buffer"]}
    for position in range(len(zones[0]) + 1):
        here = tuple(name for name in keeps["buffer"] if places[name] == position)
        nodes += [Keep("buffer", here)] if here else []
        nodes += zones[0][position : position + 1]
    nodes += zones[1]
    nodes += [Keep("lane", tuple(keeps["lane"]))] if keeps["lane"] else []
    nodes += zones[2] + zones[3] + zones[4]
    nodes += [Keep("spad", tuple(keeps["spad"]))] if keeps["spad"] else []
    return einsum, Mapping((*nodes, *zones[5]))


def made(kind: str, extents: dict[str, int], stride: int, dilation: int) -> Einsum:
    if kind == "matmul":
        return matmul(m=extents["m"], n=extents["n"], k=extents["k"], batch=extents["b"])
    if kind == "attention":
        return attention({**extents, "b": 1, "e": 1})[0]
    if kind == "line":
        return line(**extents, stride=stride, dilation=dilation)
    return conv(extents, stride=stride, dilation=dilation)


def agree(einsum: Einsum, found_on: Hierarchy, mapping: Mapping) -> None:
    check(mapping, einsum, found_on)
    fast, slow = evaluate(einsum, found_on, mapping), count(einsum, found_on, mapping)
    assert fast.compute_cycles[0] == steps(einsum, mapping), f"{einsum}\n{mapping}"
    assert set(fast.accesses) == set(slow)
    for key, counts in slow.items():
        got = {name: float(getattr(fast.accesses[key], name)[0]) for name in FIELDS}
        want = {name: float(counts[name]) for name in FIELDS}
        assert got == want, f"{key}: {got} against {want}\n{einsum}\n{mapping}"


@settings(max_examples=60, deadline=None)
@given(nests(is_perfect=True), MACHINES)
def test_perfect_factors_are_counted_as_a_walk_counts_them(nest: tuple[Einsum, Mapping], found_on: Hierarchy) -> None:
    agree(nest[0], found_on, nest[1])


@settings(max_examples=60, deadline=None)
@given(nests(is_perfect=False), MACHINES)
def test_factors_that_do_not_divide_are_counted_as_a_walk_counts_them(
    nest: tuple[Einsum, Mapping], found_on: Hierarchy
) -> None:
    agree(nest[0], found_on, nest[1])


@settings(max_examples=15, deadline=None)
@given(nests(is_perfect=False), MACHINES, st.data())
def test_many_mappings_cost_what_each_costs_alone(
    nest: tuple[Einsum, Mapping], found_on: Hierarchy, data: st.DataObject
) -> None:
    einsum, mapping = nest
    factors = [loop.factor for loop in mapping.loops]
    table = MappingTable.of(mapping, [factors, [2 * f for f in factors], factors])
    together = evaluate(einsum, found_on, table)
    for row in range(len(table)):
        alone = evaluate(einsum, found_on, table.mapping(row))
        assert together.energy_joule[row] == alone.energy_joule[0]
        assert together.cycles[row] == alone.cycles[0]


def test_rows_of_inputs_are_shared_along_the_diagonals_of_a_row_stationary_array() -> None:
    """Four output rows by three filter rows ask for six rows of inputs, not twelve; read twice, once per filter."""
    einsum = line(k=2, p=4, r=3, stride=1, dilation=1)
    found_on = machine(multicast=True, reduce=True, drain=False)
    nest = parse(
        "dram keeps input weight output\nbuffer keeps input weight output\nfor k: 2\nspread p over buffer.cols: 4\n"
        "spread r over buffer.rows: 3"
    )
    agree(einsum, found_on, nest)
    assert evaluate(einsum, found_on, nest).accesses["buffer", "input"].reads[0] == 12
