"""The vectorised loop nest counts what a walk over every step and unit counts."""

from math import prod

from hypothesis import given, settings
from hypothesis import strategies as st

from aisys.cost.loop_nest import (
    Einsum, Hierarchy, Keep, Level, Loop, Mapping, MappingTable, Operand, attention, check, conv, evaluate, matmul,
)  # fmt: skip
from aisys.cost.loop_nest.reference import count, steps
from aisys.frozen import FrozenMap

FIELDS = ("reads", "fills", "updates", "drains", "tile")


def machine(*, multicast: bool, reduce: bool, drain: bool) -> Hierarchy:
    def level(name: str, fanout: dict[str, int]) -> Level:
        return Level(name=name, fanout=FrozenMap(fanout), can_multicast=multicast, can_reduce=reduce)

    levels = (level("dram", {}), level("buffer", {"rows": 12, "cols": 12}), level("lane", {"x": 4}), level("spad", {}))
    return Hierarchy(name="toy", levels=levels, mac_joule=1.0, reads_on_drain=drain)


MACHINES = st.builds(machine, multicast=st.booleans(), reduce=st.booleans(), drain=st.booleans())


@st.composite
def einsums(draw: st.DrawFn) -> Einsum:
    small = st.integers(1, 4)
    kind = draw(st.sampled_from(["matmul", "conv", "depthwise", "attention", "line"]))
    if kind == "matmul":
        return matmul(m=draw(small), n=draw(small), k=draw(small), batch=draw(st.integers(1, 2)))
    if kind == "attention":
        return attention(heads=draw(st.integers(1, 2)), q_len=draw(small), kv_len=draw(small), head_dim=draw(small))[0]
    if kind == "line":
        ranks = (FrozenMap(p=draw(st.integers(1, 3)), r=draw(st.integers(1, 3))),)
        return Einsum(
            name="line", extents=FrozenMap(k=draw(st.integers(1, 3)), p=draw(st.integers(1, 9)), r=draw(st.integers(1, 5))),
            operands=(
                Operand(name="input", role="input", ranks=ranks),
                Operand(name="weight", role="weight", ranks=(FrozenMap(k=1), FrozenMap(r=1))),
                Operand(name="output", role="output", ranks=(FrozenMap(k=1), FrozenMap(p=1))),
            ),
        )  # fmt: skip
    is_depthwise = kind == "depthwise"
    return conv(
        out_channels=1 if is_depthwise else draw(st.integers(1, 3)), groups=draw(st.integers(1, 2)),
        in_channels=1 if is_depthwise else draw(st.integers(1, 2)), out_hw=(draw(st.integers(1, 5)), 1),
        kernel_hw=(draw(st.integers(1, 3)), 1), stride=draw(st.integers(1, 2)), dilation=draw(st.integers(1, 2)),
    )  # fmt: skip


def cut(draw: st.DrawFn, extent: int, pieces: int, *, is_perfect: bool) -> list[int]:
    """Factors whose product is the extent, or at least that."""
    factors: list[int] = []
    for left in reversed(range(pieces)):
        covered = prod(factors)
        rest = -(-extent // covered)
        if is_perfect:
            rest = extent // covered
            choices = [f for f in range(1, rest + 1) if rest % f == 0]
            factors.append(rest if not left else draw(st.sampled_from(choices)))
        else:
            factors.append(rest if not left else draw(st.integers(1, rest)))
    return factors


@st.composite
def mappings(draw: st.DrawFn, einsum: Einsum, *, is_perfect: bool) -> Mapping:
    """Any order and any factors; operands bypass the inner levels as they like, each at its own place of the nest."""
    zones: list[list[Loop]] = [[] for _ in range(6)]
    for dim, extent in einsum.extents.items():
        overs = ["", draw(st.sampled_from(["buffer.rows", "buffer.cols"])), "", "lane.x", "", ""]
        allowed = [1, 2, 1, 2, 1, 1]
        factors = cut(draw, extent, 6, is_perfect=is_perfect)
        order = draw(st.permutations(range(6)))
        for zone, factor in zip(order, factors, strict=True):
            over = overs[zone]
            if over and factor > allowed[zone]:
                zones[4].append(Loop(dim, factor))
            elif not over or len(zones[zone]) < 2:
                zones[zone].append(Loop(dim, factor, over))
            else:
                zones[4].append(Loop(dim, factor))
    zones = [draw(st.permutations(zone)) for zone in zones]
    names = [operand.name for operand in einsum.operands]
    kept = {level: [n for n in names if draw(st.booleans())] for level in ("buffer", "lane", "spad")}
    nodes: list[Keep | Loop] = [Keep("dram", tuple(names))]
    split = draw(st.integers(0, len(zones[0])))
    nodes += zones[0][:split]
    first, second = kept["buffer"][:1], kept["buffer"][1:]
    nodes += [Keep("buffer", tuple(first))] if first else []
    nodes += zones[0][split:]
    nodes += [Keep("buffer", tuple(second))] if second else []
    for zone, after in ((zones[1], kept["lane"]), (zones[2] + zones[3], kept["spad"]), (zones[4] + zones[5], [])):
        level = "lane" if zone is zones[1] else "spad"
        nodes += zone
        nodes += [Keep(level, tuple(after))] if after else []
    return Mapping(tuple(nodes))


def agree(einsum: Einsum, found_on: Hierarchy, mapping: Mapping) -> None:
    check(mapping, einsum, found_on)
    fast, slow = evaluate(einsum, found_on, mapping), count(einsum, found_on, mapping)
    assert fast.compute_cycles[0] == steps(einsum, mapping), f"{einsum}\n{mapping}"
    assert set(fast.accesses) == set(slow)
    for key, counts in slow.items():
        got = {name: float(getattr(fast.accesses[key], name)[0]) for name in FIELDS}
        want = {name: float(counts[name]) for name in FIELDS}
        assert got == want, f"{key}: {got} against {want}\n{einsum}\n{mapping}"


@settings(max_examples=150, deadline=None)
@given(st.data(), MACHINES)
def test_perfect_factors_are_counted_as_a_walk_counts_them(data: st.DataObject, found_on: Hierarchy) -> None:
    einsum = data.draw(einsums())
    agree(einsum, found_on, data.draw(mappings(einsum, is_perfect=True)))


@settings(max_examples=150, deadline=None)
@given(st.data(), MACHINES)
def test_factors_that_do_not_divide_are_counted_as_a_walk_counts_them(data: st.DataObject, found_on: Hierarchy) -> None:
    einsum = data.draw(einsums())
    agree(einsum, found_on, data.draw(mappings(einsum, is_perfect=False)))


@settings(max_examples=30, deadline=None)
@given(st.data(), MACHINES)
def test_many_mappings_cost_what_each_costs_alone(data: st.DataObject, found_on: Hierarchy) -> None:
    einsum = data.draw(einsums())
    nest = data.draw(mappings(einsum, is_perfect=True))
    rows = [[loop.factor for loop in nest.loops], [einsum.extents[loop.dim] for loop in nest.loops]]
    table = MappingTable.of(nest, rows)
    together = evaluate(einsum, found_on, table)
    for row in range(len(rows)):
        alone = evaluate(einsum, found_on, table.mapping(row))
        assert together.energy_joule[row] == alone.energy_joule[0]
        assert together.cycles[row] == alone.cycles[0]
