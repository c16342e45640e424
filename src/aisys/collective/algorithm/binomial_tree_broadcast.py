"""Binomial tree broadcast."""

from collections.abc import Iterator
from dataclasses import dataclass

from aisys.collective.types import ClosedForm, Send


@dataclass(frozen=True, slots=True)
class BinomialTreeBroadcast:
    """In every step each rank that has the buffer hands it to one that has not, for short buffers.

    Source: Thakur, Rabenseifner, Gropp 2005; ceil(log2 p) latencies and buffers.
    """

    op: str = "broadcast"

    def num_chunks(self, num_ranks: int) -> int:
        """The buffer travels whole."""
        return 1

    def sends(self, num_ranks: int) -> Iterator[Send]:
        """Step k doubles the 2**k ranks that have it."""
        for step in range((num_ranks - 1).bit_length()):
            for src in range(min(1 << step, num_ranks - (1 << step))):
                yield Send(step, src, src + (1 << step), 0, reduce=False)

    def closed_form(self, num_ranks: int) -> ClosedForm:
        """ceil(log2 p) steps of the buffer."""
        steps = (num_ranks - 1).bit_length()
        return ClosedForm(num_steps=steps, wire_share=steps)
