"""The same device under one software stack: the stack's own fitted constants in front of the pooled ones."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from aisys.frozen import FrozenMap
from aisys.machine import Device, Gpu
from aisys.units import Sourced


@lru_cache(maxsize=256)
def under(device: Device, stack: str) -> Device:
    """`device` with its constants `stack.<stack>.<key>` standing for `<key>`; pooled ones where it has none.

    `stack` is a name as measurement tables give it: vllm-0.24.0 is vllm.
    """
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    prefix = f"stack.{stack.split('-')[0].lower()}."
    own = {key.removeprefix(prefix): value for key, value in gpu.constants.items() if key.startswith(prefix)}
    return with_constants(device, own)


def with_constants(device: Device, changed: Mapping[str, Sourced]) -> Device:
    """`device` with some of its constants changed."""
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    return replace(device, architecture=replace(gpu, constants=FrozenMap({**gpu.constants, **changed})))
