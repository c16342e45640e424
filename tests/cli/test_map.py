"""`aisys map`, as a user types it, bad input included."""

import json
from xml.etree import ElementTree

import pytest

from aisys.machine import device

PRODUCT = ("map", "matmul", "m=64", "n=64", "k=64", "--on", "gemmini-16x16")


def test_a_product_is_mapped_and_its_energies_add_up(aisys):
    ended = aisys(*PRODUCT, "--json")
    found = json.loads(ended.out)
    assert ended.code == 0
    assert found["macs"] == 64**3
    parts = sum(level["energy_joule"] for level in found["levels"]) + found["mac_energy_joule"]
    assert found["energy_joule"] == pytest.approx(parts, rel=1e-12)
    assert found["cycles"] >= found["compute_cycles"] >= 64**3 / 256


def test_a_person_gets_an_indented_loop_nest(aisys):
    ended = aisys("map", "conv", *CONV, "--on", "simba-like")
    assert "dram keeps input weight output" in ended.out
    assert "spread" in ended.out
    assert "units busy" in ended.out


CONV = ("out_channels=8", "in_channels=8", "out_h=7", "out_w=7", "kernel_h=3", "kernel_w=3")


def test_the_mapping_that_it_prints_is_one_that_it_reads(aisys, tmp_path):
    found = json.loads(aisys(*PRODUCT, "--json").out)
    file = tmp_path / "nest.txt"
    file.write_text(found["mapping"])
    again = json.loads(aisys(*PRODUCT, "--mapping", str(file), "--json").out)
    assert again == {key: value for key, value in found.items() if key != "certificate"}


def test_the_mapping_is_the_best_and_says_how_it_knows(aisys):
    proof = json.loads(aisys(*PRODUCT, "--json").out)["certificate"]
    assert (proof["objective"], proof["optimal"], proof["gap"]) == ("latency", True, 0.0)
    assert "gap 0" in aisys(*PRODUCT).out


def test_an_einsum_of_ones_own_costs_what_the_named_one_costs(aisys):
    written = ("map", "output[m, n] += input[m, k] * weight[k, n]", *PRODUCT[2:])
    own, named = (json.loads(aisys(*words, "--objective", "edp", "--json").out) for words in (written, PRODUCT))
    assert (own["cycles"], own["energy_joule"]) == (named["cycles"], named["energy_joule"])
    assert own["mapping"] == named["mapping"]


def test_a_spatial_array_prices_ops_too(aisys):
    found = json.loads(aisys("op", "matmul", "m=64", "n=64", "k=64", "dtype=int8", "--on", "eyeriss-v1", "--json").out)
    assert found["time_s"] >= 64**3 / 168 / 200e6


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("map", "matmull", "m=1", "--on", "tpu-v1"), "unknown einsum 'matmull'; nearest known: matmul"),
        (("map", "o[i] += a[i, j]", "i=4", "--on", "tpu-v1"), "a is indexed by 'j', which has no extent"),
        (("map", "o[i] += a[i]", "i=4", "z=1", "--on", "tpu-v1"), "unknown argument of this einsum 'z'"),
        (("map", "o[i] = a[i]", "i=4", "--on", "tpu-v1"), "is no einsum; write OUT[m, n] += A[m, k] * B[k, n]"),
        (("map", "a[i] += x[i]; b[i] += y[i]", "i=4", "--on", "tpu-v1"), "no einsum of the chain reads what"),
        (("map", "a[i] += x[i]; b[j] += a[j]", "i=4", "j=5", "--on", "tpu-v1"), "is written with extents [4] and read"),
        (("map", "a[i] += x[i]; b[j] += a[j]", "i=4", "--on", "tpu-v1"), "'j', which has no extent"),
        (("map", "attention", "heads=2", "--on", "tpu-v1"), "q_len is missing"),
        (("map", "attention", "--on", "tpu-v1", "--pareto"), "leave other options out"),
        (("map", "matmul", "m=0", "n=1", "k=1", "--on", "tpu-v1"), "m=0 is not a whole number from 1"),
        (("map", "matmul", "m=1", "n=1", "--on", "tpu-v1"), "k is missing"),
        (("map", "matmul", "m=1", "n=1", "k=1", "--on", "h100-sxm"), "h100-sxm is a Gpu; a loop nest needs"),
        (("map", "matmul", "m=1", "n=1", "k=1", "--on", "tpu-v1", "--mapping", "no.txt"), "no.txt: cannot be read"),
    ],
)
def test_bad_input_is_one_sentence(aisys, words, sentence):
    ended = aisys(*words)
    assert ended.code == 2
    assert sentence in ended.err
    assert len(ended.err.strip().splitlines()) == 1


