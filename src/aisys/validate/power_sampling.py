"""What a sampled power column shows of a run: the board's mean over the second before each reading.

Runs follow one another on every board. A kernel is timed, repeated for 0.3 s (1 s from 0.1 ms on, at most 3,000 times)
and read every 0.1 s, first when the run starts: most of a short run's reading is of what ran before it. What ran before
follows from the order of the collection, which is known. Energy of a plan is never that reading.
Source: the collector of ai-dynamo/aiconfigurator (Apache-2.0, 2026): helper.py, vllm/ and trtllm/collect_gemm.py and
cases/base_ops/gemm.yaml. Fitted, per generation: time and power of setting a run up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aisys.cost.gpu import matmul
from aisys.cost.gpu.timing import by_name
from aisys.ir import OpTable
from aisys.machine import Device, Gpu
from aisys.validate.compiled_kernels import compiles
from aisys.validate.gemm import operands

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WINDOW_S, INTERVAL_S = 1.0, 0.1
"""The board averages over a second (NVML, nvmlDeviceGetPowerUsage); the collector reads every 0.1 s."""
SHORT_S, SHORT_RUN_S, RUN_S, MAX_REPEATS, MIN_REPEATS = 1e-4, 0.3, 1.0, 3000, 6
LAUNCH_S = 1.5e-5
"""Of one kernel, when it was timed without a graph to find how often to repeat it. Source: assumed."""
COMPILE_S = 3.0
"""Of a kernel that is compiled at its first use. Source: assumed; any time over a second reads the same."""
DEPTH = 20
"""Runs of each board that are looked back at; they take longer than a second."""
_ROWS = (
    *range(1, 18), 32, 33, 48, 49, 64, 65, 80, 81, 96, 97, 112, 113, 128, 129, 160, 161, 192, 193, 224, 225, 256, 257,
    512, 513, 768, 769, 1024, 1025, 1280, 1281, 1536, 1537, 1792, 1793, 2048, 2049, 2304, 2305, 2560, 2561, 2816, 2817,
    3072, 3073, 3328, 3329, 3584, 3585, 3840, 3841, 4096, 4097, 4352, 4353, 8192, 16384, 32768,
)  # fmt: skip
_WIDTHS = (
    32, 64, 128, 256, 512, 768, 1024, 1536, 2048, 2560, 3072, 3584, 4096, 5120, 6144, 7168, 8192, 10240, 12288, 16384,
    51200, 65536,
)  # fmt: skip
_WEIGHT_BYTES = {"bf16": 2.0, "fp8": 1.0, "fp8_block": 1.0, "nvfp4": 0.5}
_BLOCKED = ("fp8_block", "nvfp4")


@dataclass(frozen=True, slots=True)
class Collection:
    """The order of the runs, by weight (all m of one weight and format) or by m; boards that share the list; copies of
    the weight per repeat (0: as many, up to 5, as exceed the L2 cache); formats launched without a graph have one.
    """

    formats: tuple[str, ...]
    is_by_weight: bool
    num_boards: int
    num_copies: int
    is_compiled: bool


_COLLECTIONS: Mapping[str, Collection] = {
    "sm90": Collection(("bf16", "fp8_block"), is_by_weight=False, num_boards=1, num_copies=6, is_compiled=True),
    "sm100": Collection(tuple(_WEIGHT_BYTES), is_by_weight=True, num_boards=8, num_copies=0, is_compiled=False),
}
"""Hopper by vLLM, Blackwell by TensorRT-LLM. Source: assumed; of the two orders and of 1, 2, 4 and 8 boards, those that
explain the readings."""
_NUM_BOARDS: Mapping[str, int] = {"gb200": 4}
"""Boards of a tray. Source: assumed, NVIDIA GB200 NVL72 data sheet: four a tray."""


@dataclass(frozen=True, slots=True, eq=False)
class Cases:
    """The runs of a collection, in order: format, m, n, k, and whether a kernel was compiled first."""

    formats: NDArray[np.str_]
    shape: Ints
    compiled: NDArray[np.bool_]

    def ops(self, rows: Ints) -> OpTable:
        """The matmuls of the runs `rows`."""
        m, n, k = self.shape[rows].T
        return OpTable.of("matmul", batch=1, m=m, n=n, k=k, b_is_weight=True, **operands(self.formats[rows]))


@lru_cache(maxsize=4)
def cases(collection: Collection) -> Cases:
    """Every run of `collection`: from large to small, as it was collected."""
    rows, widths = np.array(_ROWS[::-1]), np.array(_WIDTHS[::-1])
    kinds = np.arange(len(collection.formats))
    if collection.is_by_weight:
        n, k, kind, m = np.meshgrid(widths, widths, kinds, rows, indexing="ij")
    else:
        m, n, k, kind = np.meshgrid(rows, widths, widths, kinds, indexing="ij")
    shape = np.stack([m.ravel(), n.ravel(), k.ravel()], axis=1).astype(np.int64)
    formats = np.array(collection.formats)[kind.ravel()]
    narrow = (shape[:, 1:] < 128).any(axis=1) & np.isin(formats, _BLOCKED)
    huge = (shape[:, 1] == 65536) & (shape[:, 2] == 65536)
    kept = ~narrow & ~huge
    shape, formats = shape[kept], formats[kept]
    compiled = np.zeros(len(shape), dtype=bool)
    if collection.is_compiled:
        blocked = np.flatnonzero(formats == "fp8_block")
        compiled[blocked] = compiles(*shape[blocked].T)
    return Cases(formats, shape, compiled)


def positions(found: Cases, ops: OpTable) -> Ints:
    """The run of each op: of its format, nearest in the logarithms of m, n and k. -1 where its format was not run."""
    wanted = np.stack([ops[name] for name in ("m", "n", "k")], axis=1).astype(np.int64)
    nearest = np.stack([_nearest(wanted[:, 0], _ROWS), *(_nearest(wanted[:, i], _WIDTHS) for i in (1, 2))], axis=1)
    place = {
        (str(f), *s): i for i, (f, s) in enumerate(zip(found.formats, map(tuple, found.shape.tolist()), strict=True))
    }
    keys = zip(matmul.variants(ops).tolist(), map(tuple, nearest.tolist()), strict=True)
    return np.array([place.get((variant, *shape), -1) for variant, shape in keys], dtype=np.int64)


def _nearest(values: Ints, choices: tuple[int, ...]) -> Ints:
    options = np.array(choices)
    return np.asarray(options[np.abs(np.log(values)[:, None] - np.log(options)).argmin(axis=1)])


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """The runs before some ops: `case` [ops, 1 + DEPTH * boards] counts into `rows`, the op's own run first, then back
    in time; `known` [ops] says whether the op's format was run at all.
    """

    collection: Collection
    cases: Cases
    rows: Ints
    case: Ints
    known: NDArray[np.bool_]

    @property
    def ops(self) -> OpTable:
        """The matmuls of `rows`."""
        return self.cases.ops(self.rows)

    def take(self, ops: Ints) -> "History":
        """The history of some of the ops."""
        return History(self.collection, self.cases, self.rows, self.case[ops], self.known[ops])


def history(ops: OpTable, device: Device) -> History | None:
    """What ran before each op, or None where nothing is known of how runs on this device were collected."""
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    collection = _COLLECTIONS.get(gpu.generation)
    if collection is None:
        return None
    collection = replace(collection, num_boards=_NUM_BOARDS.get(device.name, collection.num_boards))
    found = cases(collection)
    at = positions(found, ops)
    back = np.clip(at[:, None] - np.arange(1 + DEPTH * collection.num_boards), 0, None)
    rows, case = np.unique(back, return_inverse=True)
    return History(collection, found, rows, case.reshape(back.shape), at >= 0)


def repeated_s(past: History, device: Device, time_s: Floats) -> tuple[Floats, Floats]:
    """Copies of the weight in one repeat of every run of `past.rows`, and seconds of all its repeats."""
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    formats, elements = past.cases.formats[past.rows], _elements(past)
    if past.collection.num_copies:
        copies = np.where(formats == "fp8_block", 1.0, float(past.collection.num_copies))
    else:
        size = elements * by_name(formats, _WEIGHT_BYTES.__getitem__)
        copies = np.clip(np.ceil(float(gpu.l2_bytes) / size), 1, 5)
    once = copies * np.maximum(time_s, LAUNCH_S)
    wanted = np.where(once < SHORT_S, SHORT_RUN_S, RUN_S)
    num = np.clip(np.floor(wanted / once) + 1, MIN_REPEATS, MAX_REPEATS)
    return copies, num * copies * time_s


def setup_s(past: History, device: Device, copies: Floats) -> Floats:
    """Seconds before every run of `past.rows` in which the board only waits or writes weights."""
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    formats = past.cases.formats[past.rows]

    def constant(name: str) -> float:
        return float(gpu.constants.get(f"energy.sampling.{name}", 0.0))

    pause = by_name(formats, lambda name: constant(f"{name}.pause_s"))
    per_element = by_name(formats, lambda name: constant(f"{name}.s_per_element"))
    compiling = COMPILE_S * past.cases.compiled[past.rows]
    return constant("setup_s") + pause + per_element * copies * _elements(past) + compiling


def _elements(past: History) -> Floats:
    shape = past.cases.shape[past.rows].astype(float)
    return np.asarray(shape[:, 1] * shape[:, 2])


def reading(past: History, device: Device, time_s: Floats, watt: Floats) -> Floats:
    """Mean of the readings of each op, by the time and the steady power of every run of `past.rows`.

    The op's own power counts for what of the second before a reading lies in its run; the runs before it for the rest.
    Of the list that boards share, one board ran every num_boards-th case: the latest of those before the op run
    elsewhere at the time, and the older ones count by their share.
    """
    gpu = device.architecture
    assert isinstance(gpu, Gpu)
    idle_watt = float(gpu.constant("energy.sampling.setup_watt"))
    copies, run_s = repeated_s(past, device, time_s)
    waited_s = setup_s(past, device, copies)
    own, before = past.case[:, 0], past.case[:, past.collection.num_boards :]
    spans = _alternating(run_s[before], waited_s[before]) / past.collection.num_boards
    power = _alternating(watt[before], np.full(before.shape, idle_watt))
    spans = np.concatenate([waited_s[own, None], spans], axis=1)
    power = np.concatenate([np.full((len(own), 1), idle_watt), power], axis=1)
    return _sampled(run_s[own], watt[own], spans, power, idle_watt)


def _alternating(first: Floats, second: Floats) -> Floats:
    return np.stack([first, second], axis=2).reshape(len(first), -1)


def _sampled(run_s: Floats, watt: Floats, spans: Floats, power: Floats, idle_watt: float) -> Floats:
    """Mean over readings of runs of `watt` for `run_s`, after `spans` seconds of `power` each, the latest first."""
    ends = np.cumsum(spans, axis=1)
    total, count = np.zeros(len(spans)), np.zeros(len(spans))
    for number in range(round(RUN_S / INTERVAL_S) + 1):
        at_s = np.minimum(number * INTERVAL_S, run_s)
        is_read = (number == 0) | (number * INTERVAL_S < run_s)
        rest_s = WINDOW_S - at_s
        counted = np.clip(np.minimum(ends, rest_s[:, None]) - (ends - spans), 0, None)
        oldest_s = np.maximum(rest_s - counted.sum(axis=1), 0)
        mean = (watt * at_s + (counted * power).sum(axis=1) + idle_watt * oldest_s) / WINDOW_S
        total += is_read * mean
        count += is_read
    return np.asarray(total / count)
