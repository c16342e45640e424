"""A timeline as Chrome trace JSON, which Perfetto and chrome://tracing open."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from aisys.report.types import Report
from aisys.sim import Timeline

_STEP, _BLOCKS = 1, 2
PS_PER_US = 1_000_000


def trace_text(report: Report) -> str:
    """One thread per resource of the step and a counter of its memory; one thread per block with its ops in a row.

    Processes and threads count from 1: viewers merge thread 0 into the process.
    """
    events: list[dict[str, Any]] = []
    if report.timeline is not None:
        events += [_name("process_name", _STEP, 0, f"{report.workload} on {report.machine}")]
        events += _tasks(report.timeline)
    if report.ops:
        events += [_name("process_name", _BLOCKS, 0, "one repetition of each block, op by op")]
        events += _ops(report)
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}, separators=(",", ":")) + "\n"


def _name(what: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": process, "tid": thread, "args": {"name": name}}


def _tasks(timeline: Timeline) -> Iterator[dict[str, Any]]:
    program = timeline.program
    for thread, name in enumerate(program.resources, start=1):
        yield _name("thread_name", _STEP, thread, name)
        order = {"sort_index": thread}
        yield {"ph": "M", "name": "thread_sort_index", "pid": _STEP, "tid": thread, "args": order}
    starts, ends = timeline.start_ps.tolist(), timeline.end_ps.tolist()
    rows = zip(program.resource.tolist(), program.kind.tolist(), program.part.tolist(), starts, ends, strict=True)
    for resource, kind, part, start, end in rows:
        yield {
            "ph": "X", "name": program.kinds[kind], "pid": _STEP, "tid": resource + 1, "ts": start / PS_PER_US,
            "dur": (end - start) / PS_PER_US, "args": {"microbatch": part},
        }  # fmt: skip
    yield from _memory(timeline)


def _memory(timeline: Timeline) -> Iterator[dict[str, Any]]:
    """The bytes that each device's tasks hold, whenever they change."""
    program = timeline.program
    for device in np.unique(program.device).tolist():
        taken = np.flatnonzero((program.device == device) & (program.alloc_bytes > 0))
        given = np.flatnonzero((program.device == device) & (program.free_bytes > 0))
        times = np.concatenate([timeline.start_ps[taken], timeline.end_ps[given]])
        change = np.concatenate([program.alloc_bytes[taken], -program.free_bytes[given]])
        order = np.lexsort((change, times))
        held = np.cumsum(change[order])
        for time, value in zip(times[order].tolist(), held.tolist(), strict=True):
            name = f"activations of device {device}, GB"
            yield {"ph": "C", "name": name, "pid": _STEP, "ts": time / PS_PER_US, "args": {"GB": value / 1e9}}


def _ops(report: Report) -> Iterator[dict[str, Any]]:
    threads: dict[str, int] = {}
    clock: dict[str, float] = {}
    for op in report.ops:
        if op.block not in threads:
            threads[op.block] = len(threads) + 1
            yield _name("thread_name", _BLOCKS, threads[op.block], f"{op.block} (x {op.repeat})")
        start = clock.get(op.block, 0.0)
        clock[op.block] = start + op.time_s
        yield {
            "ph": "X", "name": op.name, "cat": op.kind, "pid": _BLOCKS, "tid": threads[op.block], "ts": start * 1e6,
            "dur": op.time_s * 1e6,
            "args": {"phase": op.phase, "bound": op.bound, "flop": op.flop, "traffic_bytes": op.traffic_bytes},
        }  # fmt: skip
