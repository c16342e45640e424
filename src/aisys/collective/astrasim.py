"""The all-reduce times of ASTRA-sim's analytical backends, in closed form, for comparison with its runs.

Its habits are kept: GB means 2**30 bytes, chunks follow each other one by one, a reduction reads and writes memory
after its message has arrived, and a congestion-aware switch stores each chunk before it forwards it.
Source: ASTRA-sim 518bd51 with analytical network backend 599a047; found by running it.
"""

from dataclasses import dataclass

from aisys.errors import unknown_name

ENDPOINT_DELAY_NS = 10
MEMORY_BYTES_PER_NS = 1600
REDUCTION_ACCESSES = 1.5
DIRECT_NS = 8.5
"""What each chunk of a direct all-reduce takes beyond its two messages."""

_HOPS = {"Ring": 1, "Switch": 2, "FullyConnected": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class AstraNetwork:
    """One dimension of an ASTRA-sim network. topology: Ring, Switch or FullyConnected; bandwidth in its own GB/s."""

    topology: str
    num_npus: int
    bandwidth_gib_per_s: float = 50.0
    latency_ns: float = 500.0
    is_congestion_aware: bool = False

    @property
    def bytes_per_ns(self) -> float:
        return self.bandwidth_gib_per_s * 2**30 / 1e9


def all_reduce_ns(algorithm: str, num_bytes: int, network: AstraNetwork, *, num_chunks: int = 4) -> float:
    """Nanoseconds until the last of `network`'s NPUs has finished; algorithm: ring, halvingDoubling or direct.

    Holds for powers of two with halvingDoubling. Raises UnknownName for an algorithm or a topology.
    """
    if network.topology not in _HOPS:
        raise unknown_name("ASTRA-sim topology", network.topology, _HOPS)
    npus, part = network.num_npus, num_bytes / num_chunks
    if algorithm == "ring":
        step = _message_ns(part / npus, network) + int(_reduction_ns(part / npus))
        return num_chunks * (2 * (npus - 1) * step + ENDPOINT_DELAY_NS)
    if algorithm == "direct":
        return num_chunks * (2 * (_message_ns(part / npus, network) + _reduction_ns(part / npus)) + DIRECT_NS)
    if algorithm == "halvingDoubling":
        halves = [part / 2**k for k in range(1, npus.bit_length())]
        messages = 2 * sum(_message_ns(half, network) for half in halves)
        return num_chunks * (messages + sum(_reduction_ns(half) for half in halves[:-1]))
    raise unknown_name("ASTRA-sim algorithm", algorithm, ("ring", "halvingDoubling", "direct"))


def _message_ns(num_bytes: float, network: AstraNetwork) -> float:
    stores = 2 if network.is_congestion_aware and network.topology == "Switch" else 1
    latency = network.latency_ns * _HOPS[network.topology] + ENDPOINT_DELAY_NS
    return stores * (num_bytes // network.bytes_per_ns) + latency


def _reduction_ns(num_bytes: float) -> float:
    return REDUCTION_ACCESSES * num_bytes / MEMORY_BYTES_PER_NS
