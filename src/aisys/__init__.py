"""AISys: plan workloads on machines, with time, energy, memory, price and measured accuracy.

Every name here is imported when it is first used, so that `import aisys` itself costs nothing; __init__.pyi, which
scripts/write_public_surface.py generates, shows their types. Three rooms can be called by name as well:
`aisys.machine("dgx-h100")`, `aisys.search(graph, machine)` and `aisys.technique("recompute")`.
"""

import sys
from types import ModuleType

_HOME = {
    "AisysError": "aisys.errors", "Graph": "aisys.ir", "Plan": "aisys.plan", "PlanTable": "aisys.plan",
    "Report": "aisys.report", "Frontier": "aisys.report", "Measurement": "aisys.report", "Machine": "aisys.machine",
    "Device": "aisys.machine", "Sourced": "aisys.units", "read": "aisys.workload", "device": "aisys.machine",
    "list_devices": "aisys.machine", "list_machines": "aisys.machine", "list_workloads": "aisys.workload",
    "list_techniques": "aisys.plugins", "evaluate": "aisys.search", "evaluate_many": "aisys.search",
    "ForwardPass": "aisys.search",
}  # fmt: skip
"""Public names and the modules that they come from; classes of techniques are found by the stem of their file."""

_CALLED = {
    "machine": ("aisys.machine.load", "machine"),
    "search": ("aisys.search", "search"),
    "technique": ("aisys.plugins", "technique"),
}
"""Rooms that are functions too."""


class _CallableRoom(ModuleType):
    """A room that is called like the function of its name."""

    def __call__(self, *args: object, **options: object) -> object:
        from importlib import import_module

        home, name = _CALLED[self.__name__.rpartition(".")[2]]
        return getattr(import_module(home), name)(*args, **options)


class _Package(ModuleType):
    """This package: an import of a room that is a function too makes it callable."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in _CALLED and type(value) is ModuleType:
            value.__class__ = _CallableRoom
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in _CALLED:
        return import_module(f"aisys.{name}")
    if name[:1].isupper():
        from aisys.plugins import technique, technique_classes

        stem = technique_classes().get(name)
        if stem is not None:
            return technique(stem)
    raise AttributeError(f"module 'aisys' has no attribute {name!r}; see dir(aisys)")


def __dir__() -> list[str]:
    from aisys.plugins import technique_classes

    return sorted([*_HOME, *_CALLED, *technique_classes()])
