"""Norms written as ops."""

from aisys.workload.transformer.draft import Draft
from aisys.workload.transformer.spec import Norm


def normalise(draft: Draft, norm: Norm, x: str, out: str, *, module: str, axis: str = "hidden") -> str:
    """Adds the norm of `x` over `axis`, its scale and bias named after `module`, and gives the name of its output."""
    reads = [x, draft.weight(f"{module}.weight", axis)]
    if norm.has_bias:
        reads.append(draft.weight(f"{module}.bias", axis))
    return draft.pointwise("norm", out, reads, norm.function)
