"""`aisys map` with operands that have zeros, as a user types it, bad input included."""

import json

import numpy as np
import pytest

PRODUCT = ("map", "matmul", "m=64", "n=64", "k=64", "--on", "gemmini-16x16")

NEST = """
dram keeps input weight output
scratchpad keeps input weight
for n: 4
  accumulator keeps output
  for k: 4
    spread k over accumulator.rows: 16
      spread n over accumulator.cols: 16
        register keeps weight
        for m: 64
"""
"""The scratchpad takes all weights as one piece."""


def found(aisys, *words):
    ended = aisys(*words, "--json")
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def level(document, name):
    return next(one for one in document["levels"] if one["level"] == name)


def test_a_bitmap_shrinks_what_is_read_stored_and_paid_by_its_closed_form(aisys):
    dense = found(aisys, *PRODUCT)
    sparse = found(aisys, *PRODUCT, "--density", "weight=2:4", "--format", "weight=bitmap")
    assert sparse["density"] == {"input": 1.0, "weight": 0.5, "output": 1.0}
    assert level(sparse, "dram")["accesses"]["weight"]["bits_per_element"] == 5
    assert level(dense, "dram")["used_bytes"] - level(sparse, "dram")["used_bytes"] == 64 * 64 * 3 / 8
    saved = level(dense, "dram")["energy_joule"] - level(sparse, "dram")["energy_joule"]
    assert saved == pytest.approx(64 * 64 * 3 / 8 * 160e-12)
    assert sparse["compute_cycles"] == dense["compute_cycles"]


def test_units_in_lockstep_skip_nothing_alone_they_do_and_gating_saves_energy_only(aisys):
    density = ("--density", "weight=0.25")
    dense = found(aisys, *PRODUCT)
    lockstep, alone, gated = (
        found(aisys, *PRODUCT, *density, "--zeros", f"weight={how}") for how in ("skip", "skip:1", "gate")
    )
    assert lockstep["compute_cycles"] == pytest.approx(dense["compute_cycles"])
    assert alone["compute_cycles"] == dense["compute_cycles"] / 4
    assert gated["compute_cycles"] == dense["compute_cycles"]
    assert gated["mac_energy_joule"] == alone["mac_energy_joule"] == dense["mac_energy_joule"] / 4


def test_a_real_tensor_is_counted_and_any_format_can_stand_at_one_level(aisys, tmp_path):
    tensor = np.zeros((64, 64), np.int8)
    tensor[::4] = 1
    np.savez(tmp_path / "weights.npz", weight=tensor, other=np.ones(3))
    (tmp_path / "nest.txt").write_text(NEST)
    words = ("--density", f"weight={tmp_path / 'weights.npz'}", "--format", "weight@dram=csr")
    assert found(aisys, *PRODUCT, *words)["cycles"] == 64**3 / 256
    words = (*words, "--mapping", str(tmp_path / "nest.txt"))
    sparse = found(aisys, *PRODUCT, *words)
    assert sparse["density"]["weight"] == 0.25
    bits = level(sparse, "dram")["accesses"]["weight"]["bits_per_element"]
    assert bits == pytest.approx((65 * 13 + 1024 * (6 + 8)) / 4096)
    assert level(sparse, "scratchpad")["accesses"]["weight"]["bits_per_element"] == 8
    ended = aisys(*PRODUCT, *words)
    assert "weight: 25.0 % non-zero; an element takes 3.71 bits in dram, 8.00 bits in scratchpad" in ended.out


def test_a_search_knows_formats_and_zeros(aisys):
    words = ("--density", "weight=2:4", "--format", "weight=2:4", "--zeros", "weight=skip:1", "--objective", "edp")
    dense, sparse = found(aisys, *PRODUCT, "--objective", "edp"), found(aisys, *PRODUCT, *words)
    assert sparse["certificate"]["optimal"]
    assert sparse["energy_joule"] * sparse["cycles"] < dense["energy_joule"] * dense["cycles"]


def test_a_machine_file_says_the_same_as_the_flags(aisys, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        'name = "mine"\nbase = "gemmini-16x16"\nzeros = "weight:skip:1"\n[levels.dram]\nformats = "weight:rlc4"\n'
    )
    density = ("--density", "weight=0.25")
    flags = found(aisys, *PRODUCT, *density, "--format", "weight@dram=rlc4", "--zeros", "weight=skip:1")
    own = found(aisys, *PRODUCT[:-1], str(file), *density)
    assert {**own, "device": ""} == {**flags, "device": ""}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("--density", "weight=2:4"),
            "weight has zeros, which gemmini-16x16 neither leaves out of memory nor looks for",
        ),
        (("--density", "weights=2:4"), "has no operand 'weights'; it has input, weight, output"),
        (("--density", "output=2:4"), "output is written"),
        (("--density", "weight"), "--density 'weight' is not of the form"),
        (("--density", "weight=1.5"), "density 1.5; give 0 to 1"),
        (("--density", "weight=some"), "density 'some'; write a share such as 0.3"),
        (("--density", "weight=no.npz"), "no.npz: cannot be read"),
        (("--format", "weight=bitmaps"), "unknown format 'bitmaps'; nearest known: bitmap"),
        (("--format", "weight@accumulator=csr"), "accumulator keeps no weights"),
        (("--format", "weight@drum=csr"), "unknown level of gemmini-16x16 'drum'; nearest known: dram"),
        (("--zeros", "weight=skop"), "unknown saving of zeros 'skop'; nearest known: skip"),
        (("--zeros", "weight=skip:x"), "'x' is no whole number"),
        (("--density", "weight=0.5", "--format", "weight=2:4"), "2:4 cannot store Uniform"),
    ],
)
def test_bad_input_is_one_sentence(aisys, words, sentence):
    ended = aisys(*PRODUCT, *words)
    assert ended.code == 2
    assert sentence in ended.err
    assert len(ended.err.strip().splitlines()) == 1


def test_an_op_with_weights_of_n_of_m_is_faster_where_the_machine_makes_use_of_them_and_never_beats_the_limit(
    aisys, tmp_path
):
    file = tmp_path / "mine.toml"
    file.write_text(
        'name = "mine"\nbase = "gemmini-16x16"\nzeros = "weight:skip:1"\n[levels.dram]\nformats = "weight:2:4"\n'
        '[levels.scratchpad]\nformats = "weight:2:4"\n'
    )
    op = ("op", "matmul", "m=16", "n=512", "k=512", "dtype=int8_2of4", "--on")
    plain, mine = (found(aisys, *op, device) for device in ("gemmini-16x16", str(file)))
    least = found(aisys, *op, str(file), "--tier", "limit")
    saved = plain["traffic_bytes"]["dram"] - mine["traffic_bytes"]["dram"]
    assert saved == 512 * 512 * (1 - 5 / 8)
    assert plain["time_s"] > mine["time_s"] > least["time_s"]
    assert mine["energy_joule"] > least["energy_joule"]
