"""Wrong nests, einsums and hierarchies are refused in one sentence with the numbers."""

from dataclasses import replace

import pytest

from aisys.cost.loop_nest import (
    Einsum,
    Hierarchy,
    Operand,
    check,
    check_fits,
    conv,
    einsum_of,
    evaluate,
    matmul,
    parse,
    spmm,
)
from aisys.cost.loop_nest.optimum import optimum
from aisys.errors import BadInput, UnknownName, Unsupported
from aisys.frozen import FrozenMap
from aisys.machine import device, list_devices
from aisys.machine.load import machine

GEMMINI = device("gemmini-16x16")
ARRAY = Hierarchy.of(GEMMINI)
PRODUCT = matmul(m=64, n=64, k=64)
DRAM = "dram keeps input weight output\n"
REST = "for n: 64\nfor k: 64"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (DRAM + "for m: 63\n" + REST, "loops over m cover 63 of 64"),
        (DRAM + "for m: 64\nfor z: 2\n" + REST, "no dim 'z'"),
        ("for m: 64\n" + REST, "input is not kept in dram"),
        ("scratchpad keeps input\nfor m: 64\n" + REST, "every operand begins there"),
        (DRAM + "for m: 0\nfor m: 64\n" + REST, "give a factor of at least 1"),
        (DRAM + "spread m over dram.rows: 64\n" + REST, "gemmini-16x16 has accumulator.rows, accumulator.cols"),
        (DRAM + "spread m over accumulator.rows: 64\n" + REST, "64 tiles .* over accumulator.rows, which has 16 units"),
        (DRAM + "accumulator keeps input\nfor m: 64\n" + REST, "accumulator does not keep inputs; it keeps output"),
        (DRAM + "scratchpad keeps input\nfor m: 64\ndram keeps input\n" + REST, "levels go inwards"),
        (DRAM + "spread m over accumulator.rows: 16\naccumulator keeps output\nfor m: 4\n" + REST, "put it above"),
        (DRAM + "register keeps weight\nspread m over accumulator.rows: 16\nfor m: 4\n" + REST, "lies inside"),
        (DRAM + "cache keeps input\nfor m: 64\n" + REST, "unknown level of gemmini-16x16 'cache'"),
        (DRAM + "scratchpad keeps a\nfor m: 64\n" + REST, "no operand 'a'"),
        (DRAM + "fro m: 64\n" + REST, "line 2 of the mapping is 'fro m: 64'"),
    ],
)  # fmt: skip
def test_a_wrong_mapping_is_refused(text: str, said: str) -> None:
    with pytest.raises((BadInput, UnknownName), match=said.replace("(", "\\(")):
        check(parse(text), PRODUCT, ARRAY)


def test_a_mapping_that_overflows_says_by_how_much() -> None:
    large = matmul(m=64, n=4096, k=4096)
    nest = parse(DRAM + "scratchpad keeps input weight\nfor m: 64\nfor n: 4096\nfor k: 4096")
    with pytest.raises(BadInput, match=r"scratchpad would hold 17,039,360 bytes and has 262,144; .* 65x smaller"):
        check_fits(evaluate(large, ARRAY, nest), ARRAY)


@pytest.mark.parametrize(
    ("ranks", "said"),
    [
        ((FrozenMap(x=1),), "indexed by 'x', which has no extent"),
        ((FrozenMap(m=0),), "coefficient below 1"),
        ((FrozenMap(m=1), FrozenMap(m=1)), "'m' in two ranks"),
    ],
)
def test_an_einsum_that_cannot_be_is_refused(ranks: tuple[FrozenMap[str, int], ...], said: str) -> None:
    wrong = Operand(name="input", role="input", ranks=ranks)
    with pytest.raises(BadInput, match=said):
        Einsum(name="wrong", extents=FrozenMap(m=4), operands=(wrong, replace(PRODUCT.output, ranks=(FrozenMap(m=1),))))


def test_extents_and_densities_have_bounds() -> None:
    with pytest.raises(BadInput, match="dim m has extent 0"):
        matmul(m=0, n=1, k=1)
    with pytest.raises(BadInput, match="no dim 'z'"):
        conv(dict(z=3))
    with pytest.raises(BadInput, match=r"density is 1\.5"):
        spmm(m=1, n=1, k=1, density=1.5)
    with pytest.raises(BadInput, match="0 outputs"):
        Einsum(name="none", extents=FrozenMap(m=4), operands=())


def test_another_architecture_and_an_unknown_dataflow_are_refused() -> None:
    with pytest.raises(Unsupported, match="systolic-32x32 is a SystolicArray"):
        Hierarchy.of(device("systolic-32x32"))
    with pytest.raises(UnknownName, match="dataflow of gemmini-16x16 'wss'"):
        Hierarchy.of(replace(GEMMINI, architecture=replace(GEMMINI.architecture, dataflow="wss")))


@pytest.mark.parametrize("name", [n for n in list_devices() if type(device(n).architecture).__name__ == "SpatialArray"])
def test_every_array_of_the_catalogue_maps_a_product_and_a_convolution(name: str) -> None:
    array = Hierarchy.of(machine(name).device)
    for einsum in (matmul(m=100, n=70, k=50), conv(dict(m=8, c=6, p=13, q=13, r=3, s=3), stride=2)):
        nest = optimum(einsum, array, "latency", most_nests=10_000).best
        check(nest, einsum, array)
        assert evaluate(einsum, array, nest).fits.all()
        assert parse(str(nest)) == nest


def test_a_written_einsum_is_the_one_by_name() -> None:
    extents = dict(n=2, g=3, m=4, c=5, p=7, q=6, r=3, s=2)
    written = einsum_of(
        "output[n, g, m, p, q] += input[n, g, c, 2p + 3r, 2*q + 3 s] * weight[g, m, c, r, s]", extents, bits=16
    )
    named = conv(extents, stride=2, dilation=3, bits=16)
    assert replace(written, name="conv", extents=named.extents) == named
    assert einsum_of("o[i, r] += x[i, j, k] * b[j, r] * c[k, r]", dict(i=2, j=3, k=4, r=5)).num_macs == 120


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("o[m] = a[m]", "is no einsum; write OUT"),
        ("o[m] += a[m] + b[m]", "is no einsum"),
        ("o[m] += a[]", "a is indexed by ''; an index is a sum of dims"),
        ("o[m] += a[m - k]", "a is indexed by 'm - k'"),
        ("o[m] += a[m] * a[m]", "a stands twice"),
        ("o[m] += a[m, k]", "a is indexed by 'k', which has no extent; nearest: m"),
        ("o[2m] += a[m]", "o has a coefficient|o is written along"),
        ("o[n] += a[n]", "m is no dim of 'o"),
        ("o[m] += " + " * ".join(f"a{i}[m]" for i in range(500)), "is no einsum"),
    ],
)
def test_a_written_einsum_that_means_nothing_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        einsum_of(text, dict(m=4))
