"""One-shot all-reduce between all pairs."""

from collections.abc import Iterator
from dataclasses import dataclass

from aisys.collective.types import ClosedForm, Send


@dataclass(frozen=True, slots=True)
class OneShotAllReduce:
    """Every rank reads the whole buffer of every other and adds: one latency, for short buffers.

    Source: one-shot all-reduce of vLLM and TensorRT-LLM, 2024; 1 latency and p-1 buffers through each port.
    """

    op: str = "all_reduce"

    def num_chunks(self, num_ranks: int) -> int:
        """The buffer travels whole."""
        return 1

    def sends(self, num_ranks: int) -> Iterator[Send]:
        """All pairs at once."""
        for src in range(num_ranks):
            for dst in range(num_ranks):
                if src != dst:
                    yield Send(0, src, dst, 0, reduce=True)

    def closed_form(self, num_ranks: int) -> ClosedForm:
        """One step of p-1 buffers."""
        return ClosedForm(num_steps=float(num_ranks > 1), wire_share=num_ranks - 1)
