"""Ring reduce-scatter."""

from collections.abc import Iterator
from dataclasses import dataclass

from aisys.collective.types import ClosedForm, Send


@dataclass(frozen=True, slots=True)
class RingReduceScatter:
    """Partial sums travel around a ring until each chunk reaches its owner.

    Source: Thakur, Rabenseifner, Gropp 2005; p-1 latencies and (p-1)/p of the buffer through each port.
    """

    op: str = "reduce_scatter"

    def num_chunks(self, num_ranks: int) -> int:
        """One chunk for each rank."""
        return num_ranks

    def sends(self, num_ranks: int) -> Iterator[Send]:
        """The chunk of rank c starts at rank c+1 and is complete when it has gone around."""
        for step in range(num_ranks - 1):
            for src in range(num_ranks):
                yield Send(step, src, (src + 1) % num_ranks, (src - step - 1) % num_ranks, reduce=True)

    def closed_form(self, num_ranks: int) -> ClosedForm:
        """p-1 steps, each of a p-th of the buffer."""
        return ClosedForm(num_steps=num_ranks - 1, wire_share=(num_ranks - 1) / num_ranks)
