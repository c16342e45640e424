"""Answers as CSV for programs and as LaTeX for papers."""

import csv
from collections.abc import Callable, Iterable, Sequence
from io import StringIO

from aisys.report.quantity import gigabytes, interval, number, percent, scaled, seconds
from aisys.report.types import Frontier, OpLine, Report
from aisys.report.words import SHARDING, degrees, joule_per_million, unit_of_time

_PLAN = (
    "tensor", "pipeline", "data", "context", "expert", "sequence_parallel", "interleave", "micro_batch",
    "num_microbatches", "sharding", "recompute", "precision", "schedule", "offload_optimizer", "hardware",
)  # fmt: skip
_FIGURES = (
    "time_s", "low_s", "high_s", "throughput_per_s", "energy_joule", "peak_memory_bytes", "capacity_bytes",
    "usd_per_million",
)  # fmt: skip
_OP = ("block", "name", "phase", "kind", "repeat", "time_s", "flop", "traffic_bytes", "bound")


def plans_csv(frontier: Frontier) -> str:
    """One row per plan, best first: decisions, figures in SI units, then `metrics`, parts of time and of memory."""
    reports = frontier.reports
    parts = [(name, _keys(reports, name)) for name in ("metrics", "breakdown_s", "memory_bytes")]
    header = [*_PLAN, *_FIGURES, *(f"{name}.{key}" for name, keys in parts for key in keys), "bound"]
    rows = (
        [
            *(getattr(report.plan, name) for name in _PLAN), *(getattr(report, name) for name in _FIGURES),
            *(getattr(report, name).get(key, "") for name, keys in parts for key in keys), report.bound,
        ]
        for report in reports
    )  # fmt: skip
    return _csv(header, rows)


def ops_csv(ops: Sequence[OpLine]) -> str:
    """One row per op of one repetition of each block."""
    return _csv(_OP, ([getattr(op, name) for name in _OP] for op in ops))


def _keys(reports: Iterable[Report], name: str) -> list[str]:
    return list(dict.fromkeys(key for report in reports for key in getattr(report, name)))


def _csv(header: Iterable[str], rows: Iterable[Sequence[object]]) -> str:
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


_LATEX: tuple[tuple[str, str, Callable[[Report], str]], ...] = (
    ("l", "plan", lambda r: degrees(r.plan)),
    ("l", "sharding", lambda r: SHARDING[r.plan.sharding]),
    ("r", "microbatch", lambda r: f"${r.plan.micro_batch} \\times {r.plan.num_microbatches}$"),
    ("l", "recompute", lambda r: r.plan.recompute),
    ("l", "precision", lambda r: r.plan.precision),
    ("r", "time", lambda r: seconds(r.time_s)),
    ("r", r"90\,\% interval", lambda r: interval(r.low_s, r.high_s).replace(" - ", "--")),
    ("r", "{unit}s/s", lambda r: number(r.throughput_per_s)),
    ("r", "MFU", lambda r: percent(r.metrics.get("mfu", float("nan")))),
    ("r", "memory", lambda r: gigabytes(r.peak_memory_bytes)),
    ("r", "energy/M{unit}", lambda r: scaled(joule_per_million(r), "J")),
    ("r", "USD/M{unit}", lambda r: number(r.usd_per_million)),
)


def plans_latex(frontier: Frontier) -> str:
    """A booktabs table of the plans, best first."""
    rows = ["    " + " & ".join(_tex(cell(report)) for _, _, cell in _LATEX) + r" \\" for report in frontier.reports]
    unit = frontier.reports[0].unit
    head = " & ".join(title.replace("{unit}", unit) for _, title, _ in _LATEX)
    caption = f"{frontier.workload} on {frontier.machine}, time per {unit_of_time(frontier.reports[0])}"
    lines = [
        r"% needs \usepackage{booktabs}", r"\begin{table}", rf"  \caption{{{_tex(caption)}}}",
        rf"  \begin{{tabular}}{{{''.join(side for side, _, _ in _LATEX)}}}", r"    \toprule", rf"    {head} \\",
        r"    \midrule", *rows, r"    \bottomrule", r"  \end{tabular}", r"\end{table}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _tex(text: str) -> str:
    """`text` with the characters escaped that LaTeX reads as commands; mathematics between dollars is kept."""
    if text.startswith("$"):
        return text
    escaped = text.replace("\\", r"\textbackslash ")
    for character in "#%&_{}":
        escaped = escaped.replace(character, f"\\{character}")
    return escaped.replace("µ", r"$\mu$")
