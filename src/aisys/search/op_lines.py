"""Every kernel and transfer of a plan, one by one: what tables of layers and rooflines show."""

from collections.abc import Iterator

import numpy as np

from aisys.cost import Tier, cost
from aisys.cost.gpu import limit
from aisys.ir import Kernel, Op, kernels, tables
from aisys.lower.blocks import PHASES
from aisys.lower.communication import transfer_times
from aisys.lower.shares import Setting
from aisys.machine import Device
from aisys.plan import Degrees, Plan, Transfer, shard
from aisys.plan.groups import groups
from aisys.report import OpLine


def op_lines(setting: Setting, plan: Plan) -> tuple[OpLine, ...]:
    """One line per kernel and transfer of one microbatch, for each distinct block."""
    graph = setting.variant(plan.precision, plan.recompute)
    degrees = Degrees(
        tensor=plan.tensor, sequence_parallel=plan.sequence_parallel, context=plan.context, expert=plan.expert,
        micro_batch=plan.micro_batch,
    )  # fmt: skip
    repeat = {block: sum(s.repeat for s in graph.segments if s.block == block) for block in graph.blocks}
    lines: list[OpLine] = []
    for block in graph.blocks:
        steps = shard(block, degrees).steps
        found = [k for phase in PHASES for k in _kernels(steps, phase, block.tensors)]
        lines += kernel_lines(block.name, repeat[block], found, setting.fabric.device, setting.tier)
        moved = [s for s in steps if isinstance(s, Transfer)]
        lines += _transfer_lines(setting, plan, block.name, repeat[block], moved)
    return tuple(lines)


def _kernels(steps: tuple[Op | Transfer, ...], phase: str, tensors: object) -> list[Kernel]:
    return kernels([s for s in steps if isinstance(s, Op) and s.phase == phase], tensors)  # type: ignore[arg-type]


def kernel_lines(block: str, repeat: int, found: list[Kernel], device: Device, tier: Tier) -> Iterator[OpLine]:
    """One line per kernel of `found`, which a block repeats so often."""
    for kind, (table, index) in tables([k.row for k in found]).items():
        priced = cost(table, device, tier=tier)
        traffic = np.sum(list(priced.traffic_bytes.values()), axis=0)
        unmasked = limit.work(table).flop if kind == "attention" else np.zeros(len(table))
        for kernel, row in zip((k for k in found if k.row[0] == kind), index, strict=True):
            first = kernel.ops[0]
            name = str(first.options.get("fuse", first.name)) if len(kernel.ops) > 1 else first.name
            yield OpLine(
                block=block, name=name, phase=first.phase, kind=kind, repeat=repeat, time_s=float(priced.time_s[row]),
                flop=float(unmasked[row] or sum(op.flop for op in kernel.ops)), traffic_bytes=float(traffic[row]),
                bound=str(priced.bound[row]),
            )  # fmt: skip


def _transfer_lines(setting: Setting, plan: Plan, block: str, repeat: int, moved: list[Transfer]) -> Iterator[OpLine]:
    where = groups(plan, setting.machine)
    size = np.array([t.num_bytes for t in moved])
    if not moved:
        return
    kinds, across = [t.kind for t in moved], [where[t.mesh_axis] for t in moved]
    times = transfer_times(kinds, size, across, setting.machine, setting.library)
    for transfer, seconds in zip(moved, times.time_s, strict=True):
        yield OpLine(
            block=block, name=transfer.tensor, phase=transfer.phase, kind=transfer.kind, repeat=repeat,
            time_s=float(seconds), flop=0.0, traffic_bytes=transfer.num_bytes, bound=f"{transfer.mesh_axis} link",
        )  # fmt: skip
