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
    "grouped_matmul": Part("expert matmul", "#12808f", "op"),
    "conv": Part("convolution", "#3a28fa", "op"),
    "attention": Part("attention", "#5530a8", "op"),
    "stream": Part("memory-bound ops", "#7fb2f0", "op"),
    "traversal": Part("traversal", "#14506f", "op"),
    "optimizer": Part("optimizer", "#0f8f63", "op"),
    "tensor": Part("tensor-parallel links", "#e8590c", "link"),
    "context": Part("context-parallel links", "#fbd596", "link"),
    "expert": Part("expert-parallel links", "#c92a2a", "link"),
    "weights": Part("weight gathers", "#ee8350", "link"),
    "gradients": Part("gradient reduction", "#7d3f08", "link"),
    "sends": Part("pipeline sends", "#e3c71c", "link"),
    "host": Part("host and launch", "#d6408f", "wait"),
    "bubble": Part("waiting", "#98a2b3", "wait"),
}
"""Parts of a step. Blues, violet and green calculate, oranges and yellows and reds move data, pink and grey wait.
The colours stay apart for readers who cannot tell red from green (tests/cli/test_report_forms.py)."""

MEMORY: Mapping[str, Part] = {
    "weight": Part("weights", "#2f6fde", "memory"),
    "gradient": Part("gradients", "#e8590c", "memory"),
    "optimizer_state": Part("optimizer state", "#0f8f63", "memory"),
    "activations": Part("activations", "#5530a8", "memory"),
    "kv_cache": Part("KV cache", "#12808f", "memory"),
    "working": Part("working buffers", "#f2b35c", "memory"),
    "reserved": Part("framework", "#98a2b3", "memory"),
}
"""Parts of a device's memory."""

TASKS: Mapping[str, str] = {
    "forward": "#5a97ee", "backward": "#2450a8", "send activation": "#fbd596", "send gradient": "#ee8350",
    "reduce gradients": "#7d3f08", "optimizer": "#0f8f63", "prefill": "#5530a8", "decode": "#2f6fde",
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
