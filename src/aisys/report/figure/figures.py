"""The figures of an answer: trade-offs, time and memory by part, the roofline and the timeline."""

from collections.abc import Callable, Mapping, Sequence

from aisys.machine import Device
from aisys.report.figure.axes import Axis, Frame
from aisys.report.figure.drawing import INK, MUTED, Box, Dot, Drawing, Line, Text, text_width
from aisys.report.figure.pdf import pdf
from aisys.report.figure.svg import svg
from aisys.report.parts import Part, in_order, memory_part, part, task_colour
from aisys.report.quantity import gigabytes, scaled, seconds, time_unit
from aisys.report.roofline import Roofline, points
from aisys.report.types import Frontier, Report
from aisys.report.words import degrees, unit_of_time
from aisys.units import PS_PER_S

WIDTH, HEIGHT = 480.0, 300.0
MOST_BARS, BAR_HEIGHT = 8, 18.0
MOST_TASKS = 8_000
"""Tasks that a timeline draws; of a longer one, the first ones."""

ACCENT = "#2458c5"


def figure_files(frontier: Frontier, device: Device) -> dict[str, str | bytes]:
    """Every figure that the answer has numbers for, as `figure-NAME.svg` and `figure-NAME.pdf`."""
    files: dict[str, str | bytes] = {}
    for name, draw in FIGURES.items():
        drawing = draw(frontier, device)
        if drawing is not None:
            files |= {f"figure-{name}.svg": svg(drawing), f"figure-{name}.pdf": pdf(drawing)}
    return files


def tradeoff_figure(frontier: Frontier, device: Device) -> Drawing | None:
    """Time with its interval against peak memory; plans on the front are coloured."""
    reports = [r for r in frontier.reports if r.low_s == r.low_s]
    if not reports:
        return None
    title = f"{frontier.workload} on {frontier.machine}: time against memory"
    factor, unit = time_unit(max(r.high_s for r in reports))
    drawing = Drawing(title, WIDTH, HEIGHT)
    frame = Frame(
        52, 14, WIDTH - 12, HEIGHT - 40,
        Axis.over(
            f"time per {unit_of_time(frontier.reports[0])}, {unit}",
            [end * factor for r in reports for end in (r.low_s, r.high_s)],
        ),
        Axis.over("peak memory per device, GB", [r.peak_memory_bytes / 1e9 for r in reports]),
    )  # fmt: skip
    frame.draw(drawing)
    for place, report in enumerate(frontier.reports):
        if report not in reports:
            continue
        gb = report.peak_memory_bytes / 1e9
        colour = ACCENT if place in frontier.pareto else MUTED
        x, y = frame.at(report.time_s * factor, gb)
        ends = tuple(frame.at(end * factor, gb) for end in (report.low_s, report.high_s))
        drawing.add(Line(ends, colour, 0.75), Dot(x, y, 4, colour))
        drawing.add(Text(x, y - 7, str(place + 1), "middle", colour, 8))
    return drawing


def time_figure(frontier: Frontier, device: Device) -> Drawing | None:
    """Where the time of each plan goes."""
    rows = [(r, dict(r.breakdown_s), seconds(r.time_s)) for r in frontier.reports[:MOST_BARS]]
    title = f"{frontier.workload} on {frontier.machine}: time per {unit_of_time(frontier.reports[0])} by part"
    return _stacked(title, rows, part, 0.0)


def memory_figure(frontier: Frontier, device: Device) -> Drawing | None:
    """What fills the fullest device of each plan, and its capacity."""
    rows = [(r, dict(r.memory_bytes), gigabytes(r.peak_memory_bytes)) for r in frontier.reports[:MOST_BARS]]
    capacity = float(device.main_memory.capacity_bytes)
    return _stacked(f"{frontier.workload} on {frontier.machine}: memory by part", rows, memory_part, capacity)


