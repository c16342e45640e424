"""Workloads of accelforge: chains of einsums that hand tensors on by name."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aisys.cost.loop_nest.accelforge.expressions import value
from aisys.cost.loop_nest.accelforge.template import load
from aisys.cost.loop_nest.einsum import Einsum, Operand
from aisys.errors import BadInput
from aisys.frozen import FrozenMap

Names = dict[str, frozenset[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One einsum of a chain. names: what the words of an architecture (input, weight, Intermediates) stand for here.

    axes: of each operand, the name of every axis, by which other stages know it. is_copy: it only moves a tensor.
    """

    einsum: Einsum
    names: FrozenMap[str, frozenset[str]]
    axes: FrozenMap[str, tuple[str, ...]]
    is_copy: bool = False

    @property
    def bits(self) -> dict[str, int]:
        """Bits per value of each operand."""
        return {operand.name: operand.bits for operand in self.einsum.operands}


@dataclass(frozen=True, slots=True)
class _Access:
    tensor: str
    axes: tuple[str, ...]
    terms: tuple[str, ...]
    is_output: bool


def read_workload(path: Path, **parameters: Any) -> tuple[Stage, ...]:
    """The stages of a workload file, in order. Raises BadInput with the entry that cannot be read."""
    document = load(path, **parameters)
    workload = document["workload"]
    entries = [_entry(one) for one in workload["einsums"]]
    written = {a.tensor for _, accesses in entries for a in accesses if a.is_output}
    read = {a.tensor for _, accesses in entries for a in accesses if not a.is_output}
    sizes = {
        str(k): int(value(v, _scalars(workload.get("rank_sizes", {}))))
        for k, v in workload.get("rank_sizes", {}).items()
    }
    bounds = _bounds(workload.get("iteration_space_shape", {}).values())
    renames = document.get("renames", workload.get("renames", {})).get("einsums", [])
    default: list[dict[str, Any]] = next((one["tensor_accesses"] for one in renames if one["name"] == "default"), [])
    stages = []
    for entry, accesses in entries:
        limits = bounds | _bounds(entry.get("iteration_space_shape", ()))
        names = _names(accesses, written & read, default, entry.get("renames", {}))
        stages.append(_stage(entry, accesses, names, _extents(accesses, sizes, limits), workload["bits_per_value"]))
    return tuple(stages)


def _scalars(sizes: Mapping[str, Any]) -> dict[str, Any]:
    return {str(key): number for key, number in sizes.items() if not isinstance(number, str)}


def _bounds(texts: Iterable[str]) -> dict[str, int]:
    """`0 <= m < 64` gives m its extent, 64."""
    found = {}
    for text in texts:
        match = re.fullmatch(r"\s*0\s*<=\s*(\w+)\s*<\s*(\d+)\s*", str(text))
        if match is None:
            raise BadInput(f"bounds {text!r}: write '0 <= dim < extent'")
        found[match[1]] = int(match[2])
    return found


def _entry(one: Any) -> tuple[dict[str, Any], tuple[_Access, ...]]:
    entry: dict[str, Any] = {"einsum": one} if isinstance(one, str) else dict(one)
    if "einsum" in entry:
        left, _, right = entry["einsum"].partition("=")
        texts = re.findall(r"(\w+)\s*\[([^\]]*)\]", right)
        target = re.search(r"(\w+)\s*\[([^\]]*)\]", left)
        if target is None or not texts:
            raise BadInput(f"einsum {entry['einsum']!r}: write 'Y[m, n] = A[m, k] * B[k, n]'")
        accesses = [_access(tensor, text.split(","), False) for tensor, text in texts]
        output = _access(target[1], target[2].split(","), True)
        return {"name": target[1], **entry}, (*_distinct(accesses), output)
    accesses = [_access(a["name"], a["projection"], bool(a.get("output"))) for a in entry["tensor_accesses"]]
    return entry, tuple(sorted(accesses, key=lambda a: a.is_output))


def _distinct(accesses: list[_Access]) -> list[_Access]:
    return list({access.tensor: access for access in accesses}.values())


def _access(tensor: str, projection: Any, is_output: bool) -> _Access:
    if isinstance(projection, dict):
        pairs = [(str(axis), str(term)) for axis, term in projection.items()]
    else:
        parts = [str(p) if not isinstance(p, dict) else ":".join(map(str, *p.items())) for p in projection]
        pairs = [
            (axis.strip() if term else axis.strip().upper(), (term or axis).strip())
            for axis, _, term in (p.partition(":") for p in parts)
        ]
    return _Access(
        tensor, tuple(axis for axis, _ in pairs), tuple(term.replace(" ", "") for _, term in pairs), is_output
    )


def _names(
    accesses: tuple[_Access, ...], shared: set[str], default: list[dict[str, Any]], own: Mapping[str, str]
) -> Names:
    everything = frozenset(a.tensor for a in accesses)
    names: Names = {
        "All": everything, "Nothing": frozenset(), "Intermediates": everything & shared,
        "Inputs": frozenset(a.tensor for a in accesses if not a.is_output),
        "Outputs": frozenset(a.tensor for a in accesses if a.is_output),
    }  # fmt: skip
    names |= {tensor: frozenset({tensor}) for tensor in everything}
    for rename in default:
        source = own.get(rename["name"], rename["source"])
        names[rename["name"]] = frozenset(value(source, names))
    names |= {name: frozenset(value(source, names)) for name, source in own.items()}
    return names


def _extents(accesses: tuple[_Access, ...], sizes: Mapping[str, int], bounds: Mapping[str, int]) -> dict[str, int]:
    extents: dict[str, int] = {}
    terms = [pair for access in accesses for pair in zip(access.axes, access.terms, strict=True)]
    for axis, term in terms:
        if axis in sizes and "+" not in term:
            extents[term] = min(sizes[axis], extents.get(term, sizes[axis]))
        else:
            extents |= {dim: bounds[dim] for dim in term.split("+") if dim in bounds}
    return extents


def _stage(
    entry: dict[str, Any], accesses: tuple[_Access, ...], names: Names, extents: dict[str, int], bits: dict[str, Any]
) -> Stage:
    def bits_of(tensor: str) -> int:
        found = [int(number) for words, number in bits.items() if tensor in value(words, names)]
        if not found:
            raise BadInput(f"{entry['name']}: no bits_per_value for {tensor}")
        return found[-1]

    operands = tuple(
        Operand(
            name=a.tensor, role=_role(a, names, accesses), bits=bits_of(a.tensor),
            ranks=tuple(FrozenMap(dict.fromkeys(term.split("+"), 1)) for term in a.terms),
        )
        for a in accesses
    )  # fmt: skip
    einsum = Einsum(name=str(entry["name"]), extents=FrozenMap(extents), operands=operands)
    axes: FrozenMap[str, tuple[str, ...]] = FrozenMap({a.tensor: a.axes for a in accesses})
    return Stage(einsum=einsum, names=FrozenMap(names), axes=axes, is_copy=bool(entry.get("is_copy_operation")))


def _role(access: _Access, names: Names, accesses: tuple[_Access, ...]) -> str:
    if access.is_output:
        return "output"
    if "input" in names:
        return "input" if access.tensor in names["input"] else "weight"
    return "input" if access == accesses[0] else "weight"
