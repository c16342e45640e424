"""What one repetition of a block takes on one device: kernels and collectives, priced together, summed by phase."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aisys.cost import Tier, cost
from aisys.ir import Op, kernels, tables
from aisys.ir.graph import Tensor
from aisys.lower.communication import Group, transfer_times
from aisys.machine import Machine
from aisys.plan import ShardedBlock, Transfer

Floats = NDArray[np.float64]
PHASES = ("forward", "recompute", "input_gradient", "weight_gradient")
COMPUTE = ("matmul", "attention", "grouped_matmul", "stream", "traversal")
COMMUNICATION = ("tensor", "context", "expert")
CATEGORIES = (*COMPUTE, *COMMUNICATION)


@dataclass(frozen=True, eq=False, kw_only=True)
class BlockWork:
    """One sharded block to price, with the tensors its ops name and the groups that its transfers cross."""

    block: ShardedBlock
    tensors: Mapping[str, Tensor]
    groups: dict[str, Group]


@dataclass(frozen=True, eq=False, kw_only=True)
class BlockCosts:
    """One entry per priced block. time_s: array [entries, PHASES, CATEGORIES]; communication inside is what the
    device waits for. num_kernels: [entries, PHASES]. energy_joule: [entries], one microbatch, all phases.
    low_s, high_s: [entries] 90 % interval of the sum over phases. keys: machine constants read.
    """

    time_s: Floats
    num_kernels: NDArray[np.int64]
    energy_joule: Floats
    low_s: Floats
    high_s: Floats
    keys: frozenset[str]


def price(works: Sequence[BlockWork], machine: Machine, tier: Tier) -> BlockCosts:
    """Price every block of `works` on the device and links of `machine`: one table per op kind for all of them."""
    time_s = np.zeros((len(works), len(PHASES), len(CATEGORIES)))
    num_kernels = np.zeros((len(works), len(PHASES)), np.int64)
    energy, low, high = (np.zeros(len(works)) for _ in range(3))
    keys: set[str] = set()
    entries = [_kernel_entries(i, work) for i, work in enumerate(works)]
    flat = [(entry, phase, row) for rows in entries for entry, phase, row in rows]
    for kind, (table, index) in tables([row for _, _, row in flat]).items():
        priced = cost(table, machine.device, tier=tier)
        where = np.array([(e, p) for e, p, row in flat if row[0] == kind]).T
        rows = np.array(index)
        seconds = priced.time_s[rows]
        np.add.at(time_s, (where[0], where[1], CATEGORIES.index(kind)), seconds)
        np.add.at(num_kernels, (where[0], where[1]), 1)
        np.add.at(energy, where[0], priced.energy_joule[rows])
        np.add.at(low, where[0], seconds * priced.error_low[rows])
        np.add.at(high, where[0], seconds * priced.error_high[rows])
        keys |= priced.keys
    moved = [_transfer_entries(i, work) for i, work in enumerate(works)]
    keys |= _add_transfers([t for rows in moved for t in rows], time_s, low, high, machine)
    return BlockCosts(
        time_s=time_s, num_kernels=num_kernels, energy_joule=energy, low_s=low, high_s=high, keys=frozenset(keys)
    )


def _kernel_entries(entry: int, work: BlockWork) -> list[tuple[int, int, tuple[str, dict[str, object]]]]:
    out = []
    for phase in PHASES:
        ops = [s for s in work.block.steps if isinstance(s, Op) and s.phase == phase]
        out += [(entry, PHASES.index(phase), k.row) for k in kernels(ops, work.tensors)]
    return out


def _transfer_entries(entry: int, work: BlockWork) -> list[tuple[int, Transfer, Group]]:
    steps = (s for s in work.block.steps if isinstance(s, Transfer))
    return [(entry, s, work.groups[s.mesh_axis]) for s in steps]


def _add_transfers(
    moved: Sequence[tuple[int, Transfer, Group]], time_s: Floats, low: Floats, high: Floats, machine: Machine
) -> set[str]:
    """Add the transfers' times; what runs under attention counts only where it outlasts the attention."""
    if not moved:
        return set()
    times = transfer_times(
        [t.kind for _, t, _ in moved], np.array([t.num_bytes for _, t, _ in moved]), [g for _, _, g in moved], machine
    )
    hidden = np.zeros(time_s.shape[:2])
    for (entry, transfer, _), seconds, lo, hi in zip(moved, times.time_s, times.low_s, times.high_s, strict=True):
        phase = PHASES.index(transfer.phase)
        if transfer.overlaps:
            hidden[entry, phase] += seconds
        else:
            time_s[entry, phase, CATEGORIES.index(transfer.mesh_axis)] += seconds
            low[entry] += lo
            high[entry] += hi
    exposed = np.maximum(0.0, hidden - time_s[:, :, CATEGORIES.index("attention")])
    time_s[:, :, CATEGORIES.index("context")] += exposed
    low += exposed.sum(1)
    high += exposed.sum(1)
    return set(times.keys)