def test_a_nest_is_drawn_as_figures_of_two_forms(aisys, tmp_path):
    front = ("map", "matmul", "m=100", "n=96", "k=60", "--on", "simba-like", "--pareto")
    for name in ("nest.svg", "nest.pdf"):
        ended = aisys(*front, "--figure", str(tmp_path / "new" / name), "--json")
        assert ended.code == 0
    found = json.loads(ended.out)
    assert f"Figure: {tmp_path / 'new' / 'nest.pdf'}" in "".join(ended.err.splitlines())
    drawn = ElementTree.parse(tmp_path / "new" / "nest.svg")
    dots = drawn.findall("{http://www.w3.org/2000/svg}circle")
    words = [text.text for text in drawn.findall("{http://www.w3.org/2000/svg}text")]
    assert len(dots) == len(found["pareto"]) > 1
    assert {level["level"] for level in found["levels"]} < set(words)
    assert (tmp_path / "new" / "nest.pdf").read_bytes().startswith(b"%PDF")


def test_a_figure_of_an_unknown_form_is_refused_before_the_search(aisys, tmp_path):
    ended = aisys(*PRODUCT, "--figure", str(tmp_path / "nest.png"))
    assert (ended.code, list(tmp_path.iterdir())) == (2, [])
    assert "figures are written as .svg or .pdf" in ended.err


ATTENTION = ("map", "attention", "heads=2", "q_len=32", "kv_len=32", "head_dim=16", "--on", "simba-like")


def test_a_fused_chain_says_where_the_shared_tensor_stays_and_what_that_saves(aisys):
    found = json.loads(aisys(*ATTENTION, "--json").out)
    fused, separate = ((found[key]["energy_joule"], found[key]["time_s"]) for key in ("fused", "separate"))
    assert found["macs"] == 2 * 2 * 32 * 32 * 16
    assert found["shared"]["scores"]["level"] == "global_buffer"
    assert fused[0] * fused[1] < separate[0] * separate[1]
    array = device("simba-like")
    kept = 2 * 32 * 32  # scores, each a byte, that would be written to the outermost memory and read again
    saved = float(
        array.main_memory.energy_joule_per_byte + array.architecture.levels["dram"].energy_joule_per_byte_written
    )
    assert separate[0] - fused[0] == pytest.approx(kept * saved, rel=0.2)
    assert "scores stays in global_buffer" in aisys(*ATTENTION).out


def test_a_chain_of_ones_own_is_the_named_one(aisys):
    text = "a[b, h, q, t] += x[b, h, q, d] * y[b, h, t, d]; o[b, h, q, e] += a[b, h, q, t] * z[b, h, t, e]"
    own = json.loads(aisys("map", text, "b=1", "h=2", "q=32", "t=32", "d=16", "e=16", *ATTENTION[6:], "--json").out)
    named = json.loads(aisys(*ATTENTION, "--json").out)
    assert (own["fused"], own["separate"]) == (named["fused"], named["separate"])


def test_every_nest_of_the_front_costs_what_its_own_text_costs(aisys, tmp_path):
    words = ("map", "conv", *CONV, "--on", "simba-like")
    found = json.loads(aisys(*words, "--pareto", "--json").out)
    assert "as if fetched whole" in found["certificate"]["text"]
    for point in found["pareto"]:
        (tmp_path / "nest.txt").write_text(point["mapping"])
        alone = json.loads(aisys(*words, "--mapping", str(tmp_path / "nest.txt"), "--json").out)
        assert (alone["energy_joule"], alone["cycles"]) == (point["energy_joule"], point["cycles"])


@pytest.mark.parametrize("name", ["gemmini-16x16", "tpu-v1"])
def test_a_chain_on_a_machine_that_keeps_no_results_inside_is_the_einsums_one_by_one(aisys, name):
    found = json.loads(aisys("map", "mlp", "m=32", "k=64", "ffn=32", "n=64", "--on", name, "--json").out)
    assert found["shared"]["hidden"] == {"level": device(name).main_memory.name, "loop": None, "tile": None}
    assert found["fused"] == pytest.approx(found["separate"])
