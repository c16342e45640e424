"""What a batch of images takes under one plan."""

from dataclasses import dataclass, field

from aisys.frozen import FrozenMap


@dataclass(frozen=True, slots=True, kw_only=True)
class Passing:
    """time_s of the whole batch, with its 90 % interval low_s, high_s (NaN: never validated); latency_s from the start
    of an image's microbatch to its result. energy_joule: of the batch on all devices. memory_bytes: part to
    bytes on one device. breakdown_s: part to seconds, summing to time_s. keys: machine constants that were read.
    """

    time_s: float
    latency_s: float
    low_s: float
    high_s: float
    energy_joule: float
    memory_bytes: FrozenMap[str, float]
    breakdown_s: FrozenMap[str, float]
    keys: frozenset[str]
    metrics: FrozenMap[str, float] = field(default_factory=FrozenMap)
    assumptions: tuple[str, ...] = ()
