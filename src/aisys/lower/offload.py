"""Optimizer state in host memory: gradients go there, the host updates, weights come back."""

import numpy as np
from numpy.typing import NDArray

from aisys.errors import CannotApply
from aisys.machine import Machine

Floats = NDArray[np.float64]


def offload_s(machine: Machine, gradient_bytes: Floats, weight_bytes: Floats, state_bytes: Floats) -> Floats:
    """Time of an offloaded update on each stage, in the shape of the arguments (bytes on one device).

    Three streams run tile by tile and hide under the slowest: gradients to the host, the update at the host's memory
    bandwidth (every state byte read and written once, gradients read), weights to the device. The devices of a node
    share its host evenly. Source: Ren et al. 2021 (ZeRO-Offload), section 4.
    Raises CannotApply where the machine names no host or no link to it.
    """
    host, link = machine.host, machine.host_link
    if host is None or link is None:
        raise CannotApply(f"optimizer offload needs a host, and {machine.name} names none; add `host` and `links.host`")
    per_node = next(iter(machine.mesh.values()), 1)
    bandwidth = float(host.main_memory.bandwidth_bytes_per_s) / per_node
    update = (2.0 * state_bytes + gradient_bytes) / bandwidth
    wire = float(link.bandwidth_bytes_per_s)
    slowest: Floats = np.maximum(update, np.maximum(gradient_bytes, weight_bytes) / wire)
    return slowest
