"""The row-stationary dataflow of Eyeriss: which mapping its compiler takes, and what that costs.

A PE set of filter rows x `e` output rows computes `e` rows of one output channel: each PE convolves one filter row
with one input row. Sets lie side by side and one above the other in the array; a wide set is folded. A processing pass
runs `r` sets on different input channels and `t` on different filters, each PE on `p` filters and `q` channels, for
`n` images; the global buffer holds the partial sums of `m` filters while the passes go through all input channels.

Blocks of filters divide the filters; channels need not divide. The mapping has the least DRAM traffic (uncompressed)
among those that fit the scratchpads and whole banks of the global buffer, and keep nine tenths of the PEs busy that
the filter's height allows, or as near to that as fits; ties go to the least traffic of the global buffer, which then
is AlexNet's measured one to the printed digit. Source: Chen, Krishna, Emer, Sze 2017 (JSSC 52(1)), sections III and
IV; the share of busy PEs is assumed.

A pass begins when its filters and the first window of inputs are in the scratchpads, and then takes as long as the
longest of its computation and its transfers over the three networks. Not modelled: DRAM latency (the processing
latency of the paper leaves it out) and gating, which saves energy but no time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.errors import BadInput
from aisys.machine import SpatialArray

LEAST_BUSY = 0.9
WORD_BYTES = 2

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


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
    """One mapping, in the letters of the paper (see the module), or many of one e, r and t.

    m, n, p, q: arrays [mapping], or [] for one.
    """

    m: Ints
    n: Ints
    p: Ints
    q: Ints
    e: int
    r: int
    t: int

    def active_pes(self, layer: ConvLayer) -> int:
        """PEs at work in a full pass."""
        return layer.kernel * self.e * self.r * self.t


def best_mapping(layer: ConvLayer, chip: Chip) -> RowStationary:
    """The mapping of a layer. Raises BadInput for a filter that is higher than the array or wider than a scratchpad,
    and for an output of which one row does not fit the banks."""
    if layer.kernel > min(chip.rows, chip.ifmap_words):
        least = min(chip.rows, chip.ifmap_words)
        raise BadInput(f"a filter of {layer.kernel} rows does not fit the array; at most {least} rows fit")
    shapes = _shapes(layer, chip)
    wanted = LEAST_BUSY * max(e * r * t for e, r, t in shapes)
    while wanted >= LEAST_BUSY:
        busy = [best for shape in shapes if prod(shape) >= wanted for best in _best_of_shape(layer, chip, shape)]
        if busy:
            return min(busy, key=lambda one: (sum(dram_words(layer, one)), glb_words(layer, one), -one.e))
        wanted *= LEAST_BUSY
    raise BadInput(
        f"no row-stationary mapping of {layer.out_height} x {layer.out_height} outputs fits {chip.num_banks} banks "
        f"of {chip.bank_bytes} bytes; cut the output into narrower maps"
    )


def _shapes(layer: ConvLayer, chip: Chip) -> list[tuple[int, int, int]]:
    """Every (e, r, t) that the array holds. A set wider than the array is folded; sets of one filter stand one above
    the other, for partial sums pass between neighbours of a column only."""
    found = []
    for e in range(1, layer.out_height + 1):
        stacked, beside = chip.rows // layer.kernel // -(-e // chip.cols), max(1, chip.cols // e)
        for r in range(1, min(stacked, layer.in_channels) + 1):
            found += [(e, r, t) for t in range(1, min(stacked // r * beside, layer.out_channels) + 1)]
    return found


def _best_of_shape(layer: ConvLayer, chip: Chip, shape: tuple[int, int, int]) -> Iterator[RowStationary]:
    """The mapping of one shape with the least traffic, if any fits: all p, q and n at once, and the largest m."""
    e, r, t = shape
    each = np.meshgrid(
        np.arange(1, min(chip.psum_words, -(-layer.out_channels // t)) + 1),
        np.arange(1, min(chip.ifmap_words // layer.kernel, -(-layer.in_channels // r)) + 1),
        np.arange(1, layer.batch + 1),
    )  # fmt: skip
    p, q, n = (axis.ravel() for axis in each)
    banks = chip.num_banks - _banks(n * q * r * _in_rows(layer, e) * layer.in_height, chip)
    sums = banks * (chip.bank_bytes // WORD_BYTES) // (n * e * layer.out_height)
    m = _largest_block(layer.out_channels, p * t, np.where(banks > 0, sums, 0))
    fits = (p * q * layer.kernel <= chip.filter_words) & (m > 0)
    if not fits.any():
        return
    many = RowStationary(m=m[fits], n=n[fits], e=e, p=p[fits], q=q[fits], r=r, t=t)
    best = np.lexsort((glb_words(layer, many), np.sum(dram_words(layer, many), axis=0)))[0]
    yield RowStationary(e=e, r=r, t=t, **{name: np.asarray(getattr(many, name)[best]) for name in ("m", "n", "p", "q")})


def _largest_block(whole: int, of: Ints, most: Ints) -> Ints:
    """The largest divisor of `whole` that is a multiple of `of` and at most `most`; 0 where there is none."""
    blocks = np.array([d for d in range(1, whole + 1) if whole % d == 0])[:, None]
    return np.asarray(np.where((blocks % of == 0) & (blocks <= most), blocks, 0).max(axis=0))


def _banks(words: Ints, chip: Chip) -> Ints:
    return -(-words * WORD_BYTES // chip.bank_bytes)


def _in_rows(layer: ConvLayer, e: int) -> int:
    """Input rows under `e` output rows."""
    return (e - 1) * layer.stride + layer.kernel


def _strips(layer: ConvLayer, mapping: RowStationary) -> list[tuple[int, int]]:
    """Widths of the strips that the output rows are cut into, and how many of each."""
    full, rest = divmod(layer.out_height, mapping.e)
    return [(mapping.e, full)] * (full > 0) + [(rest, 1)] * (rest > 0)


def dram_words(layer: ConvLayer, mapping: RowStationary) -> tuple[Floats, Floats, Floats]:
    """Words of inputs, filters and outputs that cross the DRAM, uncompressed.

    Inputs come once per block of filters, with the rows that neighbouring strips share; filters once per strip and
    block of images; outputs leave once.
    """
    strips = _strips(layer, mapping)
    num_strips = sum(count for _, count in strips)
    blocks, batches = layer.out_channels // mapping.m, -(-layer.batch // mapping.n)
    filters = layer.groups * layer.out_channels * layer.in_channels * layer.kernel**2 * num_strips * batches
    ofmap = layer.batch * layer.groups * layer.out_channels * layer.out_height**2
    ifmap = _ifmap_words(layer, strips) * blocks
    return np.asarray(ifmap, float), np.asarray(filters, float), np.full(blocks.shape, float(ofmap))


def glb_words(layer: ConvLayer, mapping: RowStationary) -> Floats:
    """Words that the global buffer reads and writes: inputs of each pass, and partial sums that each pass reads and
    writes, of which the last go to the DRAM."""
    filter_passes, channel_passes = _passes(layer, mapping)
    inputs = _ifmap_words(layer, _strips(layer, mapping)) * filter_passes
    return inputs + 2 * dram_words(layer, mapping)[2] * channel_passes


def _ifmap_words(layer: ConvLayer, strips: list[tuple[int, int]]) -> int:
    """All inputs, with the rows that neighbouring strips share as often as they are shared."""
    rows = sum(count * _in_rows(layer, e) for e, count in strips)
    return layer.batch * layer.groups * layer.in_channels * rows * layer.in_height


def _passes(layer: ConvLayer, mapping: RowStationary) -> tuple[Ints, Ints]:
    """Passes of one group over all filters, and over all input channels of a filter; the last may be part empty."""
    return layer.out_channels // (mapping.p * mapping.t), -(-layer.in_channels // (mapping.q * mapping.r))


def processing_cycles(layer: ConvLayer, mapping: RowStationary, chip: Chip) -> Floats:
    """Cycles of all passes, without the DRAM."""
    k = layer.kernel
    channels = mapping.q * mapping.r
    filters = mapping.p * mapping.t * channels * k * k / chip.filter_words_per_cycle
    compute = mapping.n * mapping.p * mapping.q * k * layer.out_height
    cycles = np.zeros(mapping.m.shape)
    for e, count in _strips(layer, mapping):
        rows = _in_rows(layer, e)
        window = channels * rows * k / chip.ifmap_words_per_cycle
        inputs = mapping.n * channels * rows * layer.in_height / chip.ifmap_words_per_cycle
        sums = mapping.n * mapping.p * mapping.t * e * layer.out_height / chip.psum_words_per_cycle
        cycles += count * (filters + window + np.maximum(compute, np.maximum(inputs, sums)))
    filter_passes, channel_passes = _passes(layer, mapping)
    return np.asarray(cycles * layer.groups * filter_passes * channel_passes * -(-layer.batch // mapping.n))


def run_length_ratio(zeros: float) -> float:
    """Stored over plain bytes of a map with this share of zeros: three pairs of a 5-bit run of zeros and a value in
    64 bits. At most 1, for a map that it would enlarge is stored plainly.

    Zeros are taken as independent, so that a pair covers (1 - z^32) / (1 - z) values. Source: Chen et al. 2017.
    """
    if zeros >= 1:
        return 64 / 3 / 16 / 32
    pairs = (1 - zeros) / (1 - zeros**32)
    return min(1.0, 64 / 3 / 16 * pairs)
