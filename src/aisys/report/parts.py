"""What times and bytes are called, what sort of thing they are, and the colour each keeps in every figure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Sort = Literal["op", "link", "wait", "memory"]


@dataclass(frozen=True, slots=True)
class Part:
    """label: for people. colour: hexadecimal, readable on light and on dark. sort: op, link, wait or memory."""

    label: str
    colour: str
    sort: Sort


PARTS: Mapping[str, Part] = {
    "matmul": Part("matmul", "#2f6fde", "op"),
    "grouped_matmul": Part("expert matmul", "#1b9aaa", "op"),
    "attention": Part("attention", "#8250df", "op"),
    "stream": Part("memory-bound ops", "#7fb2f0", "op"),
    "traversal": Part("traversal", "#4f46c8", "op"),
    "optimizer": Part("optimizer", "#2a9d60", "op"),
    "tensor": Part("tensor-parallel links", "#e8590c", "link"),
    "context": Part("context-parallel links", "#f2a43c", "link"),
    "expert": Part("expert-parallel links", "#c92a2a", "link"),
    "weights": Part("weight gathers", "#fa9a6b", "link"),
    "gradients": Part("gradient reduction", "#a8590d", "link"),
    "sends": Part("pipeline sends", "#d6a100", "link"),
    "host": Part("host and launch", "#d6408f", "wait"),
    "bubble": Part("waiting", "#98a2b3", "wait"),
}
"""Parts of a step. Blues and violet compute, oranges and reds move data, pink and grey wait."""

MEMORY: Mapping[str, Part] = {
    "weight": Part("weights", "#2f6fde", "memory"),
    "gradient": Part("gradients", "#e8590c", "memory"),
    "optimizer_state": Part("optimizer state", "#2a9d60", "memory"),
    "activations": Part("activations", "#8250df", "memory"),
    "kv_cache": Part("KV cache", "#1b9aaa", "memory"),
    "working": Part("working buffers", "#f2a43c", "memory"),
    "reserved": Part("framework", "#98a2b3", "memory"),
}
"""Parts of a device's memory."""

TASKS: Mapping[str, str] = {
    "forward": "#5a97ee", "backward": "#2450a8", "send activation": "#f2a43c", "send gradient": "#e8590c",
    "reduce gradients": "#a8590d", "optimizer": "#2a9d60", "prefill": "#8250df", "decode": "#2f6fde",
}  # fmt: skip
"""Colours of the tasks of a timeline."""

_SPARE = ("#1b9aaa", "#d6a100", "#d6408f", "#4f46c8", "#c92a2a", "#5c8a00", "#98a2b3")

_COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv", "broadcast")


def part(name: str) -> Part:
    """The part called `name`, of a step or of memory; other names keep their own and take a spare colour.

    >>> part("bubble").label, part("my_part").label
    ('waiting', 'my part')
    """
    known = PARTS.get(name) or MEMORY.get(name)
    if known:
        return known
    if name in _COLLECTIVES:
        return Part(name.replace("_", " "), "#e8590c", "link")
    return Part(name.replace("_", " "), _SPARE[sum(name.encode()) % len(_SPARE)], "op")


def memory_part(name: str) -> Part:
    """The part of memory called `name`."""
    return MEMORY.get(name) or part(name)


def task_colour(kind: str) -> str:
    """The colour of one kind of task."""
    return TASKS.get(kind) or part(kind).colour


def in_order(names: Iterable[str]) -> list[str]:
    """`names` as figures stack them: ops, links, waits; unknown names last."""
    known = {name: place for place, name in enumerate((*PARTS, *MEMORY))}
    return sorted(names, key=lambda name: (known.get(name, len(known)), name))
