"""What the training or serving framework adds: host time per kernel, what it overlaps, memory it keeps."""

from dataclasses import dataclass

from aisys.units import Sourced


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """Constants of one framework on one kind of host.

    host_s_per_kernel: the host cannot launch kernels faster than this, forward; backward runs from a recorded graph.
    host_s_per_layer..., step_s: fixed host work per microbatch and per step. gradient_overlap, gather_overlap,
    send_overlap: share of that communication which may run under compute. slowdown: how much longer compute takes
    while communication runs under it. reserved_bytes: device memory outside tensors (context, library buffers).
    """

    name: str
    host_s_per_forward_kernel: Sourced
    host_s_per_backward_kernel: Sourced
    host_s_per_microbatch: Sourced
    step_s: Sourced
    gradient_overlap: Sourced
    gather_overlap: Sourced
    send_overlap: Sourced
    slowdown: Sourced
    reserved_bytes: Sourced
    memory_factor: Sourced
