"""What the training or serving framework adds: host time, what it overlaps, memory that it keeps."""

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from aisys.errors import BadInput, unknown_name
from aisys.machine import Machine
from aisys.machine.architecture import Gpu
from aisys.machine.facts import entry
from aisys.units import Sourced

FOLDER = Path(__file__).parent / "framework_catalog"


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """Constants of one framework on its usual hosts.

    collectives: the library of its transfers inside layers, where a link has constants for it; "" is the usual one.
    host_s_per_forward_kernel, host_s_per_backward_kernel, host_s_per_transfer: the host launches no faster than this.
    host_exponent: device and host together take (device^n + host^n)^(1/n), n being this over the square root of the
    tensor degree. host_s_per_microbatch: host work of a stage per microbatch that no kernel runs under. step_s: fixed
    time per step.
    compute_factor: kernels back to back take this many times the sum of their own times (sustained clock, gaps).
    device_spread: relative standard deviation of the speed of devices, the slowest of which sets the pace.
    stream_factor, attention_factor, fp8_factor, expert_factor, expert_fp8_factor: the same beside it for streaming
    ops, attention, matmuls in fp8, and products of experts in 16 bits and in fp8, where the framework's kernels are not
    those that the cost models were fitted on; the last two hold the uneven load of experts too.
    gradient_factor, send_factor: the same for gradient reduction and for sends between stages.
    async_overlap: the share of tensor-parallel transfers beside a weight gradient that runs under matmuls.
    tensor_overlap: the share of the other tensor-parallel transfers that does. send_overlap: the share of a send
    during which the sender computes. gradient_overlap, gather_overlap: the share of gradient reduction and weight
    gathering that may run under compute. slowdown: compute takes this many times as long while communication runs
    under it. reduced_bytes_per_element: width of a gradient while it is reduced.
    unfused_loss: 1 where the loss is a row of fp32 kernels, 0 where it is one. whole_recompute: 1 where full
    recomputation runs a layer to its end, 0 where it stops once backward has all it needs. separate_experts: 1 where
    experts are matmuls of their own, 0 where a grouped kernel runs them.
    reserved_bytes: device memory outside tensors. activation_factor: activation bytes relative to the saved tensors.
    error_low, error_high, memory_error_low, memory_error_high: the 90 % interval of a step as factors on its time and
    on its peak memory. limit_error_low, limit_error_high: the same on the time of the data-sheet tier.
    """

    name: str
    collectives: str
    host_s_per_forward_kernel: Sourced
    host_s_per_backward_kernel: Sourced
    host_s_per_transfer: Sourced
    host_exponent: Sourced
    host_s_per_microbatch: Sourced
    step_s: Sourced
    compute_factor: Sourced
    device_spread: Sourced
    stream_factor: Sourced
    attention_factor: Sourced
    fp8_factor: Sourced
    expert_factor: Sourced
    expert_fp8_factor: Sourced
    gradient_factor: Sourced
    send_factor: Sourced
    async_overlap: Sourced
    tensor_overlap: Sourced
    send_overlap: Sourced
    gradient_overlap: Sourced
    gather_overlap: Sourced
    slowdown: Sourced
    reduced_bytes_per_element: Sourced
    unfused_loss: Sourced
    whole_recompute: Sourced
    separate_experts: Sourced
    reserved_bytes: Sourced
    activation_factor: Sourced
    error_low: Sourced
    error_high: Sourced
    memory_error_low: Sourced
    memory_error_high: Sourced
    limit_error_low: Sourced
    limit_error_high: Sourced

    def without_losses(self) -> "Framework":
        """A framework that adds nothing to its kernels and hides all that may be hidden: the data-sheet tier's."""
        names = [f.name for f in fields(self) if f.name not in ("name", "collectives")]
        once = ("device_spread", "unfused_loss", "whole_recompute")
        none = [n for n in names if n.startswith(("host_s", "step_s")) or n in once]
        one = [n for n in names if n.endswith(("_factor", "_overlap")) or n == "slowdown"]
        memory = ("activation_factor",)
        values = {**dict.fromkeys(none, 0.0), **{n: 1.0 for n in one if n not in memory}}
        source = "the data-sheet tier has no losses"
        changed: dict[str, Any] = {
            n: Sourced(v, source=source, kind="assumed", key=f"{self.name}.{n}") for n, v in values.items()
        }
        return replace(self, **changed)


def list_frameworks() -> tuple[str, ...]:
    """The frameworks that the catalogue knows."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


@lru_cache(maxsize=64)
def framework(name: str) -> Framework:
    """The framework called `name`. Raises UnknownName with the nearest names."""
    if name not in list_frameworks():
        raise unknown_name("framework", name, list_frameworks())
    found = entry(FOLDER / f"{name}.toml")
    facts = found.facts
    wanted = [f.name for f in fields(Framework) if f.name not in ("name", "collectives")]
    missing = [field for field in wanted if field not in facts]
    if missing:
        raise BadInput(f"framework {name}: {missing[0]} is missing")
    numbers = {field: facts[field] for field in wanted}
    return Framework(name=name, collectives=found.words.get("collectives", ""), **numbers)


def usual_framework(machine: Machine, goal: str) -> str:
    """The framework that a machine is planned for where none is named: by what its measured runs used."""
    if goal == "infer":
        return "vllm"
    architecture = machine.device.architecture
    is_ampere = isinstance(architecture, Gpu) and architecture.generation in ("sm70", "sm80", "sm86")
    return "megatron" if is_ampere else "megatron-core"
