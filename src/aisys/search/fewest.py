"""The fewest devices of a machine that keep a limit."""

from collections.abc import Mapping, Sequence
from typing import Any

from aisys.errors import AisysError, DoesNotFit, UnknownName
from aisys.ir import Graph
from aisys.machine.load import machine
from aisys.report import Frontier
from aisys.search.evaluate import ANALYTIC
from aisys.search.exhaustive import search
from aisys.search.question import ForwardPass, Method, Serving

MOST_DEVICES = 65536


def fewest_devices(
    workload: Graph | Serving | ForwardPass, spec: str, at_most: Mapping[str, float], *, techniques: Sequence[Any] = (),
    top: int = 10, method: Method = ANALYTIC,
) -> Frontier:  # fmt: skip
    """The search on the smallest part or multiple of machine `spec` (1, 2, 4, ... devices) that keeps `at_most`.

    Raises DoesNotFit, with what the largest machine tried says, where no number up to MOST_DEVICES will do.
    """
    num_devices, tried, last = 1, 0, ""
    while num_devices <= MOST_DEVICES:
        tried = num_devices
        try:
            part = machine(spec, num_devices=num_devices)
            return search(workload, part, techniques=techniques, at_most=at_most, top=top, method=method)
        except UnknownName:
            raise
        except AisysError as error:
            last = str(error) if isinstance(error, DoesNotFit) or not last else last
            if num_devices > machine(spec).num_devices and not isinstance(error, DoesNotFit):
                break
        num_devices *= 2
    raise DoesNotFit(f"no number of devices of {spec} up to {tried} keeps the limit: {last}")
