"""Formats, gating and skipping in a loop nest: what really encoding a sparse tensor and walking its product counts."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisys.cost.loop_nest import Hierarchy, Level, MappingTable, Zeros, evaluate, matmul, parse, reference
from aisys.cost.loop_nest.optimum import optimum
from aisys.cost.loop_nest.pieces import places
from aisys.errors import AisysError
from aisys.frozen import FrozenMap
from aisys.ir.density import Blocks, Histogram, NOfM, Uniform
from aisys.ir.sparse_format import Bitmap, Csr, Grouped, Rlc

M, N, K = 6, 8, 16
PRODUCT = matmul(m=M, n=N, k=K)
NEST = parse("""
dram keeps input weight output
for k: 2
  glb keeps weight
  for m: 2
    for n: 2
      spread n over glb.x: 2
        spad keeps input weight output
        for n: 2
          for k: 8
            for m: 3
""")
seeds = st.integers(0, 2**32 - 1)


def machine(zeros=None, formats=None, **inner) -> Hierarchy:
    """formats: level to the format of weights there."""
    given = {name: FrozenMap(weight=form) for name, form in (formats or {}).items()}
    levels = (
        Level(name="dram", read_joule_per_bit=5.0, write_joule_per_bit=7.0, read_bits_per_cycle=4.0),
        Level(name="glb", fanout=FrozenMap(x=2), read_joule_per_bit=2.0, write_joule_per_bit=2.5),
        Level(name="spad", read_joule_per_bit=1.0, write_joule_per_bit=3.0, update_joule_per_bit=2.0, **inner),
    )
    levels = tuple(replace(one, formats=given.get(one.name, one.formats)) for one in levels)
    return Hierarchy(name="toy", levels=levels, mac_joule=11.0, zeros=FrozenMap(zeros or {}))


def weights(seed: int, density: float) -> np.ndarray:
    """[n, k], as they are stored: rows along the sum."""
    random = np.random.default_rng(seed)
    return random.choice([-8, -3, 1, 7], (N, K)) * (random.random((N, K)) < density)


def piece(matrix: np.ndarray, tiles) -> np.ndarray:
    """The part of the matrix that a set of elements (batch, k, n) spans."""
    points = np.array(sorted(set().union(*tiles)))
    return matrix[points[:, 2].min() : points[:, 2].max() + 1, points[:, 1].min() : points[:, 1].max() + 1]


def really_moved(matrix, form, place: int) -> tuple[int, int]:
    """Bits read from one level towards the next: every piece that is asked for is encoded; and elements in them."""
    operand, kept = PRODUCT.operand("weight"), places(NEST, PRODUCT.operand("weight"))
    outer, inner = kept[place][1], kept[place + 1][1]
    asked: dict = {}
    for visit in reference._visits(PRODUCT, NEST.loops, operand, inner):
        step = tuple(i for i, loop in zip(visit.index, NEST.loops, strict=False) if not loop.is_spatial)
        unit = tuple(i for i, loop in zip(visit.index[:outer], NEST.loops, strict=False) if loop.is_spatial)
        if visit.fetched:
            asked.setdefault((step, unit), []).append(visit.tile)
    pieces = [piece(matrix, tiles) for tiles in asked.values()]
    return sum(len(form.encode(one, 8)) for one in pieces), sum(one.size for one in pieces)


@pytest.mark.parametrize("form", [Bitmap(), Csr(), Rlc(2), Rlc(4)], ids=str)
@given(seeds, st.sampled_from([0.05, 0.3, 0.9]))
@settings(deadline=None, max_examples=15)
def test_what_moves_is_what_encoding_every_piece_takes(form, seed, density):
    matrix = weights(seed, density)
    einsum = PRODUCT.with_density("weight", Histogram.of(matrix))
    cost = evaluate(einsum, machine(formats=dict.fromkeys(("dram", "glb", "spad"), form)), NEST)
    for place, level in enumerate(("dram", "glb")):
        bits, elements = really_moved(matrix, form, place)
        reads = float(cost.accesses[level, "weight"].reads[0])
        assert reads == elements
        assert float(cost.element_bits[level, "weight"].flat[0]) * reads == pytest.approx(bits)


def test_a_level_stores_the_pieces_that_it_sends():
    """The buffer holds half of k and all of n, in four pieces of 4 rows; a scratchpad its own 2 rows, as one piece."""
    formats = {"dram": Rlc(3), "glb": Csr(), "spad": Rlc(2)}
    cost = evaluate(PRODUCT.with_density("weight", Uniform(0.25)), machine(formats=formats), NEST)
    pointers, column = 6 * 5, 3
    assert cost.used_bits["glb"] == pytest.approx(2 * (pointers + 32 * 0.25 * (column + 8)))
    assert cost.element_bits["spad", "weight"] * 16 == pytest.approx(Rlc(2).expected_bits((2, 8), Uniform(0.25), 8))
    assert cost.element_bits["dram", "weight"] * 64 == pytest.approx(Rlc(3).expected_bits((8, 8), Uniform(0.25), 8))


@pytest.mark.parametrize(
    ("form", "density", "bits"),
    [
        (Bitmap(), Uniform(0.3), 1 + 0.3 * 8),
        (Bitmap(), NOfM(2, 4), 1 + 0.5 * 8),
        (Grouped(2, 4), NOfM(2, 4), 0.5 * (8 + 2)),
        (Grouped(1, 4), NOfM(1, 4), 0.25 * (8 + 2)),
        (Rlc(4), NOfM(2, 4), 0.5 * (8 + 4)),
        (Rlc(6), Blocks(8, 0.25), 0.25 * (8 + 6)),
    ],
    ids=str,
)
def test_closed_forms_hold_at_every_level(form, density, bits):
    """No piece has 64 zeros in front of a non-zero, nor 2:4 more than 4: no run needs a second pair."""
    einsum, every = PRODUCT.with_density("weight", density), dict.fromkeys(("dram", "glb", "spad"), form)
    dense, cost = evaluate(einsum, machine(), NEST), evaluate(einsum, machine(formats=every), NEST)
    for level in every:
        assert cost.element_bits[level, "weight"] == pytest.approx(bits)
        assert cost.accesses[level, "weight"].reads == dense.accesses[level, "weight"].reads
    weight_joule = 5.0 * 8 * dense.accesses["dram", "weight"].reads
    saved = dense.level_joule["dram"] - cost.level_joule["dram"]
    assert saved == pytest.approx(weight_joule * (1 - bits / 8))
    assert dense.used_bits["glb"] * bits / 8 == pytest.approx(cost.used_bits["glb"])


def test_fewer_bits_pass_a_port_in_fewer_cycles_and_fit_where_dense_tiles_do_not():
    einsum, bitmap = PRODUCT.with_density("weight", NOfM(2, 4)), {"dram": Bitmap(), "spad": Bitmap()}
    dense, cost = evaluate(einsum, machine(), NEST), evaluate(einsum, machine(formats=bitmap), NEST)
    saved = dense.accesses["dram", "weight"].reads * 3 / 4.0
    assert dense.level_cycles["dram"] - cost.level_cycles["dram"] == pytest.approx(saved)
    needed = float(cost.used_bits["spad"][0])
    assert evaluate(einsum, machine(formats=bitmap, capacity_bits=needed), NEST).fits[0]
    assert not evaluate(einsum, machine(capacity_bits=needed), NEST).fits[0]


@pytest.mark.parametrize("form", [Bitmap(), Csr(), Rlc(4)], ids=str)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=6))
@settings(deadline=None, max_examples=20)
def test_more_non_zeros_never_cost_less_and_a_full_tensor_is_dense_and_its_metadata(form, shares):
    formats = dict.fromkeys(("dram", "glb", "spad"), form)
    costs = [
        evaluate(PRODUCT.with_density("weight", Uniform(d)), machine({"weight": Zeros("skip")}, formats), NEST)
        for d in sorted(shares)
    ]
    for less, more in pairwise(costs):
        assert less.energy_joule <= more.energy_joule * (1 + 1e-9)
        assert less.cycles <= more.cycles * (1 + 1e-9)
    full = evaluate(PRODUCT, machine(formats=formats), NEST)
    for (level, name), bits in full.element_bits.items():
        shape = {"dram": (8, 8), "glb": (4, 8), "spad": (2, 8)}[level]
        metadata = form.expected_bits(shape, Uniform(1.0), 0) / (shape[0] * shape[1]) if name == "weight" else 0
        assert bits == pytest.approx(8 + metadata)


@given(seeds, st.sampled_from([0.1, 0.5, 0.9]), st.sampled_from([1, 2, 4]))
@settings(deadline=None, max_examples=30)
def test_what_is_left_out_is_what_a_walk_over_real_weights_leaves_out(seed, density, together):
    matrix = weights(seed, density)
    done = M * sum(together for group in matrix.reshape(-1, together) if group.any())
    einsum = PRODUCT.with_density("weight", Histogram.of(matrix))
    dense = evaluate(einsum, machine(), NEST)
    skipped = evaluate(einsum, machine({"weight": Zeros("skip", together)}), NEST)
    gated = evaluate(einsum, machine({"weight": Zeros("gate", together)}), NEST)
    assert skipped.mac_joule == gated.mac_joule == pytest.approx(11.0 * done)
    assert skipped.compute_cycles == pytest.approx(dense.compute_cycles * done / (M * N * K))
    assert gated.compute_cycles == dense.compute_cycles == M * N * K / 2
    assert skipped.cycles <= gated.cycles == dense.cycles
    assert gated.energy_joule == pytest.approx(skipped.energy_joule)


def test_only_innermost_accesses_are_saved_and_those_of_the_operand_that_is_looked_at_are_not():
    einsum = PRODUCT.with_density("weight", NOfM(1, 4)).with_density("input", Uniform(0.5))
    dense = evaluate(einsum, machine(), NEST)
    at = {name: dense.accesses["spad", name] for name in ("input", "weight", "output")}
    outside = 8 * sum(3.0 * one.fills + 1.0 * one.drains for one in at.values())
    inside = {name: 8 * ((one.reads - one.drains) * 1.0 + one.updates * 2.0) for name, one in at.items()}
    assert dense.level_joule["spad"] == pytest.approx(outside + sum(inside.values()))
    for looked, left in (("weight", 1 / 4), ("input", 1 / 2)):
        gated = evaluate(einsum, machine({looked: Zeros("gate")}), NEST)
        walked = sum(joule if name == looked else joule * left for name, joule in inside.items())
        assert gated.level_joule["spad"] == pytest.approx(outside + walked)
        assert gated.level_joule["dram"] == dense.level_joule["dram"]
    both = evaluate(einsum, machine({"weight": Zeros("gate"), "input": Zeros("skip")}), NEST)
    assert both.level_joule["spad"] == pytest.approx(
        outside + inside["weight"] + inside["input"] + inside["output"] / 8
    )
    assert both.mac_joule == pytest.approx(dense.mac_joule / 8)
    assert both.compute_cycles == pytest.approx(dense.compute_cycles / 2)


def test_zeros_that_are_stored_still_pass_the_port_of_the_innermost_level():
    """512 + 1,024 reads of inputs and outputs shrink to a quarter; weights only if a format leaves their zeros out."""
    einsum, skip = PRODUCT.with_density("weight", Uniform(0.25)), {"weight": Zeros("skip")}
    slow = machine(read_bits_per_cycle=8.0, leak_joule_per_cycle=1.0)
    dense = evaluate(einsum, slow, NEST)
    counts = {name: dense.accesses["spad", name] for name in ("input", "weight", "output")}
    others = counts["input"].reads + (counts["output"].reads - counts["output"].drains)
    for formats, share in ((None, 1.0), ({"spad": Bitmap()}, (1 + 2) / 8)):
        cost = evaluate(einsum, machine(skip, formats, read_bits_per_cycle=8.0, leak_joule_per_cycle=1.0), NEST)
        reads = others / 4 + counts["output"].drains + counts["weight"].reads * share
        assert cost.level_cycles["spad"] == pytest.approx(reads / 2)
        quiet = evaluate(einsum, machine(skip, formats, read_bits_per_cycle=8.0), NEST)
        assert cost.energy_joule - quiet.energy_joule == pytest.approx(2 * cost.cycles)


def test_many_mappings_at_once_are_what_each_is_alone():
    factors = [[2, 2, 2, 2, 2, 8, 3], [4, 1, 4, 2, 1, 4, 6], [1, 6, 1, 2, 4, 16, 1]]
    einsum = PRODUCT.with_density("weight", Uniform(0.2))
    csr = machine({"weight": Zeros("skip", 2)}, {"dram": Csr(), "glb": Rlc(2)})
    table = MappingTable.of(NEST, factors)
    cost = evaluate(einsum, csr, table)
    for row in range(3):
        alone = evaluate(einsum, csr, table.mapping(row))
        assert cost.energy_joule[row] == alone.energy_joule[0]
        assert cost.cycles[row] == alone.cycles[0]
        assert cost.used_bits["glb"][row] == alone.used_bits["glb"][0]


def test_the_search_finds_what_evaluate_says_and_needs_bits_that_tiles_do_not_change():
    einsum = matmul(m=8, n=8, k=8).with_density("weight", NOfM(2, 4)).with_density("input", Uniform(0.5))
    tight = machine({"weight": Zeros("skip"), "input": Zeros("gate")}, {"dram": Grouped(), "glb": Bitmap()})
    tight = replace(tight, levels=(*tight.levels[:2], replace(tight.levels[2], capacity_bits=8 * 40.0)))
    for objective in ("energy", "latency"):
        found = optimum(einsum, tight, objective)
        for nest, joule, cycles in zip(found.mappings, found.joule, found.cycles, strict=True):
            cost = evaluate(einsum, tight, nest)
            assert (float(cost.energy_joule[0]), float(cost.cycles[0])) == pytest.approx((joule, cycles))
    dense = optimum(einsum, replace(tight, zeros=FrozenMap(), levels=machine().levels[:2] + tight.levels[2:]), "energy")
    assert found.joule[0] < dense.joule[0]
    with pytest.raises(AisysError, match=r"dram stores weight as Csr.*whose bits depend on the tile"):
        optimum(einsum, machine(formats={"dram": Csr()}), "energy")


def test_zeros_that_are_nobodys_are_refused():
    with pytest.raises(AisysError, match="output is written; give the density of an operand that is read"):
        PRODUCT.with_density("output", Uniform(0.5))
    with pytest.raises(AisysError, match="no operand 'bias'"):
        PRODUCT.with_density("bias", Uniform(0.5))
    with pytest.raises(AisysError, match="saving of zeros 'skp'"):
        Zeros("skp")
    with pytest.raises(AisysError, match="0 elements together"):
        Zeros("skip", 0)
