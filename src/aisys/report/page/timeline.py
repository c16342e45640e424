"""A timeline as the arrays that the page's canvas draws: small enough for 30,000 tasks in one page."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aisys.report.parts import task_colour
from aisys.sim import Timeline
from aisys.units import PS_PER_S

MOST_TASKS = 60_000


def canvas_state(timeline: Timeline, path: Sequence[int]) -> dict[str, Any]:
    """What timeline.js reads: lanes and kinds by name, and per task its lane, kind, part, start and length.

    start and length are shares of the whole, 32-bit floats; critical is 1 for a task on `path`; the first
    `num_main` lanes compute, the others send. Of a timeline with more than MOST_TASKS tasks, its first MOST_TASKS in
    order of start are kept.
    """
    program, total = timeline.program, max(1, timeline.makespan_ps)
    is_critical = np.zeros(len(program), np.uint8)
    is_critical[list(path)] = 1
    names = program.resources
    order = sorted(range(len(names)), key=lambda i: (names[i].startswith("send"), i))
    lane_of = np.argsort(np.array(order, np.int64)) if names else np.zeros(0, np.int64)
    kept = np.argsort(timeline.start_ps, kind="stable")[:MOST_TASKS]
    length = (timeline.end_ps - timeline.start_ps)[kept]
    return {
        "lanes": [names[i] for i in order], "num_main": sum(not name.startswith("send") for name in names),
        "kinds": [{"name": kind, "colour": task_colour(kind)} for kind in program.kinds], "total_s": total / PS_PER_S,
        "start": _base64(timeline.start_ps[kept] / total, np.float32), "length": _base64(length / total, np.float32),
        "lane": _base64(lane_of[program.resource[kept]], np.uint16), "kind": _base64(program.kind[kept], np.uint8),
        "part": _base64(program.part[kept], np.uint16), "critical": _base64(is_critical[kept], np.uint8),
    }  # fmt: skip


def _base64(values: NDArray[Any], dtype: type) -> str:
    return b64encode(np.ascontiguousarray(values).astype(np.dtype(dtype).newbyteorder("<")).tobytes()).decode("ascii")


def shares_of_kinds(timeline: Timeline, path: Sequence[int]) -> dict[str, float]:
    """The share of each kind of task in the time of `path`, largest first."""
    program, tasks = timeline.program, list(path)
    spent = np.zeros(len(program.kinds))
    np.add.at(spent, program.kind[tasks], (timeline.end_ps - timeline.start_ps)[tasks])
    whole = max(1.0, float(spent.sum()))
    order = np.argsort(-spent, kind="stable").tolist()
    return {program.kinds[kind]: float(spent[kind]) / whole for kind in order if spent[kind] > 0}
