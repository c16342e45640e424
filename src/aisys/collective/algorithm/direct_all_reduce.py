"""Two-shot all-reduce between all pairs."""

from collections.abc import Iterator
from dataclasses import dataclass

from aisys.collective.types import ClosedForm, Send


@dataclass(frozen=True, slots=True)
class DirectAllReduce:
    """Every rank sends each chunk to its owner, which adds them all and sends the sum back to all.

    Source: two-shot all-reduce of vLLM and TensorRT-LLM, 2024; 2 latencies and 2(p-1)/p of the buffer.
    """

    op: str = "all_reduce"

    def num_chunks(self, num_ranks: int) -> int:
        """One chunk for each rank."""
        return num_ranks

    def sends(self, num_ranks: int) -> Iterator[Send]:
        """Step 0 scatters with reduction, step 1 gathers."""
        for owner in range(num_ranks):
            for other in range(num_ranks):
                if other != owner:
                    yield Send(0, other, owner, owner, reduce=True)
                    yield Send(1, owner, other, owner, reduce=False)

    def closed_form(self, num_ranks: int) -> ClosedForm:
        """Two steps, each of p-1 chunks through every port."""
        return ClosedForm(num_steps=2 * (num_ranks > 1), wire_share=2 * (num_ranks - 1) / num_ranks)
