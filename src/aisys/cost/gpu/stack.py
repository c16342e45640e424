"""The same device under one software stack: the stack's own fitted constants in front of the pooled ones."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from aisys.frozen import FrozenMap
from aisys.machine import Device, Gpu
from aisys.machine.residual import OWN, UNDER
from aisys.units import Sourced


def short_name(stack: str) -> str:
    """A stack without its version.

    >>> short_name("vLLM-0.24.0")
    'vllm'
    """
    return stack.split("-")[0].lower()


@lru_cache(maxsize=256)
def under(device: Device, stack: str) -> Device:
    """`device` with its constants `stack.<stack>.<key>` standing for `<key>`; pooled ones where it has none.

    `stack` is a name as measurement tables give it: vllm-0.24.0 is vllm.
    """
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    name = short_name(stack)
    prefix = f"stack.{name}."
    own = {key.removeprefix(prefix): value for key, value in gpu.constants.items() if key.startswith(prefix)}
    if not own and not any(key.startswith(OWN) and f".{name}:" in key for key in gpu.constants):
        return device
    mark = f"{UNDER}{name}"
    return with_constants(device, {**own, mark: Sourced(1.0, source=f"rows of {name}", kind="assumed", key=mark)})


def with_constants(device: Device, changed: Mapping[str, Sourced]) -> Device:
    """`device` with some of its constants changed."""
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    return replace(device, architecture=replace(gpu, constants=FrozenMap({**gpu.constants, **changed})))
