"""Ring all-gather."""

from collections.abc import Iterator
from dataclasses import dataclass

from aisys.collective.types import ClosedForm, Send


@dataclass(frozen=True, slots=True)
class RingAllGather:
    """Every chunk travels around a ring.

    Source: Thakur, Rabenseifner, Gropp 2005; p-1 latencies and (p-1)/p of the gathered buffer through each port.
    """

    op: str = "all_gather"

    def num_chunks(self, num_ranks: int) -> int:
        """One chunk for each rank."""
        return num_ranks

    def sends(self, num_ranks: int) -> Iterator[Send]:
        """Each rank hands on what it got in the step before."""
        for step in range(num_ranks - 1):
            for src in range(num_ranks):
                yield Send(step, src, (src + 1) % num_ranks, (src - step) % num_ranks, reduce=False)

    def closed_form(self, num_ranks: int) -> ClosedForm:
        """p-1 steps, each of a p-th of the buffer."""
        return ClosedForm(num_steps=num_ranks - 1, wire_share=(num_ranks - 1) / num_ranks)
