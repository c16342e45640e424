"""What one repetition of a block takes on one device: kernels and collectives, priced together, summed by phase."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aisys.cost import Tier, cost
from aisys.ir import Op, kernels, tables
from aisys.ir.graph import Tensor
from aisys.ir.rows import Kernel
from aisys.lower.communication import Group, transfer_times
from aisys.machine import Machine
from aisys.plan import ShardedBlock, Transfer

Floats = NDArray[np.float64]
LOW_PRECISION = ("fp8", "fp8_block", "nvfp4", "mxfp4")
PHASES = ("forward", "recompute", "input_gradient", "weight_gradient")
COMPUTE = ("matmul", "attention", "grouped_matmul", "conv", "stream", "traversal")
PRODUCTS = ("matmul", "grouped_matmul")
COMMUNICATION = ("tensor", "context", "expert")
CATEGORIES = (*COMPUTE, *COMMUNICATION)
_PRODUCT_OF = np.array([PRODUCTS.index(c) if c in PRODUCTS else -1 for c in CATEGORIES])


@dataclass(frozen=True, eq=False, kw_only=True)
class BlockWork:
    """One sharded block to price, with the tensors its ops name and the groups that its transfers cross."""

    block: ShardedBlock
    tensors: Mapping[str, Tensor]
    groups: dict[str, Group]


@dataclass(frozen=True, eq=False, kw_only=True)
class BlockCosts:
    """One entry per priced block, for one microbatch.

    time_s: array [entries, PHASES, CATEGORIES]; communication in it is what the device waits for. fp8_s: the part of
    it that matmuls and grouped matmuls in fp8 take, [entries, PHASES, 2]. hideable_s: tensor-parallel transfers, not
    in time_s, that a framework may run under products, [entries, PHASES]. num_kernels, num_transfers: [entries,
    PHASES]. energy_joule, and low_s, high_s, the 90 % interval of the sum over phases: [entries]. keys: constants
    read.
    """

    time_s: Floats
    fp8_s: Floats
    hideable_s: Floats
    num_kernels: Floats
    num_transfers: Floats
    energy_joule: Floats
    low_s: Floats
    high_s: Floats
    keys: frozenset[str]


def price(works: Sequence[BlockWork], machine: Machine, tier: Tier, library: str = "") -> BlockCosts:
    """Price every block of `works` on the device and links of `machine`: one table per op kind for all of them.

    library: the collective library of the transfers inside blocks.
    """
    per_phase = (len(works), len(PHASES))
    time_s = np.zeros((*per_phase, len(CATEGORIES)))
    fp8_s, num_kernels = np.zeros((*per_phase, len(PRODUCTS))), np.zeros(per_phase)
    energy, low, high = (np.zeros(len(works)) for _ in range(3))
    keys: set[str] = set()
    flat = [found for i, work in enumerate(works) for found in _kernel_entries(i, work)]
    for kind, (table, index) in tables([kernel.row for *_, kernel in flat]).items():
        priced = cost(table, machine.device, tier=tier)
        where = np.array([(e, p, _category(k)) for e, p, k in flat if k.row[0] == kind]).T
        rows = np.array(index)
        seconds = priced.time_s[rows]
        np.add.at(time_s, tuple(where), seconds)
        np.add.at(num_kernels, (where[0], where[1]), 1)
        if kind in PRODUCTS:
            in_fp8 = np.where(np.isin(table["math"][rows], LOW_PRECISION), seconds, 0.0)
            np.add.at(fp8_s, (where[0], where[1], _PRODUCT_OF[where[2]]), in_fp8)
        np.add.at(energy, where[0], priced.energy_joule[rows])
        np.add.at(low, where[0], seconds * priced.error_low[rows])
        np.add.at(high, where[0], seconds * priced.error_high[rows])
        keys |= priced.keys
    moved = [found for i, work in enumerate(works) for found in _transfer_entries(i, work)]
    transfers = _Transfers(moved, machine, time_s, library)
    return BlockCosts(
        time_s=time_s, fp8_s=fp8_s, hideable_s=transfers.hideable_s, num_kernels=num_kernels,
        num_transfers=transfers.number, energy_joule=energy, low_s=low + transfers.low_s,
        high_s=high + transfers.high_s, keys=frozenset(keys) | transfers.keys,
    )  # fmt: skip


def _category(kernel: Kernel) -> int:
    """The place in CATEGORIES of a kernel: products of experts count as such, whatever kernel runs them."""
    is_expert = kernel.ops[0].kind == "grouped_matmul"
    return CATEGORIES.index("grouped_matmul" if is_expert else kernel.row[0])


def _kernel_entries(entry: int, work: BlockWork) -> list[tuple[int, int, Kernel]]:
    out = []
    for phase in PHASES:
        ops = [s for s in work.block.steps if isinstance(s, Op) and s.phase == phase]
        out += [(entry, PHASES.index(phase), k) for k in kernels(ops, work.tensors)]
    return out


def _transfer_entries(entry: int, work: BlockWork) -> list[tuple[int, Transfer, Group]]:
    steps = (s for s in work.block.steps if isinstance(s, Transfer) and s.phase in PHASES)
    return [(entry, s, work.groups[s.mesh_axis]) for s in steps]


class _Transfers:
    """The transfers of all blocks: adds to `time_s` what the device waits for, whatever the framework."""

    def __init__(
        self, moved: Sequence[tuple[int, Transfer, Group]], machine: Machine, time_s: Floats, library: str
    ) -> None:
        self.hideable_s, self.number, under_attention = (np.zeros(time_s.shape[:2]) for _ in range(3))
        self.low_s, self.high_s = np.zeros(len(time_s)), np.zeros(len(time_s))
        num_bytes = np.array([t.num_bytes for _, t, _ in moved], np.float64)
        kinds, where = [t.kind for _, t, _ in moved], [g for _, _, g in moved]
        times = transfer_times(kinds, num_bytes, where, machine, library)
        self.keys = times.keys
        hidden = {"attention": under_attention, "matmul": self.hideable_s}
        for (entry, transfer, _), seconds, lo, hi in zip(moved, times.time_s, times.low_s, times.high_s, strict=True):
            phase = PHASES.index(transfer.phase)
            self.number[entry, phase] += 1
            if transfer.under:
                hidden[transfer.under][entry, phase] += seconds
            else:
                time_s[entry, phase, CATEGORIES.index(transfer.mesh_axis)] += seconds
                self.low_s[entry] += lo
                self.high_s[entry] += hi
        exposed = np.maximum(0.0, under_attention - time_s[:, :, CATEGORIES.index("attention")])
        time_s[:, :, CATEGORIES.index("context")] += exposed
        self.low_s += exposed.sum(1)
        self.high_s += exposed.sum(1)
