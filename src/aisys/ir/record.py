"""What an op whose accesses depend on its data really did: counted while it ran, priced on any memory later."""

from dataclasses import dataclass
from typing import Literal

from aisys.frozen import FrozenMap

Pattern = Literal["sequential", "strided", "gather", "chase"]

NUM_BLOCKS = 1024
"""Traffic inside a record is kept between this many equal blocks of the data, whatever its partition later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Accesses to one tensor in one phase: `accesses` of `grain_bytes` each, over `footprint_bytes` distinct bytes.

    reuse: sampled reuse-distance histogram; entry i is the share of accesses whose reuse distance is at most
    2**i cache lines (the last entry below 1 leaves the cold misses). Empty: every access is cold.
    """

    tensor: str
    pattern: Pattern
    accesses: int
    grain_bytes: int
    footprint_bytes: int
    is_write: bool = False
    reuse: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """The work between two barriers. `op_counts`: operations by type (int_add, int_compare, fp_mac, ...).

    parallel_slack: independent pieces of work. traffic: (source block, destination block) to bytes exchanged,
    blocks being NUM_BLOCKS equal ranges of the data.
    """

    op_counts: FrozenMap[str, int]
    streams: tuple[Stream, ...]
    parallel_slack: int
    traffic: FrozenMap[tuple[int, int], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRecord:
    """One run of an op on real data, phase by phase. `data_digest` names the data that it ran on."""

    data_digest: str
    phases: tuple[Phase, ...]

    @property
    def num_bytes(self) -> int:
        """Bytes requested over all streams, before any cache."""
        return sum(s.accesses * s.grain_bytes for p in self.phases for s in p.streams)
