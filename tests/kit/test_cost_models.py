"""Every cost model keeps its contract on every device of the catalogue, and the kit finds models that do not."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import aisys
from aisys import plugins
from aisys.cost import CostTable, Tier, cost
from aisys.cost.systolic_array import price
from aisys.errors import Unsupported
from aisys.frozen import FrozenMap
from aisys.ir import OpTable
from aisys.machine import Device, list_devices
from aisys.testing import ContractBroken, check_cost_model

SEARCHED = ("eyeriss-v1", "simba-like", "tpu-v4i")
"""Devices whose ops are searched for long; gemmini and ZigZag's array, which are searched too, are quick."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SEARCHED else ()) for name in list_devices()]
)
def test_every_model_keeps_its_contract(name: str) -> None:
    check_cost_model(cost, aisys.device(name))


def test_every_model_has_a_device_that_it_prices() -> None:
    kinds = {type(aisys.device(name).architecture).__name__.lower() for name in list_devices()}
    assert {stem.replace("_", "") for stem in plugins.names("cost")} == kinds


Change = Callable[[CostTable, OpTable, Device], CostTable]


def broken(change: Change) -> Callable[..., CostTable]:
    def broken_price(table: OpTable, device: Device, *, tier: Tier = "analytic") -> CostTable:
        return change(price(table, device, tier=tier), table, device) if tier != "limit" else price(table, device)

    return broken_price


def with_time(found: CostTable, factor: object) -> CostTable:
    return replace(found, time_s=found.time_s * factor)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found, table, device: with_time(found, 0.0), "time_s is .* it is positive"),
        (lambda found, table, device: with_time(found, np.nan), "time_s is .* it is positive"),
        (lambda found, table, device: with_time(found, 0.5), "time is below the limit tier"),
        (lambda found, table, device: with_time(found, 1 + np.arange(len(table))), "in another order, time_s"),
        (lambda found, table, device: with_time(found, len(table)), "alone, time_s"),
        (
            lambda found, table, device: with_time(found, 1e-9 * device.main_memory.bandwidth_bytes_per_s),
            "twice the bandwidth is slower",
        ),
        (lambda found, table, device: replace(found, keys=frozenset({"nowhere.hz"})), "reads .*nowhere.hz"),
        (lambda found, table, device: replace(found, time_s=found.time_s[:-1]), "time_s has shape"),
        (
            lambda found, table, device: replace(
                found, error_low=found.time_s * 0 + 2, error_high=found.time_s * 0 + 1
            ),
            "is no interval",
        ),
        (lambda found, table, device: replace(found, traffic_bytes=FrozenMap(x=-found.time_s)), "is not negative"),
        (lambda found, table, device: found.time_s, "give a CostTable"),
    ],
)
def test_a_broken_model_is_found(change: Change, said: str) -> None:
    with pytest.raises(ContractBroken, match=said):
        check_cost_model(broken(change), aisys.device("systolic-32x32"))


def test_a_model_of_nothing_is_found() -> None:
    def refuse(table: OpTable, device: Device, *, tier: Tier = "analytic") -> CostTable:
        raise Unsupported("nothing is priced here")

    with pytest.raises(ContractBroken, match="every op kind is refused"):
        check_cost_model(refuse, aisys.device("systolic-32x32"))