def _stacked(
    title: str, rows: Sequence[tuple[Report, dict[str, float], str]], part_of: Callable[[str], Part], limit: float
) -> Drawing | None:
    whole = max([sum(parts.values()) for _, parts, _ in rows] + [limit * 1.02])
    if whole <= 0:
        return None
    left, right = 168.0, WIDTH - 58
    names = in_order({name for _, parts, _ in rows for name, value in parts.items() if value > 0})
    foot = 14 * (1 + (len(names) - 1) // 4)
    drawing = Drawing(title, WIDTH, 16 + len(rows) * (BAR_HEIGHT + 5) + 12 + foot)
    for place, (report, parts, shown) in enumerate(rows):
        top = 12 + place * (BAR_HEIGHT + 5)
        drawing.add(Text(left - 6, top + 12, _short(f"{place + 1}. {degrees(report.plan)}", left - 16), "end"))
        x = left
        for name in (name for name in names if parts.get(name, 0.0) > 0):
            width = parts[name] / whole * (right - left)
            drawing.add(Box(x, top, max(width - 0.5, 0.25), BAR_HEIGHT, part_of(name).colour))
            x += width
        drawing.add(Text(right + 6, top + 12, shown, colour=MUTED))
    bottom = 12 + len(rows) * (BAR_HEIGHT + 5)
    if limit:
        x = left + limit / whole * (right - left)
        drawing.add(Line(((x, 6), (x, bottom)), INK, 1.25, (3, 2)))
    drawing.legend([(part_of(name).label, part_of(name).colour) for name in names], 12, bottom + 16)
    return drawing


def _short(text: str, most: float) -> str:
    """`text`, cut where it is wider than `most` points."""
    while text_width(text) > most:
        text = text[:-3].rstrip() + ".."
    return text


def roofline_figure(frontier: Frontier, device: Device) -> Drawing | None:
    """The ops of the best plan under the roofs of the device."""
    best = frontier.reports[0]
    found, roofs = points(best.ops), Roofline.of(device)
    if not found or not roofs.peaks:
        return None
    low, high = min([p.intensity for p in found] + [10.0]) / 3, max([p.intensity for p in found] + [roofs.ridge]) * 6
    floor, top = min(p.flop_per_s for p in found) / 3, max(peak for _, peak in roofs.peaks) * 2.5
    drawing = Drawing(f"{frontier.workload}: ops under the roofline of {device.name}", WIDTH, HEIGHT)
    frame = Frame(
        74, 14, WIDTH - 12, HEIGHT - 56, Axis("operations per byte", low, high, is_log=True),
        Axis("operations per second", floor, top, is_log=True, show=lambda v: scaled(v, "flop/s", 1)),
    )  # fmt: skip
    frame.draw(drawing)
    for name, peak in ((name, peak) for name, peak in roofs.peaks if peak > floor):
        is_own = best.plan.precision in name.split(", ")
        start = max(low, floor / roofs.bytes_per_s)
        xs = [x for x in (start, peak / roofs.bytes_per_s, high) if start <= x <= high]
        line = tuple(frame.at(x, min(peak, x * roofs.bytes_per_s)) for x in xs)
        drawing.add(Line(line, INK if is_own else MUTED, 1.5 if is_own else 0.75, () if is_own else (2, 2)))
        corner = frame.at(max(low, min(high, peak / roofs.bytes_per_s)), peak)
        words = f"{name} {scaled(peak, 'flop/s')}"
        drawing.add(Text(corner[0] - 3, corner[1] - 2, words, "end", INK if is_own else MUTED, 7.5))
    longest = max(p.time_s for p in found)
    for point in found:
        x, y = frame.at(point.intensity, point.flop_per_s)
        drawing.add(Dot(x, y, 3 + 6 * (point.time_s / longest) ** 0.5, part(point.kind).colour))
    kinds = dict.fromkeys(p.kind for p in found)
    drawing.legend([(part(kind).label, part(kind).colour) for kind in kinds], 74, HEIGHT - 8)
    return drawing


def timeline_figure(frontier: Frontier, device: Device) -> Drawing | None:
    """The step of the best plan: one lane per stage."""
    timeline = frontier.reports[0].timeline
    if timeline is None or not len(timeline.program):
        return None
    program = timeline.program
    lanes = [i for i, name in enumerate(program.resources) if not name.startswith("send")]
    lane_of = {resource: lane for lane, resource in enumerate(lanes)}
    height = max(4.0, min(20.0, 320 / len(lanes)))
    bottom = 10 + len(lanes) * (height + 2)
    drawing = Drawing(f"{frontier.workload} on {frontier.machine}: one step", WIDTH, bottom + 58)
    factor, unit = time_unit(timeline.makespan_ps / PS_PER_S)
    total = timeline.makespan_ps / PS_PER_S * factor
    frame = Frame(54, 10, WIDTH - 12, bottom, Axis(f"time, {unit}", 0.0, total), Axis("", 0.0, 1.0, show=lambda v: ""))
    frame.draw(drawing)
    for lane, resource in enumerate(lanes):
        if height > 7 or lane % 8 == 0:
            drawing.add(Text(48, 10 + (lane + 0.5) * (height + 2) + 3, program.resources[resource], "end", MUTED, 8))
    columns = (program.resource, program.kind, timeline.start_ps, timeline.end_ps)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    drawn = [row for row in rows if row[0] in lane_of and row[3] > row[2]][:MOST_TASKS]
    for resource, kind, start, end in drawn:
        left, right = (frame.at(t / PS_PER_S * factor, 0)[0] for t in (start, end))
        top = 10 + lane_of[resource] * (height + 2)
        drawing.add(Box(left, top, max(0.15, right - left - 0.15), height, task_colour(program.kinds[kind])))
    kinds = dict.fromkeys(program.kinds[kind] for _, kind, _, _ in drawn)
    drawing.legend([(kind, task_colour(kind)) for kind in kinds], 54, bottom + 50)
    return drawing


FIGURES: Mapping[str, Callable[[Frontier, Device], Drawing | None]] = {
    "tradeoffs": tradeoff_figure, "time": time_figure, "memory": memory_figure, "roofline": roofline_figure,
    "timeline": timeline_figure,
}  # fmt: skip
"""The figures by name."""
