"""The row-stationary dataflow of Eyeriss: which mapping its compiler takes, and what that costs.

A PE set of filter rows x `e` output rows computes `e` rows of one output channel: each PE convolves one filter row
with one input row. Sets lie side by side and one above the other in the array; a wide set is folded. A processing pass
runs `r` sets on different input channels and `t` on different filters, each PE on `p` filters and `q` channels, for
`n` images; the global buffer holds the partial sums of `m` filters while the passes go through all input channels.

The mapping has the least DRAM traffic (uncompressed) among those that fit the scratchpads and whole banks of the
global buffer, and keep nine tenths of the PEs busy that the filter's height allows; ties go to the least traffic of
the global buffer. Source: Chen, Krishna, Emer, Sze 2017 (JSSC 52(1)), sections III and IV; the share of busy PEs is
assumed.

A pass begins when its filters and the first window of inputs are in the scratchpads, and then takes as long as the
longest of its computation and its transfers over the three networks. Not modelled: DRAM latency (the processing
latency of the paper leaves it out) and gating, which saves energy but no time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import ceil
from typing import Any

from aisys.errors import BadInput
from aisys.machine import SpatialArray

LEAST_BUSY = 0.9
WORD_BYTES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvLayer:
    """One convolution: channels per group, heights with padding; square maps and filters."""

    batch: int
    groups: int
    out_channels: int
    in_channels: int
    in_height: int
    out_height: int
    kernel: int
    stride: int = 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the whole batch and all groups."""
        each = self.in_channels * self.kernel**2 * self.out_height**2
        return self.batch * self.groups * self.out_channels * each


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """What the dataflow knows of the chip: PEs, scratchpads in words, banks, words per cycle of each network."""

    rows: int
    cols: int
    ifmap_words: int
    filter_words: int
    psum_words: int
    num_banks: int
    bank_bytes: int
    ifmap_words_per_cycle: float
    filter_words_per_cycle: float
    psum_words_per_cycle: float

    @classmethod
    def of(cls, array: SpatialArray) -> "Chip":
        """The chip of a device whose constants hold every field under `rs.`. Raises BadInput for a missing one."""
        values: dict[str, Any] = {}
        for name in cls.__slots__:
            if f"rs.{name}" not in array.constants:
                raise BadInput(f"dataflow rs needs the constant rs.{name}; add constants.rs.{name} to its file")
            number = array.constants[f"rs.{name}"]
            values[name] = float(number) if name.endswith("cycle") else int(number)
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowStationary:
    """One mapping, in the letters of the paper (see the module)."""

    m: int
    n: int
    e: int
    p: int
    q: int
    r: int
    t: int

    def active_pes(self, layer: ConvLayer) -> int:
        """PEs at work in a full pass."""
        return layer.kernel * self.e * self.r * self.t


def best_mapping(layer: ConvLayer, chip: Chip) -> RowStationary:
    """The mapping of a layer. Raises BadInput for a filter that is higher than the array or wider than a scratchpad."""
    if layer.kernel > min(chip.rows, chip.ifmap_words):
        least = min(chip.rows, chip.ifmap_words)
        raise BadInput(f"a filter of {layer.kernel} rows does not fit the array; at most {least} rows fit")
    shapes = [(e, _num_sets(layer, chip, e)) for e in range(1, layer.out_height + 1)]
    wanted = LEAST_BUSY * max(e * sets for e, sets in shapes)
    busy = [(e, sets) for e, sets in shapes if sets and e * sets >= wanted]
    found = [one for e, sets in busy for one in _mappings(layer, chip, (e, sets), wanted)]
    if not found:
        raise BadInput(
            f"no row-stationary mapping of {layer.out_height} x {layer.out_height} outputs fits {chip.num_banks} banks "
            f"of {chip.bank_bytes} bytes; cut the output into narrower maps"
        )
    return min(found, key=lambda one: (sum(dram_words(layer, one)), glb_words(layer, one), -one.e))


def _num_sets(layer: ConvLayer, chip: Chip, e: int) -> int:
    """PE sets of width `e` that the array holds; a set wider than the array is folded."""
    stacks = chip.rows // layer.kernel
    return stacks // -(-e // chip.cols) if e > chip.cols else stacks * (chip.cols // e)


