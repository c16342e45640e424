"""Hand-made answers with the shape of real ones: what renderers are tested on. No number here means anything."""

import numpy as np

from aisys.frozen import FrozenMap
from aisys.lower.pipeline import PipelineTimes, program
from aisys.plan import Plan
from aisys.report import Frontier, OpLine, Report
from aisys.sim import Timeline, run
from aisys.units import GIGA, PS_PER_S, Sourced

GLOBAL_BATCH, TOKENS, DEVICES = 128, 4096, 64
LAYERS = 80
SHAPES = (
    (8, 1, 1, "none"), (8, 2, 1, "selective"), (8, 4, 1, "none"), (4, 4, 2, "selective"), (8, 8, 1, "full"),
    (4, 8, 4, "none"), (2, 8, 2, "full"), (8, 4, 5, "selective"), (4, 2, 1, "full"), (2, 4, 1, "full"),
)  # fmt: skip
OPS = (
    ("norm1", "forward", "stream", 42e-6, 0.0, 134e6, "memory"),
    ("qkv", "forward", "matmul", 390e-6, 2.1e11, 160e6, "compute"),
    ("attention", "forward", "attention", 310e-6, 6.9e10, 70e6, "compute"),
    ("out", "forward", "matmul", 330e-6, 1.7e11, 150e6, "compute"),
    ("all_reduce", "forward", "all_reduce", 240e-6, 0.0, 67e6, "bandwidth"),
    ("gate_up", "forward", "matmul", 1430e-6, 9.4e11, 420e6, "compute"),
    ("silu", "forward", "stream", 97e-6, 0.0, 352e6, "memory"),
    ("down", "forward", "matmul", 720e-6, 4.7e11, 260e6, "compute"),
    ("all_reduce2", "forward", "all_reduce", 240e-6, 0.0, 67e6, "bandwidth"),
    ("qkv.d_input", "input_gradient", "matmul", 400e-6, 2.1e11, 160e6, "compute"),
    ("qkv.d_weight", "weight_gradient", "matmul", 410e-6, 2.1e11, 190e6, "compute"),
    ("attention.d_input", "input_gradient", "attention", 780e-6, 1.7e11, 150e6, "compute"),
    ("gate_up.d_input", "input_gradient", "matmul", 1440e-6, 9.4e11, 430e6, "compute"),
    ("gate_up.d_weight", "weight_gradient", "matmul", 1450e-6, 9.4e11, 460e6, "compute"),
    ("down.d_input", "input_gradient", "matmul", 730e-6, 4.7e11, 270e6, "compute"),
    ("down.d_weight", "weight_gradient", "matmul", 740e-6, 4.7e11, 280e6, "compute"),
)


def train_report(row: int, *, is_detailed: bool = False, workload: str = "llama-3.1-70b") -> Report:
    """The report of one made-up training plan; later rows are slower."""
    tensor, pipeline, interleave, recompute = SHAPES[row % len(SHAPES)]
    data = DEVICES // (tensor * pipeline)
    plan = Plan(
        tensor=tensor, pipeline=pipeline, interleave=interleave, data=data, sequence_parallel=row % 3 != 2,
        num_microbatches=GLOBAL_BATCH // data, sharding="zero1" if data > 1 else "none", recompute=recompute,
        precision="fp8" if row % 4 == 3 else "bf16",
    )  # fmt: skip
    time_s = 9.4 * (1 + 0.045 * row)
    shares = {"matmul": 0.56, "attention": 0.11, "stream": 0.07, "tensor": 0.09, "gradients": 0.03, "optimizer": 0.012,
              "host": 0.004}  # fmt: skip
    breakdown = {name: share * 9.4 * (1 + 0.02 * row * (name == "tensor")) for name, share in shares.items()}
    breakdown["bubble"] = time_s - sum(breakdown.values())
    memory = {"weight": 2.2e9 * 8 / tensor, "gradient": 4.4e9 * 8 / tensor, "optimizer_state": 13.2e9,
              "activations": (31 - 2.5 * row) * GIGA, "working": 3.1e9, "reserved": 4.6e9}  # fmt: skip
    tokens = GLOBAL_BATCH * TOKENS
    peak = sum(memory.values())
    return Report(
        workload=workload, machine="dgx-h100*8", goal="train", plan=plan, time_s=time_s, low_s=time_s * 0.93,
        high_s=time_s * 1.08, throughput_per_s=tokens / time_s, energy_joule=DEVICES * 610 * time_s,
        peak_memory_bytes=peak, capacity_bytes=80e9, usd_per_million=DEVICES * 6.9 / 3600 * time_s / tokens * 1e6,
        memory_bytes=FrozenMap(memory), breakdown_s=FrozenMap(breakdown), bound="matmul", tier="analytic",
        metrics=FrozenMap(tokens_per_step=float(tokens), mfu=0.44 / (1 + 0.045 * row), num_devices=float(DEVICES)),
        assumptions=("every sequence has 4,096 tokens", "no other job shares the network"),
        provenance=(
            Sourced(3.35e12, source="NVIDIA H100 Tensor Core GPU data sheet, 2023", kind="datasheet",
                    key="h100-sxm.memories.hbm.bandwidth_bytes_per_s"),
            Sourced(989.4e12, source="NVIDIA H100 Tensor Core GPU data sheet, 2023", kind="datasheet",
                    key="h100-sxm.flop_per_s.bf16"),
            Sourced(273e-9, source="Luo et al. 2024, Benchmarking the Hopper architecture, arXiv:2402.13499",
                    kind="measured", key="h100-sxm.memories.hbm.latency_s"),
            Sourced(0.78, source="scripts/fit_matmul.py on measured/gpu_gemm.csv", kind="fitted",
                    key="sm90.matmul.bf16.compute_efficiency"),
            Sourced(6.9, source="assumed: typical on-demand list price of a public cloud, 2025", kind="assumed",
                    key="h100-sxm.price_usd_per_hour"),
        ),
        ops=_ops() if is_detailed else (), timeline=_timeline(plan, time_s) if is_detailed else None,
    )  # fmt: skip


