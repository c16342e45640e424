"""What a collective is made of and what it costs: sends of chunks, closed forms, and cost arrays."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from aisys.machine import Link

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OPS = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "send_recv")


class Send(NamedTuple):
    """Move chunk `chunk` from rank `src` to rank `dst` in `step`; `reduce` adds at the receiver.

    Rank `num_ranks` stands for the switch, where an algorithm computes inside it.
    """

    step: int
    src: int
    dst: int
    chunk: int
    reduce: bool


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """Time is `num_steps` latencies plus `wire_share` buffers through one device's port, one direction."""

    num_steps: float
    wire_share: float

    def time_s(self, num_bytes: float, latency_s: float, bytes_per_s: float) -> float:
        """Time of a collective on `num_bytes` over uncontended links."""
        return self.num_steps * latency_s + self.wire_share * num_bytes / bytes_per_s


class Algorithm(Protocol):
    """A published algorithm: which op it computes, into how many chunks it cuts the buffer, and its sends."""

    @property
    def op(self) -> str: ...

    def num_chunks(self, num_ranks: int) -> int: ...

    def sends(self, num_ranks: int) -> Iterator[Send]: ...

    def closed_form(self, num_ranks: int) -> ClosedForm: ...


class Fabric(Protocol):
    """The links of a machine: what `time` reads of a Machine."""

    @property
    def mesh(self) -> Mapping[str, int]: ...

    @property
    def links(self) -> Mapping[str, Link]: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Price:
    """What a library answers, arrays [rows]: time, interval as factors on it, and the algorithm that it runs."""

    time_s: Floats
    error_low: Floats
    error_high: Floats
    algorithm: NDArray[np.str_]
    keys: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CollectiveCost:
    """One entry per row. error_low, error_high: the 90 % interval as factors on time_s; NaN where never validated.

    wire_bytes: bytes that one rank sends over its links. algorithm: such as `ring/ll128`, array [rows] of str.
    keys: the link constants that were read.
    """

    time_s: Floats
    error_low: Floats
    error_high: Floats
    wire_bytes: Floats
    algorithm: NDArray[np.str_]
    keys: frozenset[str]
