"""What the best plan runs: its ops by time and under the device's roofline, and its timeline."""

import json
from html import escape

from aisys.machine import Device
from aisys.report.page.card import section, table
from aisys.report.page.timeline import MOST_TASKS, canvas_state, shares_of_kinds
from aisys.report.parts import part
from aisys.report.quantity import percent, scaled, seconds
from aisys.report.roofline import Roofline, points
from aisys.report.types import OpLine, Report
from aisys.sim import Timeline

MOST_OPS = 16


def op_sections(report: Report, device: Device) -> str:
    """Every op by its time, and those that calculate under the roofline. "" for a report without ops."""
    if not report.ops:
        return ""
    total = sum(op.time_s * op.repeat for op in report.ops)
    costliest = sorted(report.ops, key=lambda op: op.time_s * op.repeat, reverse=True)[:MOST_OPS]
    rows = "".join(_row(op, total, device, report.plan.precision) for op in costliest)
    titles = ("op", "block", "bound by", "once", "repeats", "share", "rate", f"of {report.plan.precision} peak")
    sides = ["", "", "", *[" class=number"] * 5]
    head = "".join(f"<th{side} scope=col>{title}</th>" for title, side in zip(titles, sides, strict=True))
    what = "One microbatch" if report.goal == "train" or report.unit == "image" else "One decode step"
    note = (
        f"{what} of the best plan on one device, all repetitions of each block together; areas are times. A click on a "
        "block opens it."
    )
    ops = section(
        "ops", "Layer by layer", note,
        f"<div class='chart tall' id=chart-ops></div><h3>The {len(costliest)} that take most</h3>{table(head, rows)}",
    )  # fmt: skip
    return ops + (_roofline_section(device) if has_roofline(report, device) else "")


def has_roofline(report: Report, device: Device) -> bool:
    """Whether there are ops to put under a roofline, and peaks to draw one."""
    return bool(points(report.ops) and Roofline.of(device).peaks)


def _roofline_section(device: Device) -> str:
    roofs = Roofline.of(device)
    note = (
        f"Ops of the best plan on one {escape(device.name)}: {scaled(roofs.bytes_per_s, 'B/s')} of main memory (the "
        "slope) and the dense peaks of its data sheet (the flat lines). A larger dot takes more time. An op far below "
        "both lines is bound by something else: launches, waves, a cache. Ops under 0.01 % of the time are left out."
    )
    return section("roofline", "Roofline", note, "<div class='chart tall' id=chart-roofline></div>")


def _row(op: OpLine, total: float, device: Device, precision: str) -> str:
    share = op.time_s * op.repeat / total
    rate = op.flop / op.time_s if op.time_s else 0.0
    peak = float(getattr(device.architecture, "flop_per_s", {}).get(precision, float("nan")))
    moved = op.traffic_bytes / op.time_s if op.time_s else 0.0
    of_peak = percent(rate / peak, 2) if rate > 0.01 * peak else "-"
    kind = part(op.kind)
    return (
        f"<tr><td><span class=plan>{escape(op.name)}</span><br><span class=sub>{escape(op.phase.replace('_', ' '))}, "
        f"{escape(kind.label)}</span></td><td>{escape(op.block)}</td><td>{escape(op.bound)}</td>"
        f"<td class=number>{seconds(op.time_s)}</td><td class=number>{op.repeat:,}</td>"
        f"<td class=number>{percent(share, 2)}"
        f'<span class=meter><i style="width:{share * 100:.1f}%;background:{kind.colour}"></i></span></td>'
        f"<td class=number>{scaled(rate, 'flop/s') if of_peak != '-' else scaled(moved, 'B/s')}</td>"
        f"<td class=number>{of_peak}</td></tr>"
    )


def timeline_section(timeline: Timeline | None) -> str:
    """The step of the best plan, task by task. "" for a report without a timeline."""
    if timeline is None or not len(timeline.program):
        return ""
    path = timeline.critical_path()
    state = canvas_state(timeline, path)
    num_tasks = len(timeline.program)
    busy = timeline.busy_ps()[: state["num_main"]]
    share = float(busy.mean()) / max(1, timeline.makespan_ps)
    kinds = shares_of_kinds(timeline, path)
    spent = ", ".join(f"{escape(kind)} {percent(share_of, 2)}" for kind, share_of in kinds.items())
    shown = f" The first {MOST_TASKS:,} are drawn." if num_tasks > MOST_TASKS else ""
    note = (
        f"{num_tasks:,} tasks on {state['num_main']} stage{'s' * (state['num_main'] > 1)}, busy {percent(share, 2)} "
        f"of the time; the numbers are microbatches, the underlined tasks are the critical path: {spent}.{shown} Drag "
        "to move; the buttons, + and -, or Ctrl with the wheel zoom."
    )
    buttons = "".join(
        f'<button data-zoom={factor} aria-label="{name}">{sign}</button>'
        for factor, name, sign in ((0.5, "zoom in", "+"), (2, "zoom out", "\u2212"), (1e9, "whole step", "All"))
    )
    has_sends = len(state["lanes"]) > state["num_main"]
    sends = "<button id=timeline-all aria-pressed=false>Transfers</button>" if has_sends else ""
    is_used = timeline.end_ps > timeline.start_ps
    used = [state["kinds"][kind] for kind in sorted(set(timeline.program.kind[is_used].tolist()))]
    legend = "".join(f'<li><i style="background:{k["colour"]}"></i>{escape(k["name"])}</li>' for k in used)
    label = f"timeline of {num_tasks} tasks on {state['num_main']} stages"
    body = (
        f"<div class=choices>{buttons}{sends}</div><div class=lanes>"
        f'<canvas id=timeline-canvas tabindex=0 role=img aria-label="{label}"></canvas></div>'
        f"<ul class=legend>{legend}</ul>"
        f"<script type=application/json id=timeline-data>{script_json(state)}</script>"
    )
    return section("timeline", "Timeline of one step", note, body)


def script_json(value: object) -> str:
    """`value` as JSON that can stand inside a script element."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
