"""Image networks: a batch on replicas, microbatch by microbatch, or image by image through a stage per layer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aisys.cost import Tier
from aisys.errors import AisysError, BadInput, CannotApply, DoesNotFit, unknown_name
from aisys.frozen import FrozenMap
from aisys.ir import Graph, Op, kernels
from aisys.lower.blocks import CATEGORIES, BlockCosts, BlockWork, price
from aisys.machine import Fpga, GeneratedArray, Machine
from aisys.plan import Degrees, Plan, ShardedBlock, shard
from aisys.plan.space import PlanSpace, powers_of_two
from aisys.plan.types import PRECISIONS
from aisys.report import Frontier, OpLine, Report
from aisys.report.quantity import gigabytes
from aisys.search import stages
from aisys.search.op_lines import kernel_lines
from aisys.search.pareto import pareto
from aisys.search.passing import Passing
from aisys.search.provenance import sources
from aisys.search.question import ForwardPass, Method, applied
from aisys.technique.kernel_fusion import KernelFusion

LIMITS = ("latency_s",)
DECIDED = ("data", "micro_batch", "num_microbatches", "precision", "hardware")


@dataclass(frozen=True, eq=False, kw_only=True)
class PassQuestion:
    """graph: of the whole batch, techniques applied. space: narrowed by the constraining ones."""

    graph: Graph
    space: PlanSpace
    machine: Machine
    tier: Tier
    batch: int
    precision: str


def ask(workload: ForwardPass, machine: Machine, techniques: Sequence[Any], method: Method) -> PassQuestion:
    """Raises BadInput for a graph that has no batch, or has tokens, CannotApply where a decision cannot be held."""
    if method.framework:
        raise BadInput(f"{workload.graph.name!r} has images, for which no framework was measured; leave it out")
    machine = method.calibrate(machine) if method.calibrate else machine
    (graph,), space = applied([workload.graph], techniques)
    graph = KernelFusion().apply(graph)
    batches = {tensor.axes.get("batch") for block in graph.blocks for tensor in block.tensors_of("activation")}
    formats = {op_format(op, graph) for block in graph.blocks for op in block.ops if op.kind in ("conv", "matmul")}
    if len(batches) != 1 or None in batches or len(formats) != 1:
        raise BadInput(f"{graph.name!r} has batches {batches} and number formats {formats}; a pass has one of each")
    precision, batch = formats.pop(), batches.pop()
    assert batch is not None
    if precision not in PRECISIONS or precision not in space.values("precision", (precision,)):
        raise CannotApply(
            f"{graph.name} multiplies {precision}, but precision is held to "
            f"{', '.join(space.values('precision', PRECISIONS))}"
        )
    for name, values in space.choices.items():
        if name not in DECIDED and getattr(Plan(), name) not in values:
            raise CannotApply(f"{name}={values[0]}: an image network is only replicated; hold {', '.join(DECIDED)}")
    return PassQuestion(graph=graph, space=space, machine=machine, tier=method.tier, batch=batch, precision=precision)


def op_format(op: Op, graph: Graph) -> str:
    """The number format that a product of `graph` multiplies in."""
    block = next(block for block in graph.blocks if op in block.ops)
    return str(op.options.get("math", block.tensors[op.reads[0]].dtype.name))


def possible_plans(question: PassQuestion) -> tuple[Plan, ...]:
    """Replicas on all devices; microbatches that are powers of two, or all at once; on an FPGA, stages as well.

    Raises CannotApply where the devices do not share the batch evenly.
    """
    machine, space = question.machine, question.space
    data = machine.num_devices
    each, rest = divmod(question.batch, data)
    if rest or not each or data not in space.values("data", (data,)):
        raise CannotApply(
            f"{question.batch} images do not spread over the {data} devices of {machine.name}; give a batch that is a "
            f"multiple of {data}, or other devices"
        )
    sizes = sorted({size for size in (*powers_of_two(each), each) if each % size == 0})
    can_stage = isinstance(machine.device.architecture, Fpga)
    hardware = space.values("hardware", ("shared", "staged") if can_stage else ("shared",))
    plans = [
        Plan(data=data, micro_batch=size, num_microbatches=each // size, precision=question.precision, hardware=chosen)
        for chosen in hardware
        for size in space.values("micro_batch", tuple(sizes) if chosen == "shared" else (1,))
        if each % size == 0 and each // size in space.values("num_microbatches", (each // size,))
    ]  # fmt: skip
    if not plans:
        raise CannotApply(f"no microbatch of {each} images per device is left; hold micro_batch to one of {sizes}")
    return tuple(plans)


def evaluate_passes(question: PassQuestion, plans: Sequence[Plan]) -> list[Passing | str]:
    """What each plan takes for the whole batch, or why it cannot be."""
    shared = [plan for plan in plans if plan.hardware == "shared"]
    found = dict(zip(shared, _shared(question, shared), strict=True))
    return [found[plan] if plan in found else _staged(question, plan) for plan in plans]


def _staged(question: PassQuestion, plan: Plan) -> Passing | str:
    try:
        return stages.passing(question.graph, question.machine, plan)
    except AisysError as error:
        return str(error)


def _shared(question: PassQuestion, plans: Sequence[Plan]) -> Iterator[Passing]:
    """Kernels one after another, and microbatches too: all plans are priced in one go."""
    blocks = question.graph.blocks
    sharded = [shard(block, Degrees(micro_batch=plan.micro_batch)) for plan in plans for block in blocks]
    works = [
        BlockWork(block=made, tensors=blocks[i % len(blocks)].tensors, groups={}) for i, made in enumerate(sharded)
    ]
    if not works:
        return
    costs = price(works, question.machine, question.tier)
    for number, plan in enumerate(plans):
        rows = slice(number * len(blocks), (number + 1) * len(blocks))
        yield _passing(question, plan, costs, rows, sharded[rows])


def _passing(
    question: PassQuestion, plan: Plan, costs: BlockCosts, rows: slice, sharded: Sequence[ShardedBlock]
) -> Passing:
    graph = question.graph
    repeat = np.array([sum(s.repeat for s in graph.segments if s.block == block) for block in graph.blocks], float)
    parts = np.einsum("b,bpc->c", repeat, costs.time_s[rows])
    once_s = float(parts.sum())
    times = plan.num_microbatches
    ends = [float(repeat @ end[rows]) * times for end in (costs.low_s, costs.high_s)]
    weights = float(repeat @ [sum(made.state_bytes.values()) for made in sharded])
    return Passing(
        time_s=once_s * times, latency_s=once_s, low_s=ends[0], high_s=ends[1],
        energy_joule=float(repeat @ costs.energy_joule[rows]) * times * plan.data,
        memory_bytes=FrozenMap(weight=weights, activations=max(made.working_bytes for made in sharded)),
        breakdown_s=FrozenMap({n: s * times for n, s in zip(CATEGORIES, parts.tolist(), strict=True) if s}),
        keys=costs.keys, assumptions=("kernels follow one another without what a framework or a host adds",),
    )  # fmt: skip


def op_lines(question: PassQuestion, plan: Plan) -> tuple[OpLine, ...]:
    """Every kernel of one microbatch; of stages, each stage and one image."""
    if plan.hardware == "staged":
        return stages.op_lines(question.graph, question.machine)
    lines: list[OpLine] = []
    for block in question.graph.blocks:
        steps = shard(block, Degrees(micro_batch=plan.micro_batch)).steps
        found = kernels([step for step in steps if isinstance(step, Op)], block.tensors)
        repeat = sum(s.repeat for s in question.graph.segments if s.block == block)
        lines += kernel_lines(block.name, repeat, found, question.machine.device, question.tier)
    return tuple(lines)


def report(question: PassQuestion, plan: Plan, done: Passing) -> Report:
    """The report of one plan."""
    machine, device = question.machine, question.machine.device
    usd = float(device.price_usd_per_hour) * plan.num_devices / 3600 * done.time_s
    capacity, peak = float(device.main_memory.capacity_bytes), sum(done.memory_bytes.values())
    clock = getattr(device.architecture, "clock_hz", None)
    metrics = {"latency_s": done.latency_s, **done.metrics}
    if isinstance(device.architecture, (Fpga, GeneratedArray)) and clock is not None:
        metrics["cycles"] = done.time_s * float(clock)
    return Report(
        workload=question.graph.name, machine=machine.name, goal="infer", plan=plan, time_s=done.time_s,
        low_s=done.low_s, high_s=done.high_s, throughput_per_s=question.batch / done.time_s, unit="image",
        energy_joule=done.energy_joule, peak_memory_bytes=peak, capacity_bytes=capacity,
        usd_per_million=usd / question.batch * 1e6, memory_bytes=done.memory_bytes, breakdown_s=done.breakdown_s,
        metrics=FrozenMap(metrics), bound=max(done.breakdown_s, key=done.breakdown_s.__getitem__), tier=question.tier,
        reason=f"needs {gigabytes(peak - capacity)} more than one {device.name} has" if peak > capacity else "",
        assumptions=(*_assumptions(question), *done.assumptions), ops=op_lines(question, plan),
        provenance=(*sources(done.keys, machine), device.price_usd_per_hour, device.main_memory.capacity_bytes),
    )  # fmt: skip


def _assumptions(question: PassQuestion) -> Iterator[str]:
    array = question.machine.device.architecture
    yield f"all {question.batch} images are there at the start"
    if isinstance(array, GeneratedArray):
        yield "the host lays out windows and computes what is no product, as fast as the memory port moves its bytes"
        if array.num_kept_weights < array.num_group_weights:
            yield f"{array.num_kept_weights:g} of every {array.num_group_weights:g} weights along k are not zero"


def evaluate(question: PassQuestion, plan: Plan | None) -> Report:
    """The report of `plan`, or of the fastest plan that fits."""
    if plan is None:
        return search(question, ("time_s", "energy_joule"), 1, {}).reports[0]
    if plan.global_batch != question.batch:
        raise BadInput(f"the plan runs {plan.global_batch} images, the workload has {question.batch}")
    (done,) = evaluate_passes(question, [plan])
    if isinstance(done, str):
        raise CannotApply(done)
    return report(question, plan, done)


def search(question: PassQuestion, objectives: tuple[str, ...], top: int, at_most: Mapping[str, float]) -> Frontier:
    """The plans that take the shortest time for the batch, of those that fit and keep `at_most`."""
    for name in at_most:
        if name not in LIMITS:
            raise unknown_name("limit of image networks", name, LIMITS)
    plans, machine = possible_plans(question), question.machine
    found = list(zip(plans, evaluate_passes(question, plans), strict=True))
    ruled_out = [done for _, done in found if isinstance(done, str)]
    possible = [(plan, done) for plan, done in found if isinstance(done, Passing)]
    capacity = float(machine.device.main_memory.capacity_bytes)
    fits = [(plan, done) for plan, done in possible if sum(done.memory_bytes.values()) <= capacity]
    if not fits:
        raise _too_big(question, [done for _, done in possible], ruled_out)
    kept = [(p, done) for p, done in fits if all(getattr(done, name) <= most for name, most in at_most.items())]
    if not kept:
        name, most = next(iter(at_most.items()))
        best = min(getattr(done, name) for _, done in fits)
        raise DoesNotFit(f"no plan on {machine.name} keeps {name} at most {most:.6g} s: the best reaches {best:.6g} s")
    kept.sort(key=lambda one: one[1].time_s)
    values = [[_objective(done, name) for name in objectives] for _, done in kept]
    front = pareto(np.array(values)).tolist()
    chosen = sorted({*range(min(top, len(kept))), *front})
    return Frontier(
        workload=question.graph.name, machine=machine.name, goal="infer", objectives=objectives,
        reports=tuple(report(question, *kept[place]) for place in chosen),
        pareto=tuple(chosen.index(place) for place in front), num_evaluated=len(plans), num_pruned=len(ruled_out),
        binding_constraint=_binding(question, ruled_out, len(possible) - len(fits)),
    )  # fmt: skip


def _objective(done: Passing, name: str) -> float:
    return float(sum(done.memory_bytes.values()) if name == "peak_memory_bytes" else getattr(done, name))


def _binding(question: PassQuestion, ruled_out: Sequence[str], num_over: int) -> str:
    if ruled_out:
        return f"a stage of hardware per layer is ruled out: {ruled_out[0]}"
    if num_over:
        many = f"{num_over} plan{'s' * (num_over > 1)}"
        return f"memory of {question.machine.device.name} rules out {many} with larger microbatches"
    return "nothing: every plan of the space fits"


def _too_big(question: PassQuestion, possible: Sequence[Passing], ruled_out: Sequence[str]) -> DoesNotFit:
    if not possible:
        return DoesNotFit(ruled_out[0])
    device = question.machine.device
    over = min(sum(done.memory_bytes.values()) for done in possible) - float(device.main_memory.capacity_bytes)
    return DoesNotFit(
        f"{question.graph.name} does not fit {question.machine.name}: even one image at a time needs "
        f"{gigabytes(over)} more than each {device.name} has; use smaller number formats or another device"
    )
