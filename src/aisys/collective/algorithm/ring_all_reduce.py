"""Ring all-reduce."""

from collections.abc import Iterator
from dataclasses import dataclass

from aisys.collective.types import ClosedForm, Send


@dataclass(frozen=True, slots=True)
class RingAllReduce:
    """Reduce-scatter, then all-gather, around a ring; the buffer is cut into num_ranks chunks.

    Source: Thakur, Rabenseifner, Gropp 2005; 2(p-1) latencies and 2(p-1)/p of the buffer through each port.
    """

    op: str = "all_reduce"

    def num_chunks(self, num_ranks: int) -> int:
        """One chunk for each rank."""
        return num_ranks

    def sends(self, num_ranks: int) -> Iterator[Send]:
        """In every step each rank hands one chunk to the next rank."""
        for step in range(2 * (num_ranks - 1)):
            for src in range(num_ranks):
                yield Send(step, src, (src + 1) % num_ranks, (src - step) % num_ranks, reduce=step < num_ranks - 1)

    def closed_form(self, num_ranks: int) -> ClosedForm:
        """2(p-1) steps, each of a p-th of the buffer."""
        return ClosedForm(num_steps=2 * (num_ranks - 1), wire_share=2 * (num_ranks - 1) / num_ranks)
