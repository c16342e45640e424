"""What an op whose accesses depend on its data really did: counted while it ran, priced on any memory later."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aisys.errors import BadInput
from aisys.frozen import FrozenMap

Pattern = Literal["sequential", "strided", "gather", "chase"]

NUM_BLOCKS = 1024
"""Traffic inside a record is kept between this many equal blocks of the data, whatever its partition later."""

LINE_BYTES = 64
"""Reuse distances count lines of this many bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Accesses to one tensor in one phase: `accesses` of `grain_bytes` each, over `footprint_bytes` distinct bytes.

    num_runs: the pieces in which a sequential stream is read, each contiguous (the lists of a graph).
    reuse: sampled reuse-distance histogram; entry i is the share of accesses whose reuse distance is at most
    2**i cache lines (the last entry below 1 leaves the cold misses). Empty: every access is cold. The distance counts
    the distinct lines touched since by all streams, the line itself included: what an LRU cache of so many holds.
    """

    tensor: str
    pattern: Pattern
    accesses: int
    grain_bytes: int
    footprint_bytes: int
    is_write: bool = False
    num_runs: int = 1
    reuse: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class BlockTraffic:
    """Bytes between blocks of the data: work on block `source[i]` touches `num_bytes[i]` bytes of `destination[i]`.

    A block is one of NUM_BLOCKS equal ranges. Pairs are sorted and appear once; bytes are positive. Pairs within one
    block count too, so `of_source` is how the work is spread. Compares by digest.
    Raises BadInput for arrays that are none of this.
    """

    source: NDArray[np.int32]
    destination: NDArray[np.int32]
    num_bytes: NDArray[np.int64]

    def __post_init__(self) -> None:
        kinds = {"source": np.int32, "destination": np.int32, "num_bytes": np.int64}
        for name, kind in kinds.items():
            array = np.array(getattr(self, name), dtype=kind)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if not (self.source.ndim == 1 and self.source.shape == self.destination.shape == self.num_bytes.shape):
            raise BadInput("traffic: source, destination and num_bytes should be lists of one length")
        if len(self):
            pair = self.source.astype(np.int64) * NUM_BLOCKS + self.destination
            ends = (self.source.min(), self.destination.min(), self.source.max(), self.destination.max())
            if min(ends) < 0 or max(ends) >= NUM_BLOCKS or (np.diff(pair) <= 0).any() or self.num_bytes.min() < 1:
                raise BadInput(f"traffic: pairs of blocks 0 to {NUM_BLOCKS - 1} should be sorted, with bytes above 0")

    @classmethod
    def of(cls, matrix: NDArray[Any]) -> "BlockTraffic":
        """The traffic in `matrix` [NUM_BLOCKS, NUM_BLOCKS], rows being sources."""
        source, destination = np.nonzero(matrix)
        return cls(source.astype(np.int32), destination.astype(np.int32), matrix[source, destination])

    @classmethod
    def none(cls) -> "BlockTraffic":
        """No traffic at all."""
        return cls(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int64))

    def between(self, part_of_block: NDArray[np.integer[Any]], num_parts: int) -> NDArray[np.int64]:
        """Bytes between the parts of a partition: [num_parts, num_parts], rows being sources.

        part_of_block: the part that holds each block, [NUM_BLOCKS].
        """
        matrix = np.zeros((num_parts, num_parts), np.int64)
        np.add.at(matrix, (part_of_block[self.source], part_of_block[self.destination]), self.num_bytes)
        return matrix

    def of_source(self) -> NDArray[np.int64]:
        """Bytes that the work on each block touches, [NUM_BLOCKS]."""
        total = np.zeros(NUM_BLOCKS, np.int64)
        np.add.at(total, self.source, self.num_bytes)
        return total

    @cached_property
    def digest(self) -> str:
        """Content hash, the same on every machine."""
        state = sha256()
        for array, kind in ((self.source, "<i4"), (self.destination, "<i4"), (self.num_bytes, "<i8")):
            state.update(array.astype(kind).tobytes())
        return state.hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.source)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BlockTraffic) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"BlockTraffic({len(self)} pairs, {int(self.num_bytes.sum())} bytes, {self.digest})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """The work between two barriers. `op_counts`: operations by type (int_add, int_compare, fp_mac, rare_branch, ...).

    parallel_slack: independent pieces of work.
    """

    op_counts: FrozenMap[str, int]
    streams: tuple[Stream, ...]
    parallel_slack: int
    traffic: BlockTraffic


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRecord:
    """One run of an op on real data, phase by phase. `data_digest` names the data that it ran on."""

    data_digest: str
    phases: tuple[Phase, ...]

    @property
    def num_bytes(self) -> int:
        """Bytes requested over all streams, before any cache."""
        return sum(s.accesses * s.grain_bytes for p in self.phases for s in p.streams)
