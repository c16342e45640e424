"""What the shell offers after TAB; each function loads only what it lists."""

from collections.abc import Iterable


def devices(incomplete: str) -> list[str]:
    """Devices and machines of the catalogue."""
    from aisys.machine import list_devices, list_machines

    return starting([*list_devices(), *list_machines()], incomplete)


def workloads(incomplete: str) -> list[str]:
    """Published workloads."""
    from aisys.workload import list_workloads

    return starting(list_workloads(), incomplete)


def ops(incomplete: str) -> list[str]:
    """Ops that `aisys op` prices."""
    from aisys.cli.op_arguments import KINDS

    return starting(KINDS, incomplete)


def tiers(incomplete: str) -> list[str]:
    """Tiers of cost models."""
    return starting(("limit", "analytic", "calibrated"), incomplete)


def starting(names: Iterable[str], incomplete: str) -> list[str]:
    """Those of `names` that go on from what was typed."""
    return [name for name in names if name.startswith(incomplete)]