def _mappings(layer: ConvLayer, chip: Chip, shape: tuple[int, int], least: float) -> Iterator[RowStationary]:
    """Every mapping of (width, number of sets) whose numbers divide the layer's and that fits the chip."""
    e, sets = shape
    splits = [(r, t) for r, t in product(range(1, sets + 1), repeat=2) if r * t <= sets and e * r * t >= least]
    channels = [(q, r, t) for r, t in splits for q in range(1, chip.ifmap_words // layer.kernel + 1)]
    for q, r, t in channels:
        most = min(chip.psum_words, chip.filter_words // (q * layer.kernel))
        for p in range(1, most + 1):
            if layer.in_channels % (q * r) == 0 and layer.out_channels % (p * t) == 0:
                yield from _blocks(layer, chip, (e, p, q, r, t))


def _blocks(layer: ConvLayer, chip: Chip, inner: tuple[int, int, int, int, int]) -> Iterator[RowStationary]:
    """The largest block of filters for each number of images that the banks hold."""
    e, p, q, r, t = inner
    rows = _in_rows(layer, e)
    for n in _divisors(layer.batch):
        ifmap = _banks(n * q * r * rows * layer.in_height, chip)
        for m in reversed(_divisors(layer.out_channels)):
            if m % (p * t) == 0 and ifmap + _banks(m * n * e * layer.out_height, chip) <= chip.num_banks:
                yield RowStationary(m=m, n=n, e=e, p=p, q=q, r=r, t=t)
                break


def _banks(words: int, chip: Chip) -> int:
    return -(-words * WORD_BYTES // chip.bank_bytes)


def _divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]


def _in_rows(layer: ConvLayer, e: int) -> int:
    """Input rows under `e` output rows."""
    return (e - 1) * layer.stride + layer.kernel


def _strips(layer: ConvLayer, mapping: RowStationary) -> list[tuple[int, int]]:
    """Widths of the strips that the output rows are cut into, and how many of each."""
    full, rest = divmod(layer.out_height, mapping.e)
    return [(mapping.e, full)] * (full > 0) + [(rest, 1)] * (rest > 0)


def dram_words(layer: ConvLayer, mapping: RowStationary) -> tuple[float, float, float]:
    """Words of inputs, filters and outputs that cross the DRAM, uncompressed.

    Inputs come once per block of filters, with the rows that neighbouring strips share; filters once per strip and
    block of images; outputs leave once.
    """
    strips = _strips(layer, mapping)
    rows = sum(count * _in_rows(layer, e) for e, count in strips)
    channels = layer.batch * layer.groups * layer.in_channels
    ifmap = channels * rows * layer.in_height * (layer.out_channels / mapping.m)
    filters = layer.groups * layer.out_channels * layer.in_channels * layer.kernel**2
    filters *= sum(count for _, count in strips) * (layer.batch // mapping.n)
    return ifmap, filters, layer.batch * layer.groups * layer.out_channels * layer.out_height**2


def glb_words(layer: ConvLayer, mapping: RowStationary) -> float:
    """Words that the global buffer reads and writes for the array: inputs of each pass, partial sums in and out."""
    ifmap, _, ofmap = dram_words(layer, mapping)
    passes_of_channels = layer.in_channels / (mapping.q * mapping.r)
    return ifmap * mapping.m / (mapping.p * mapping.t) + ofmap * (2 * passes_of_channels - 1)


def processing_cycles(layer: ConvLayer, mapping: RowStationary, chip: Chip) -> float:
    """Cycles of all passes, without the DRAM."""
    k = layer.kernel
    filters = mapping.p * mapping.t * mapping.q * mapping.r * k * k / chip.filter_words_per_cycle
    compute = mapping.n * mapping.p * mapping.q * k * layer.out_height
    channels = mapping.q * mapping.r
    cycles = 0.0
    for e, count in _strips(layer, mapping):
        rows = _in_rows(layer, e)
        window = channels * rows * k / chip.ifmap_words_per_cycle
        inputs = mapping.n * channels * rows * layer.in_height / chip.ifmap_words_per_cycle
        sums = mapping.n * mapping.p * mapping.t * e * layer.out_height / chip.psum_words_per_cycle
        cycles += count * (filters + window + max(compute, inputs, sums))
    passes = layer.groups * layer.out_channels // (mapping.p * mapping.t) * (layer.in_channels // channels)
    return cycles * passes * ceil(layer.batch / mapping.n)


def run_length_ratio(zeros: float) -> float:
    """Stored over plain bytes of a map with this share of zeros: three pairs of a 5-bit run of zeros and a value in
    64 bits. At most 1, for a map that it would enlarge is stored plainly.

    Zeros are taken as independent, so that a pair covers (1 - z^32) / (1 - z) values. Source: Chen et al. 2017.
    """
    if zeros >= 1:
        return 64 / 3 / 16 / 32
    pairs = (1 - zeros) / (1 - zeros**32)
    return min(1.0, 64 / 3 / 16 * pairs)