def _ops() -> tuple[OpLine, ...]:
    layer = [
        OpLine(block="layer", name=name, phase=phase, kind=kind, repeat=LAYERS, time_s=time_s, flop=flop,
               traffic_bytes=traffic, bound=bound)
        for name, phase, kind, time_s, flop, traffic, bound in OPS
    ]  # fmt: skip
    head = OpLine(
        block="head", name="logits", phase="forward", kind="matmul", repeat=1, time_s=1900e-6, flop=1.07e12,
        traffic_bytes=610e6, bound="compute",
    )  # fmt: skip
    embed = OpLine(
        block="embedding", name="tokens", phase="forward", kind="stream", repeat=1, time_s=55e-6, flop=0.0,
        traffic_bytes=134e6, bound="memory",
    )  # fmt: skip
    return (embed, *layer, head)


def _timeline(plan: Plan, time_s: float) -> Timeline:
    virtual = plan.pipeline * plan.interleave
    slot = time_s * 0.8 / (plan.num_microbatches * plan.interleave * 3) * PS_PER_S
    ones = np.ones(virtual, np.int64)
    stages = np.ones(plan.pipeline, np.int64)
    return run(program(PipelineTimes(
        num_stages=plan.pipeline, num_microbatches=plan.num_microbatches, schedule=plan.schedule,
        forward_ps=ones * int(slot), backward_ps=ones * int(2 * slot), send_forward_ps=ones * int(slot * 0.03),
        send_backward_ps=ones * int(slot * 0.03), saved_bytes=ones * 600_000_000,
        gradients_ps=stages * int(0.02 * time_s * PS_PER_S), optimizer_ps=stages * int(0.012 * time_s * PS_PER_S),
    )))  # fmt: skip


def train_frontier(num_plans: int = 10, *, best: int = 1) -> Frontier:
    """What a search over made-up plans found; the best plan has ops and a timeline. best: which shape it has."""
    reports = tuple(train_report(best + row, is_detailed=row == 0) for row in range(num_plans))
    return Frontier(
        workload="llama-3.1-70b", machine="dgx-h100*8", goal="train", objectives=("time_s", "peak_memory_bytes"),
        reports=reports, pareto=tuple(range(0, num_plans, 2)), num_evaluated=412, num_pruned=1388,
        binding_constraint="memory: 301 of 412 plans need more than the 80.0 GB of h100-sxm; "
        "the nearest (TP 4, PP 4) is 2.3 GB too large and fits with full recompute",
    )  # fmt: skip


def infer_frontier() -> Frontier:
    """A made-up answer for serving."""
    reports = []
    for row, tensor in enumerate((8, 4, 2)):
        time_s = 0.0112 * 2**row * 0.8
        breakdown = {"matmul": 0.6 * time_s, "attention": 0.15 * time_s, "stream": 0.08 * time_s}
        breakdown["tensor"] = time_s - sum(breakdown.values())
        memory = {"weight": 141e9 / tensor, "kv_cache": 84e9 / tensor / 4, "working": 1.2e9, "reserved": 3e9}
        reports.append(Report(
            workload="llama-3.1-70b", machine="dgx-h100", goal="infer", plan=Plan(tensor=tensor, micro_batch=32),
            time_s=time_s, low_s=time_s * 0.88, high_s=time_s * 1.15, throughput_per_s=32 / time_s,
            energy_joule=tensor * 420 * time_s, peak_memory_bytes=sum(memory.values()), capacity_bytes=80e9,
            usd_per_million=tensor * 6.9 / 3600 * time_s / 32 * 1e6, memory_bytes=FrozenMap(memory),
            breakdown_s=FrozenMap(breakdown), metrics=FrozenMap(ttft_s=0.41 * 2**row, tpot_s=time_s), bound="matmul",
            tier="analytic", reason="" if tensor > 2 else "needs 9.2 GB more per device",
        ))  # fmt: skip
    return Frontier(
        workload="llama-3.1-70b", machine="dgx-h100", goal="infer", objectives=("time_s",), reports=tuple(reports),
        pareto=(0, 1), num_evaluated=3, num_pruned=0, binding_constraint="memory of h100-sxm",
    )  # fmt: skip
