"""The contract of a cost model."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aisys.cost import CostTable, Tier
from aisys.errors import Unsupported
from aisys.frozen import FrozenMap
from aisys.ir import AccessRecord, BlockTraffic, OpTable, Phase, Stream
from aisys.machine import Device
from aisys.testing.contract import require
from aisys.units import Sourced

_FORMATS = ("bf16", "fp16", "fp32", "int8")
_TIERS: tuple[Tier, ...] = ("analytic", "calibrated")
_EXACT = 1e-12
"""Rows may be added up in another order, no more."""


class Price(Protocol):
    """What a cost model defines."""

    def __call__(self, table: OpTable, device: Device, *, tier: Tier = "analytic") -> CostTable: ...


def check_cost_model(price: Price, device: Device) -> None:
    """Raises ContractBroken unless `price` prices ops on `device` as a cost model should.

    Time and energy are positive, traffic is not negative, an interval has two ends; no tier is below the limit tier;
    more bandwidth is never slower; a row costs the same whatever its neighbours and their order; the keys name numbers
    of the device. Op kinds and formats that `price` refuses with Unsupported are passed over; one kind must remain.
    """
    tables = list(_supported(price, device))
    require(bool(tables), f"{device.name}: every op kind is refused; price at least one")
    for table in tables:
        limit = _checked(price, table, device, "limit")
        for tier in _TIERS:
            priced = _checked(price, table, device, tier)
            _check_at_least(priced.time_s, limit.time_s, f"{_where(table, device, tier)}: time is below the limit tier")
            _check_rows(price, table, device, tier, priced)
            faster = price(table, _with_bandwidth(device, 2.0), tier=tier)
            said = f"{_where(table, device, tier)}: twice the bandwidth is slower"
            _check_at_least(priced.time_s, faster.time_s, said)


def _supported(price: Price, device: Device) -> Iterator[OpTable]:
    """Each example table that `price` takes, in the first number format that it knows."""
    for kind, made in _EXAMPLES.items():
        for number_format in _FORMATS:
            table = made(number_format)
            try:
                price(table, device, tier="analytic")
            except Unsupported:
                continue
            require(table.kind == kind, f"the example of {kind} is a {table.kind}")
            yield table
            break


def _checked(price: Price, table: OpTable, device: Device, tier: Tier) -> CostTable:
    where = _where(table, device, tier)
    priced = price(table, device, tier=tier)
    require(isinstance(priced, CostTable), f"{where}: price gives a {type(priced).__name__}; give a CostTable")
    rows = (len(table),)
    arrays = {"time_s": priced.time_s, "energy_joule": priced.energy_joule, "bound": priced.bound}
    arrays |= {"error_low": priced.error_low, "error_high": priced.error_high}
    arrays |= {f"traffic of {name}": moved for name, moved in priced.traffic_bytes.items()}
    arrays |= {f"count of {name}": count for name, count in priced.counts.items()}
    for name, array in arrays.items():
        require(np.shape(array) == rows, f"{where}: {name} has shape {np.shape(array)}; give {rows}")
    for name in ("time_s", "energy_joule"):
        array = getattr(priced, name)
        require(bool((np.isfinite(array) & (array > 0)).all()), f"{where}: {name} is {array}; it is positive")
    for name, moved in priced.traffic_bytes.items():
        require(bool((moved >= 0).all()), f"{where}: traffic of {name} is {moved}; it is not negative")
    low, high = priced.error_low, priced.error_high
    validated = ~(np.isnan(low) & np.isnan(high))
    ordered = (low > 0) & (low <= high)
    require(bool(ordered[validated].all()), f"{where}: {low} to {high} is no interval")
    known = {number.key for number in _numbers(device)}
    unknown = sorted(priced.keys - known)
    require(not unknown, f"{where}: reads {unknown[:3]}, which {device.name} does not have")
    return priced


def _check_rows(price: Price, table: OpTable, device: Device, tier: Tier, priced: CostTable) -> None:
    """Rows alone, and in another order, cost what they cost together."""
    order = np.random.default_rng(0).permutation(len(table))
    picks = [(order, "in another order"), *((np.array([row]), f"row {row} alone") for row in range(len(table)))]
    for rows, said in picks:
        again = price(table.take(rows), device, tier=tier)
        for name in ("time_s", "energy_joule"):
            before, after = getattr(priced, name)[rows], getattr(again, name)
            same = bool(np.allclose(before, after, rtol=_EXACT, atol=0))
            require(same, f"{_where(table, device, tier)}: {said}, {name} is {after}, not {before}")
        same = bool((priced.bound[rows] == again.bound).all())
        require(same, f"{_where(table, device, tier)}: {said}, the bound is {again.bound}, not {priced.bound[rows]}")


def _check_at_least(high: NDArray[np.float64], low: NDArray[np.float64], said: str) -> None:
    require(bool((high >= low * (1 - _EXACT)).all()), f"{said}: {high} against {low}")


def _where(table: OpTable, device: Device, tier: Tier) -> str:
    return f"{table.kind} on {device.name}, {tier} tier"


def _with_bandwidth(device: Device, times: float) -> Device:
    def faster(number: Sourced) -> Sourced:
        return Sourced(number * times, source=number.source, kind=number.kind, key=number.key)

    memories = {
        name: replace(memory, bandwidth_bytes_per_s=faster(memory.bandwidth_bytes_per_s))
        for name, memory in device.memories.items()
    }
    return replace(device, memories=FrozenMap(memories))


def _numbers(value: object) -> Iterator[Sourced]:
    """Every sourced number inside a device."""
    if isinstance(value, Sourced):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _numbers(inner)
    elif isinstance(value, tuple):
        for inner in value:
            yield from _numbers(inner)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _numbers(getattr(value, field.name))


def _matmul(number_format: str) -> OpTable:
    return OpTable.of(
        "matmul", batch=[1, 1, 1, 16], m=[1, 512, 4096, 128], n=[4096, 1024, 4096, 64], k=[4096, 1024, 4096, 128],
        b_is_weight=[True, True, True, False], **_operands(number_format),
    )  # fmt: skip


def _grouped_matmul(number_format: str) -> OpTable:
    return OpTable.of(
        "grouped_matmul", groups=[8, 64], m=[16, 4096], n=[1024, 2048], k=[2048, 1024], **_operands(number_format)
    )


def _conv(number_format: str) -> OpTable:
    return OpTable.of(
        "conv", batch=[1, 4, 1], groups=[1, 1, 64], out_channels=[64, 128, 1], in_channels=[3, 64, 1],
        out_h=[112, 14, 56], out_w=[112, 14, 56], kernel_h=[7, 3, 3], kernel_w=[7, 3, 3], stride=[2, 1, 1],
        **_operands(number_format),
    )  # fmt: skip


def _operands(number_format: str) -> dict[str, str]:
    return dict.fromkeys(("a_dtype", "b_dtype", "out_dtype", "math"), number_format)


def _attention(number_format: str) -> OpTable:
    return OpTable.of(
        "attention", batch=[1, 8], q_len=[1024, 1], kv_len=[1024, 4096], q_heads=32, kv_heads=8, head_dim=128,
        value_dim=128, window=0, is_causal=True, is_backward=False, page_size=0, q_dtype=number_format,
        kv_dtype=number_format, math=number_format,
    )  # fmt: skip


def _stream(number_format: str) -> OpTable:
    elements = np.array([1e3, 1e6, 1e8])
    return OpTable.of(
        "stream", read_bytes=8 * elements, write_bytes=4 * elements, flop=elements, rows=1, cols=elements,
        function="add", dtype="int32" if number_format == "int8" else number_format,
    )  # fmt: skip


def _traversal(number_format: str) -> OpTable:
    return OpTable.of("traversal", record=[_record(64), _record(100_000)])


def _record(num_pieces: int) -> AccessRecord:
    """A made-up walk of two phases over lists of eight neighbours."""
    checks = 8 * num_pieces
    lists = Stream(
        tensor="targets", pattern="sequential", accesses=checks, grain_bytes=4, footprint_bytes=4 * checks,
        num_runs=num_pieces, reuse=(0.8, 0.8),
    )  # fmt: skip
    gather = Stream(
        tensor="depth", pattern="gather", accesses=checks, grain_bytes=4, footprint_bytes=4 * num_pieces,
        reuse=(0.1, 0.2, 0.3, 0.5, 0.9),
    )  # fmt: skip
    blocks = np.array([0, 0, 5], np.int32), np.array([0, 9, 1023], np.int32)
    phase = Phase(
        op_counts=FrozenMap(int_add=checks, int_compare=checks, rare_branch=num_pieces), streams=(lists, gather),
        parallel_slack=num_pieces, traffic=BlockTraffic(*blocks, np.array([checks, checks, 2 * checks])),
    )  # fmt: skip
    return AccessRecord(data_digest="made up", phases=(phase, phase))


_EXAMPLES: Mapping[str, Any] = {
    "matmul": _matmul,
    "grouped_matmul": _grouped_matmul,
    "conv": _conv,
    "attention": _attention,
    "stream": _stream,
    "traversal": _traversal,
}
