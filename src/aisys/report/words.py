"""Plans and answers in words: the short form of a plan, and the one sentence that a search comes to."""

from collections.abc import Iterable

from aisys.plan import Plan
from aisys.report.parts import part
from aisys.report.quantity import gigabytes, interval, number, percent, seconds
from aisys.report.types import Frontier, Report

SHARDING = {"none": "replicated", "zero1": "ZeRO-1", "zero2": "ZeRO-2", "zero3": "ZeRO-3"}


def degrees(plan: Plan) -> str:
    """The parallel degrees that are more than one, in the field's short words.

    >>> degrees(Plan(tensor=4, pipeline=2, data=8, sequence_parallel=True, sharding="zero1"))
    'TP 4 + SP, PP 2, DP 8 (ZeRO-1)'
    """
    words = []
    if plan.tensor > 1:
        words.append(f"TP {plan.tensor}" + (" + SP" if plan.sequence_parallel else ""))
    if plan.pipeline > 1:
        words.append(f"PP {plan.pipeline}" + (f" x {plan.interleave} chunks" if plan.interleave > 1 else ""))
    if plan.context > 1:
        words.append(f"CP {plan.context}")
    if plan.expert > 1:
        words.append(f"EP {plan.expert}")
    if plan.data > 1:
        words.append(f"DP {plan.data}" + (f" ({SHARDING[plan.sharding]})" if plan.sharding != "none" else ""))
    return ", ".join(words) or "one device"


def details(plan: Plan, goal: str) -> str:
    """The decisions beside the degrees: microbatches, recomputation, number format, offload.

    >>> details(Plan(micro_batch=2, num_microbatches=16, recompute="selective"), "train")
    'microbatch 2 x 16, selective recompute, bf16'
    """
    words = [f"microbatch {plan.micro_batch} x {plan.num_microbatches}" if goal == "train" else _batch(plan)]
    if goal == "train":
        words.append("no recompute" if plan.recompute == "none" else f"{plan.recompute} recompute")
        if plan.pipeline > 1 and plan.schedule != "1f1b":
            words.append(plan.schedule)
    words.append(plan.precision)
    if plan.hardware == "staged":
        words.append("a stage of hardware per layer")
    if plan.offload_optimizer:
        words.append("optimizer on the host")
    return ", ".join(words)


def plan_words(plan: Plan) -> str:
    """A training plan inside a sentence: its degrees, and its details in brackets.

    >>> plan_words(Plan(tensor=2, micro_batch=2, num_microbatches=16, recompute="full"))
    'TP 2 (microbatch 2 x 16, full recompute, bf16)'
    """
    return f"{degrees(plan)} ({details(plan, 'train')})"


def _batch(plan: Plan) -> str:
    split = (
        f" in {plan.num_microbatches} microbatches" if plan.num_microbatches > 1 and plan.hardware == "shared" else ""
    )
    return f"batch {plan.global_batch}{split}"


def summary(frontier: Frontier) -> str:
    """The answer in one sentence: the best plan, what it takes, and what bounds it."""
    if not frontier.reports:
        return (
            f"Nothing fits: none of {frontier.num_evaluated + frontier.num_pruned:,} plans can {verb(frontier.goal)} "
            f"{frontier.workload} on {frontier.machine}."
        )
    best = frontier.reports[0]
    subject = "" if frontier.num_evaluated <= 1 else f"Best of {frontier.num_evaluated:,} plans: "
    return f"{subject}{degrees(best.plan)}, {details(best.plan, best.goal)} {_takes(best)}."


def verb(goal: str) -> str:
    """`train` or `serve`."""
    return "train" if goal == "train" else "serve"


def unit_of_time(report: Report) -> str:
    """What `report.time_s` is the time of: a step, a token, or a batch of images."""
    return "step" if report.goal == "train" else {"image": "batch"}.get(report.unit, report.unit)


def million(unit: str) -> str:
    """A million of what a report counts, as a column's title has it.

    >>> million("token"), million("image")
    ('Mtok', 'Mimage')
    """
    return {"token": "Mtok"}.get(unit, f"M{unit}")


def _takes(report: Report) -> str:
    span = f"90 %: {interval(report.low_s, report.high_s)}" if report.low_s == report.low_s else "never validated"
    words = f"takes {seconds(report.time_s)} per {unit_of_time(report)} ({span})"
    if report.goal != "train" and "ttft_s" in report.metrics:
        words += f" after {seconds(report.metrics['ttft_s'])} to the first token"
    words += f", {number(report.throughput_per_s)} {report.unit}s/s"
    if "mfu" in report.metrics:
        words += f" at {percent(report.metrics['mfu'])} of peak"
    share = report.peak_memory_bytes / report.capacity_bytes if report.capacity_bytes else float("nan")
    words += f", {gigabytes(report.peak_memory_bytes)} per device ({percent(share, 2)} of capacity)"
    return f"{words}; most time goes to {part(report.bound).label}"


def joule_per_million(report: Report) -> float:
    """Energy of a million tokens or images, all devices: that of a step over what it does."""
    usual = report.throughput_per_s * report.time_s if report.goal == "train" else float(report.plan.global_batch)
    tokens = report.metrics.get("tokens_per_step", usual)
    return report.energy_joule / tokens * 1e6 if tokens else float("nan")


def advice_sentence(now: Report, best: Report) -> str:
    """An existing configuration beside the best one, in one sentence."""
    takes = f"The given configuration takes {seconds(now.time_s)} per step"
    if now.reason:
        return f"The given configuration does not fit: it {now.reason}; the best plan takes {seconds(best.time_s)}."
    if best.time_s >= now.time_s:
        return f"{takes}; no plan that fits is faster."
    return f"{takes}; the best plan, {degrees(best.plan)}, {details(best.plan, best.goal)}, takes " + (
        f"{seconds(best.time_s)}: {percent(1 - best.time_s / now.time_s, 2)} less."
    )


def change_lines(now: Report, changes: Iterable[tuple[str, float]]) -> list[str]:
    """One line per change that gains on its own: what to set, and what a step then takes."""
    return [
        f"{change}: {seconds(time_s)}" + (f" (-{percent(1 - time_s / now.time_s, 2)})" if not now.reason else "")
        for change, time_s in changes
    ]
