"""What the shell offers after TAB; each function loads only what it lists."""

from collections.abc import Iterable


def devices(incomplete: str) -> list[str]:
    """Devices and machines of the catalogue."""
    from aisys.machine import list_devices, list_machines

    return _starting([*list_devices(), *list_machines()], incomplete)


def workloads(incomplete: str) -> list[str]:
    """Published workloads."""
    from aisys.workload import list_workloads

    return _starting(list_workloads(), incomplete)


def ops(incomplete: str) -> list[str]:
    """Ops that `aisys op` prices."""
    from aisys.cli.op_arguments import KINDS

    return _starting(KINDS, incomplete)


def tiers(incomplete: str) -> list[str]:
    """Tiers of cost models."""
    return _starting(("limit", "analytic", "calibrated"), incomplete)


def lists(incomplete: str) -> list[str]:
    """What `aisys list` lists."""
    from aisys.cli.listing import WHAT

    return _starting(WHAT, incomplete)


def _starting(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
