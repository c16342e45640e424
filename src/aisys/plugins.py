"""Plug-ins: one file each, found by its stem or by an entry point of an outside package, loaded when asked for.

A plug-in of AISys is a file in the folder of its kind; there is no registry to edit. An outside package names its own
under an entry-point group: `[project.entry-points."aisys.technique"] my_idea = "my_package"`. Two plug-ins of one
name are an error. Nothing is scanned at import.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from aisys.errors import BadInput, unknown_name


@dataclass(frozen=True, slots=True, kw_only=True)
class PlugInKind:
    """Where plug-ins of one kind live, and what their file defines.

    verbs: a class plug-in is the file's one public class and has at least one of these methods; a function plug-in is
    the function of the one verb.
    """

    package: str
    is_class: bool
    verbs: tuple[str, ...]


KINDS: Mapping[str, PlugInKind] = {
    "technique": PlugInKind(
        package="aisys.technique", is_class=True, verbs=("apply", "constrain", "rewrite", "emulate")
    ),
    "cost": PlugInKind(package="aisys.cost", is_class=False, verbs=("price",)),
    "collective": PlugInKind(package="aisys.collective.algorithm", is_class=True, verbs=("sends",)),
    "schedule": PlugInKind(package="aisys.lower.schedule", is_class=False, verbs=("order",)),
    "workload": PlugInKind(package="aisys.workload", is_class=False, verbs=("read",)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlugIn:
    """One plug-in that can be loaded. `package`: the distribution it comes from; `summary`: what it gives."""

    kind: str
    name: str
    package: str
    summary: str


def names(kind: str) -> tuple[str, ...]:
    """The names of all plug-ins of `kind`, in order. Raises UnknownName for a kind, BadInput for a clash.

    >>> "recompute" in names("technique")
    True
    """
    own, outside = _own(kind), _outside(kind)
    for name in sorted(own.keys() & outside.keys()):
        raise BadInput(
            f"{kind} {name!r} of package {_package(outside[name])!r} is named like one of AISys; rename its entry point"
        )
    return tuple(sorted({**own, **outside}))


@cache
def find(kind: str, name: str) -> Any:
    """The plug-in `name` of `kind`: its class, or its function.

    Raises UnknownName with the nearest names; BadInput for one that cannot be loaded or breaks the form of its kind.
    """
    known = names(kind)
    if name not in known:
        raise unknown_name(kind, name, known)
    point = _outside(kind).get(name)
    if point is None:
        return _checked(kind, name, import_module(f"{KINDS[kind].package}.{name}"))
    try:
        loaded = point.load()
    except Exception as error:  # the code of an outside package may fail in any way
        raise BadInput(
            f"{kind} {name!r} of package {_package(point)!r} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    return _checked(kind, name, loaded)


def listed(kind: str) -> tuple[PlugIn, ...]:
    """All plug-ins of `kind` with their first line, in order. Imports outside packages, to read what they say."""
    return tuple(
        PlugIn(
            kind=kind, name=name, summary=_first_line(find(kind, name)),
            package=_package(_outside(kind)[name]) if name in _outside(kind) else "aisys",
        )
        for name in names(kind)
    )  # fmt: skip


def technique(name: str) -> Any:
    """The class of a technique: `aisys.technique("recompute")(mode="full")`. Raises as `find`."""
    return find("technique", name)


def list_techniques() -> tuple[str, ...]:
    """The names of all techniques, those of outside packages included."""
    return names("technique")


def technique_classes() -> dict[str, str]:
    """The class of each technique of AISys, to the stem of its file.

    >>> technique_classes()["TensorParallel"]
    'tensor_parallel'
    """
    found = {}
    for stem, path in _own("technique").items():
        for name in re.findall(r"^class ([A-Z]\w*)", path.read_text(encoding="utf-8"), re.MULTILINE):
            found[name] = stem
    return found


def outside_files() -> tuple[Path, ...]:
    """The files of the modules that outside packages name as plug-ins, in order."""
    modules = {point.module for kind in KINDS for point in _outside(kind).values()}
    found = (find_spec(module) for module in sorted(modules))
    return tuple(Path(spec.origin) for spec in found if spec and spec.has_location and spec.origin)


def _own(kind: str) -> Mapping[str, Path]:
    if kind not in KINDS:
        raise unknown_name("kind of plug-in", kind, KINDS)
    return _files(kind)


@cache
def _files(kind: str) -> Mapping[str, Path]:
    """The files of AISys that define a plug-in of `kind`, by stem. A leading underscore hides a file."""
    room = KINDS[kind]
    relative = Path(*room.package.split(".")[1:])
    wanted = r"^class [A-Z]" if room.is_class else rf"^def {room.verbs[0]}\("
    found = {}
    for path in sorted((Path(__file__).parent / relative).glob("[!_]*")):
        file = path / "__init__.py" if path.is_dir() else path
        if file.suffix == ".py" and file.exists() and re.search(wanted, file.read_text(encoding="utf-8"), re.MULTILINE):
            found[path.stem] = file
    return found


@cache
def _outside(kind: str) -> Mapping[str, EntryPoint]:
    """The entry points of the group `aisys.<kind>`, by name. Raises BadInput where two packages use one name."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=f"aisys.{kind}"):
        other = found.setdefault(point.name, point)
        if other.value != point.value or _package(other) != _package(point):
            raise BadInput(
                f"{kind} {point.name!r} comes from two packages, {_package(other)!r} and {_package(point)!r}; "
                "uninstall one or rename its entry point"
            )
    return found


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.value


def _checked(kind: str, name: str, loaded: Any) -> Any:
    """The class or function that `loaded` is or, where it is a module, defines."""
    room = KINDS[kind]
    if isinstance(loaded, ModuleType):
        loaded = _public_class(kind, name, loaded) if room.is_class else getattr(loaded, room.verbs[0], None)
    if room.is_class:
        if not (isinstance(loaded, type) and any(callable(getattr(loaded, verb, None)) for verb in room.verbs)):
            raise BadInput(f"{kind} {name!r}: give a class with a method {' or '.join(room.verbs)}")
    elif not callable(loaded):
        raise BadInput(f"{kind} {name!r}: give a function {room.verbs[0]}")
    return loaded


def _public_class(kind: str, name: str, module: ModuleType) -> type:
    own = [
        value
        for key, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__ and not key.startswith("_")
    ]
    if len(own) != 1:
        raise BadInput(f"{kind} {name!r}: its file has {len(own)} public classes; it needs exactly one")
    return own[0]


def _first_line(plug_in: Any) -> str:
    return (plug_in.__doc__ or "").strip().split("\n", 1)[0]
