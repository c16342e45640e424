"""A person's own measured tables as residuals of the calibrated tier: of ops on a device, of collectives on its links.

A table teaches per kind of op, number format and stack, where it has 8 rows or more that are one op each.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.collective import calibrated as of_links
from aisys.collective.layout import Rows
from aisys.collective.types import OPS
from aisys.cost import cost
from aisys.cost.gpu import stack as stacks
from aisys.errors import AisysError, BadInput
from aisys.frozen import FrozenMap
from aisys.ir import OpTable
from aisys.machine import Device, Gpu, Link, Machine, load, residual
from aisys.units import MICRO
from aisys.validate import collective, gemm
from aisys.validate.fabric import wired
from aisys.validate.gpu_rows import Work, named
from aisys.validate.prediction import Floats, Options
from aisys.validate.table import Table, read_table

LINKS = "collective"
"""The kind of table that teaches links; the others teach devices."""
TEACHING = (LINKS, "gemm", "attention", "transformer_op", "transformer_layer", "gpu_op", "gpu_op_fp32")
"""The kinds of table that teach."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What measured tables teach the devices and links that they name."""

    tables: tuple[Table, ...]

    def device(self, device: Device) -> Device:
        """`device` with what the tables teach. Raises BadInput where they say too little of it."""
        out = self._taught(device)
        if out is device:
            raise BadInput(
                f"{self._names}: fewer than {residual.MIN_ROWS} rows of any op and format of {device.name}; "
                "add rows, or name the device as the catalogue does"
            )
        return out

    def links(self, links: Mapping[str, Link]) -> Mapping[str, Link]:
        """`links` with what the tables teach. Raises BadInput where they say too little of every one."""
        out = {tier: self._taught_link(link) for tier, link in links.items()}
        if all(out[tier] is link for tier, link in links.items()):
            raise BadInput(
                f"{self._names}: fewer than {residual.MIN_ROWS} rows of any collective on "
                f"{', '.join(link.name for link in links.values())}; add rows of a machine with such links"
            )
        return FrozenMap(out)

    def machine(self, machine: Machine) -> Machine:
        """`machine` with what the tables teach its device or its links. Raises BadInput where they teach neither."""
        device = self._taught(machine.device)
        links = {tier: self._taught_link(link) for tier, link in machine.links.items()}
        if device is machine.device and all(links[tier] is link for tier, link in machine.links.items()):
            return replace(machine, device=self.device(machine.device))
        return replace(machine, device=device, links=FrozenMap(links))

    @property
    def _names(self) -> str:
        return ", ".join(table.path.name for table in self.tables)

    def _taught(self, device: Device) -> Device:
        out = device
        for table in self.tables:
            for name, one in _of_device(device, table) if table.kind != LINKS else ():
                gpu = out.architecture
                assert isinstance(gpu, Gpu)
                held = residual.attached(gpu.constants, device.name, name, one, _source(device.name, table))
                out = replace(out, architecture=replace(gpu, constants=held))
        return out

    def _taught_link(self, link: Link) -> Link:
        out = link
        for table in self.tables:
            for name, one in _of_link(link, table) if table.kind == LINKS else ():
                held = residual.attached(out.constants, link.name, name, one, _source(link.name, table))
                out = replace(out, constants=held)
        return out


def read_calibration(paths: Iterable[Path]) -> Calibration:
    """The tables at `paths` as teachers. Raises BadInput for a malformed table and for a kind that teaches nothing."""
    tables = tuple(read_table(path) for path in paths)
    for table in tables:
        if table.kind not in TEACHING:
            raise BadInput(f"{table.path}: a table of kind {table.kind!r} teaches nothing; give {', '.join(TEACHING)}")
    return Calibration(tables)


def _source(owner: str, table: Table) -> str:
    return f"rows of {owner} in {table.path.name}"


def _of_device(device: Device, table: Table) -> Iterator[tuple[str, residual.Residual]]:
    """Names and residuals: of each stack that the table names, and of all together for prices without a stack."""
    if not isinstance(device.architecture, Gpu):
        return
    plug_in: Any = import_module(f"aisys.validate.{table.kind}")
    work: Work = plug_in.work(table)
    devices, stack_of = named(table, work)
    known = {str(name): _is_named(device, str(name)) for name in np.unique(devices)}
    mine = np.array([known[str(name)] for name in devices], dtype=bool) & _are_single(work, len(table))
    for stack in ("", *sorted({stacks.short_name(str(name)) for name in stack_of[mine] if name})):
        short = np.array([stacks.short_name(str(name)) for name in stack_of])
        chosen = mine & (short == stack) if stack else mine
        under = stacks.under(device, stack) if stack else device
        for (kind, variant), (features, missed) in _lessons(table, work, chosen, under).items():
            if len(missed) >= residual.MIN_ROWS:
                model = import_module(f"aisys.cost.gpu.{kind}")
                learned = residual.fit(features, missed, model.residual_lengths(variant))
                yield residual.name_of(kind, variant, stack), learned


