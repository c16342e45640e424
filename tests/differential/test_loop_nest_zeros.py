"""Gating and skipping in a loop nest save what a walk over a real sparse product leaves out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisys.cost.loop_nest import Hierarchy, Level, evaluate, matmul, parse
from aisys.cost.loop_nest.zeros import Zeros, evaluate_zeros
from aisys.errors import AisysError
from aisys.frozen import FrozenMap
from aisys.ir.density import Histogram, NOfM, Uniform

M, N, K = 6, 8, 4
PRODUCT = matmul(m=M, n=N, k=K)
NEST = parse("""
dram keeps input weight output
spread n over dram.x: 4
  spad keeps input weight output
  for n: 2
    for k: 4
      for m: 6
""")


def machine(**inner: float) -> Hierarchy:
    outer = Level(name="dram", fanout=FrozenMap(x=4), read_joule_per_bit=5.0, write_joule_per_bit=7.0)
    spad = Level(name="spad", read_joule_per_bit=1.0, write_joule_per_bit=3.0, update_joule_per_bit=2.0, **inner)
    return Hierarchy(name="toy", levels=(outer, spad), mac_joule=11.0)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.5, 0.9]), st.sampled_from([1, 2, 4]))
@settings(deadline=None, max_examples=40)
def test_what_is_left_out_is_what_a_walk_over_real_weights_leaves_out(seed, density, together):
    weights = np.random.default_rng(seed).random((N, K)) < density
    found = Zeros(Histogram.of(weights, [together]), "skip", together)
    steps = done = 0
    for _ in range(M):
        for group in weights.reshape(-1, together):
            steps += together
            done += together if group.any() else 0
    dense = evaluate(PRODUCT, machine(), NEST)
    skipped = evaluate_zeros(PRODUCT, machine(), NEST, {"weight": found})
    gated = evaluate_zeros(PRODUCT, machine(), NEST, {"weight": Zeros(found.density, "gate", together)})
    assert skipped.mac_joule == gated.mac_joule == pytest.approx(11.0 * done)
    assert skipped.cycles == pytest.approx(dense.cycles * done / steps)
    assert gated.cycles == dense.cycles == M * N * K / 4
    assert gated.energy_joule == pytest.approx(skipped.energy_joule)


def test_only_the_innermost_reads_and_updates_are_saved():
    zeros = {"weight": Zeros(NOfM(1, 4), "gate"), "input": Zeros(Uniform(0.5), "gate")}
    dense, gated = evaluate(PRODUCT, machine(), NEST), evaluate_zeros(PRODUCT, machine(), NEST, zeros)
    assert gated.level_joule["dram"] == dense.level_joule["dram"]
    at = [dense.accesses["spad", name] for name in ("input", "weight", "output")]
    fills = 8 * 3.0 * sum(one.fills for one in at)
    walked = 8 * sum(one.reads * 1.0 + one.updates * 2.0 for one in at)
    assert dense.level_joule["spad"] == pytest.approx(fills + walked)
    assert gated.level_joule["spad"] == pytest.approx(fills + walked / 8)
    assert gated.mac_joule == pytest.approx(dense.mac_joule / 8)


def test_skipping_helps_until_another_port_binds_and_leaks_for_less_time():
    zeros = {"weight": Zeros(Uniform(0.25), "skip")}
    slow = machine(read_bits_per_cycle=8.0, leak_joule_per_cycle=1.0)
    dense, skipped = evaluate(PRODUCT, slow, NEST), evaluate_zeros(PRODUCT, slow, NEST, zeros)
    assert dense.cycles > dense.compute_cycles
    assert skipped.cycles == pytest.approx(dense.cycles / 4)
    quiet = machine(read_bits_per_cycle=8.0)
    leak = skipped.energy_joule - evaluate_zeros(PRODUCT, quiet, NEST, zeros).energy_joule
    assert leak == pytest.approx(4 * skipped.cycles)
    writing = machine(write_bits_per_cycle=8.0)
    assert evaluate_zeros(PRODUCT, writing, NEST, zeros).cycles == evaluate(PRODUCT, writing, NEST).cycles


def test_a_dense_operand_saves_nothing_and_zeros_that_are_nobodys_are_refused():
    dense, same = evaluate(PRODUCT, machine(), NEST), evaluate_zeros(
        PRODUCT, machine(), NEST, {"weight": Zeros(Uniform(1.0), "skip")}
    )  # fmt: skip
    assert (same.cycles, same.energy_joule) == (dense.cycles, dense.energy_joule)
    with pytest.raises(AisysError, match="output is written; look for the zeros of an input or a weight"):
        evaluate_zeros(PRODUCT, machine(), NEST, {"output": Zeros(Uniform(0.5), "skip")})
    with pytest.raises(AisysError, match="no operand 'bias'"):
        evaluate_zeros(PRODUCT, machine(), NEST, {"bias": Zeros(Uniform(0.5), "skip")})
    with pytest.raises(AisysError, match="saving of zeros 'skp'"):
        Zeros(Uniform(0.5), "skp")
    with pytest.raises(AisysError, match="0 elements together"):
        Zeros(Uniform(0.5), "skip", 0)