def _are_single(work: Work, num_rows: int) -> NDArray[np.bool_]:
    """Rows that stand for one op alone: what a sum missed says nothing of its parts."""
    count = np.zeros(num_rows, dtype=int)
    for rows in (*(part.rows for part in work.parts), *(one.rows for one in work.fixed)):
        np.add.at(count, rows, 1)
    return np.asarray(count == 1)


def _lessons(
    table: Table, work: Work, chosen: NDArray[np.bool_], device: Device
) -> dict[tuple[str, str], tuple[Floats, Floats]]:
    """Features and log error of the analytic tier per kind of op and variant; formats without a price are left out."""
    measured_s = gemm.microseconds(table).numbers("us", above=0.0) * MICRO
    found: dict[tuple[str, str], list[tuple[Floats, Floats]]] = {}
    for part in work.parts:
        index = np.flatnonzero(chosen[part.rows])
        ops = part.ops.take(index)
        model = import_module(f"aisys.cost.gpu.{ops.kind}")
        names = model.variants(ops)
        for variant in np.unique(names):
            same = np.flatnonzero(names == variant)
            missed = _missed(ops.take(same), measured_s[part.rows[index[same]]], device)
            if missed is not None:
                features = model.features(ops.take(same), device.architecture)
                found.setdefault((ops.kind, str(variant)), []).append((features, missed))
    return {key: (np.vstack([f for f, _ in many]), np.concatenate([m for _, m in many])) for key, many in found.items()}


def _missed(ops: OpTable, measured_s: Floats, device: Device) -> Floats | None:
    try:
        return np.asarray(np.log(measured_s / cost(ops, device).time_s))
    except AisysError:
        return None


def _is_named(device: Device, name: str) -> bool:
    try:
        return load.device(name).name == device.name
    except AisysError:
        return False


def _of_link(link: Link, table: Table) -> Iterator[tuple[str, residual.Residual]]:
    """Names and residuals of the collectives that the table measured on links of this name."""
    size, ranks, seconds = table.numbers("bytes", above=0), table.counts("gpus"), table.numbers("us", above=0) * MICRO
    libraries = np.array([collective.library(str(name)) for name in table.texts("lib")], dtype=np.str_)
    ops = np.array([collective.OPS.get(str(op), str(op)) for op in table.texts("op")], dtype=np.str_)
    devices = table.texts("device")
    on_link = {str(name) for name in np.unique(devices) if _is_on(link, str(name))}
    mine = np.isin(devices, list(on_link)) & (ranks > 1) & np.isin(ops, OPS)
    for library, op in sorted({(str(a), str(b)) for a, b in zip(libraries[mine], ops[mine], strict=True)}):
        rows = np.flatnonzero(mine & (libraries == library) & (ops == op))
        if len(rows) < residual.MIN_ROWS:
            continue
        machine = wired(str(devices[rows[0]]), int(ranks[rows].max()), Options())
        where = ranks[rows], np.minimum(ranks[rows], machine.devices_per_node)
        priced = collective.price(machine, (library, op), size[rows], where, "analytic")
        features = of_links.features(_inside(op, size[rows], ranks[rows]))
        learned = residual.fit(features, np.log(seconds[rows] / priced.time_s), of_links.LENGTHS)
        yield of_links.residual_name(library, OPS.index(op)), learned


def _is_on(link: Link, name: str) -> bool:
    """Whether the devices of machine `name` reach each other over this link and no other inside a node."""
    try:
        found = wired(name, 1, Options()).links
    except AisysError:
        return False
    return [one.name for one in found.values()] == [link.name]


def _inside(op: str, size: Floats, ranks: NDArray[np.int64]) -> Rows:
    """The rows as collectives inside one node."""
    nothing = np.full(len(size), np.inf)
    return Rows(
        op=np.full(len(size), OPS.index(op)), num_bytes=size, per_node=ranks.astype(float),
        num_nodes=np.ones(len(size)), network_bytes_per_s=nothing, rank_network_bytes_per_s=nothing,
    )  # fmt: skip
