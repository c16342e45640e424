"""Predicts tables of kind sparse24: how much faster, and smaller, 2:4 weights make what really ran on an A100.

Columns: source, workload, config, metric, value. A row is compared as the speed-up over the dense row of its workload;
a row `model GB` as itself. Layers and Llama-3-8B are priced whole. Of SAM the products of its image encoder are priced,
and the rest of the measured dense time is taken to stay: its decoder, its relative positions and how images come are
not described.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache

import numpy as np

from aisys.cost import Tier, cost, graph_cost
from aisys.errors import AisysError, Unsupported
from aisys.ir import Graph, OpTable, dtype
from aisys.ir.dtype import split_density
from aisys.machine import Device, load
from aisys.technique.structured_sparsity import StructuredSparsity
from aisys.technique.weight_quantization import WeightQuantization
from aisys.validate.prediction import Options, Prediction, no_interval
from aisys.validate.table import Table
from aisys.workload import read

DEVICE = "a100-80-sxm"
RATES, TIMES, SIZE = ("img/s", "tok/s"), ("us", "ms"), "model GB"
DENSE = ("dense", "bf16")
TWO_BYTES = 2
CACHED_TOKENS = 200
"""Of a sequence that decodes. Source: assumed; their keys are 0.2 % of the bytes."""


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """The speed-up of every row over its dense row, predicted beside measured."""
    predicted, measured = np.full(len(table), np.nan), np.full(len(table), np.nan)
    skipped: list[tuple[int, str]] = []
    device = options.taught(load.device(DEVICE, constants=options.constants))
    for row in range(len(table)):
        try:
            predicted[row], measured[row] = _compared(table, row, Pricing(device, tier))
        except AisysError as error:
            skipped.append((row, str(error)))
    return Prediction(
        predicted=predicted, measured=measured, **no_interval(len(table)), skipped=tuple(skipped),
        group_columns=("workload", "metric"),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pricing:
    """The device and the tier that all rows are priced on."""

    device: Device
    tier: Tier

    def seconds(self, ops: list[OpTable]) -> float:
        """One op after the other."""
        return sum(float(cost(table, self.device, tier=self.tier).time_s.sum()) for table in ops)


def _compared(table: Table, row: int, pricing: Pricing) -> tuple[float, float]:
    """Predicted and measured figure of one row. Raises Unsupported with the reason for one that is not predicted."""
    workload, config, metric = (str(table.texts(name)[row]) for name in ("workload", "config", "metric"))
    value = float(table.numbers("value", above=0.0)[row])
    if metric == SIZE:
        return _model_gb(config), value
    if metric == "x":
        return _most(pricing), value
    if metric not in (*RATES, *TIMES):
        raise Unsupported(f"{metric} is no time, rate or size of a model")
    if config in DENSE:
        raise Unsupported("what the other rows of its workload are compared with")
    dense = _value(table, row, workload, _dense_config(config))
    speed_up = value / dense if metric in RATES else dense / value
    for pattern, priced in WORKLOADS.items():
        if found := re.fullmatch(pattern, workload):
            extents = tuple(int(x) for x in re.findall(r"\d+", found[1] or ""))
            dense_s = extents[0] / dense if metric == "img/s" else np.nan
            return priced(Case(extents, config, dense_s), pricing), speed_up
    raise Unsupported(f"{workload}: how many tokens its step has, and what else runs in it, is not described")


def _dense_config(config: str) -> str:
    """The configuration with the same format and all weights."""
    return config.removesuffix("-sparse-marlin") if config.endswith("-sparse-marlin") else ""


def _value(table: Table, row: int, workload: str, config: str) -> float:
    """The value of another row of the same workload and metric."""
    wanted = (config,) if config else DENSE
    columns = (table.texts(name) for name in ("workload", "config", "metric"))
    for other, (name, of, metric) in enumerate(zip(*columns, strict=True)):
        if name == workload and of in wanted and metric == table.texts("metric")[row]:
            return float(table.numbers("value", above=0.0)[other])
    raise Unsupported(f"{workload} has no row {' or '.join(wanted)} to compare with")


@dataclass(frozen=True, slots=True)
class Case:
    """One configuration of a workload: numbers in its name, and the dense time where it was measured as a rate."""

    extents: tuple[int, ...]
    config: str
    dense_s: float


def product(m: int, n: int, k: int, weights: str) -> OpTable:
    """Activations [m,k] times weights [k,n] in a format; int8 products round their activations first."""
    base = split_density(weights)[0]
    out = "bf16" if base == "int8" else base
    return OpTable.of(
        "matmul", batch=1, m=m, n=n, k=k, b_is_weight=True, a_dtype=base, b_dtype=weights, out_dtype=out, math=weights
    )


def stream(function: str, read: float, written: float) -> OpTable:
    """Elements of 16 bits that a pointwise op reads and writes."""
    return OpTable.of(
        "stream", read_bytes=read * TWO_BYTES, write_bytes=written * TWO_BYTES, flop=0, rows=1, cols=int(written),
        function=function, dtype="fp16",
    )  # fmt: skip


def trained_linear(tokens: int, inner: int, out: int, weights: str) -> list[OpTable]:
    """Forward and backward of a linear layer with bias; 2:4 weights are pruned in every step, for both directions.

    The gradient of the weight is the product of two dense operands.
    """
    ops = [
        product(tokens, out, inner, weights), product(tokens, inner, out, weights), product(out, inner, tokens, "fp16"),
        stream("reduce", tokens * out, out),
    ]  # fmt: skip
    stored = 2 * dtype(weights).bits_per_element / (8 * TWO_BYTES)
    return [*ops, stream("prune", inner * out, stored * inner * out)] if weights != "fp16" else ops


def _linear(case: Case, pricing: Pricing) -> float:
    tokens, inner, out = case.extents
    times = [pricing.seconds(trained_linear(tokens, inner, out, w)) for w in ("fp16", _trained(case))]
    return times[0] / times[1]


def _mlp(case: Case, pricing: Pricing) -> float:
    """Two layers with a GELU between them, which reads twice as much in backward."""
    tokens, inner, hidden, out = case.extents
    size = float(tokens * hidden)
    gelu = [stream("gelu", size, size), stream("gelu", 2 * size, size)]
    times = [
        pricing.seconds([*trained_linear(tokens, inner, hidden, w), *gelu, *trained_linear(tokens, hidden, out, w)])
        for w in ("fp16", _trained(case))
    ]
    return times[0] / times[1]


def _trained(case: Case) -> str:
    if case.config not in ("2:4", "w24"):
        raise Unsupported(f"{case.config}: activations that are pruned in every step have no technique")
    return "fp16_2of4"


SAM_FORMATS = {
    "int8 dynamic quant attn+mlp": ("int8", "int8", "int8"),
    "2:4 mlp only": ("bf16", "bf16_2of4", "bf16_2of4"),
    "2:4 attn+mlp": ("bf16_2of4", "bf16_2of4", "bf16_2of4"),
    "int8 attn + int8&2:4 lin1 + 2:4 lin2": ("int8", "int8_2of4", "bf16_2of4"),
}
"""Formats of the weights of attention, and of the first and second layer of the MLP, by configuration."""

SAM_HIDDEN, SAM_FFN, SAM_LAYERS, SAM_GLOBAL, SAM_SIDE, SAM_WINDOW = 1280, 5120, 32, 4, 64, 14
"""Widths, layers, of which some see the whole image, tokens along its side, and along that of a window.

Source: Kirillov et al. 2023, "Segment Anything" (ViT-H); Li et al. 2022 for windows, which pad the image."""


def _sam_products(images: int, formats: tuple[str, str, str]) -> dict[tuple[int, int, int, str], int]:
    """Products of the image encoder with a weight, each with how often it runs."""
    padded = -(-SAM_SIDE // SAM_WINDOW) * SAM_WINDOW
    attention, first, second = formats
    found: dict[tuple[int, int, int, str], int] = {}
    for side, layers in ((SAM_SIDE, SAM_GLOBAL), (padded, SAM_LAYERS - SAM_GLOBAL)):
        found[images * side**2, 3 * SAM_HIDDEN, SAM_HIDDEN, attention] = layers
        found[images * side**2, SAM_HIDDEN, SAM_HIDDEN, attention] = layers
    tokens = images * SAM_SIDE**2
    found[tokens, SAM_FFN, SAM_HIDDEN, first] = SAM_LAYERS
    found[tokens, SAM_HIDDEN, SAM_FFN, second] = SAM_LAYERS
    return found


def _sam(case: Case, pricing: Pricing) -> float:
    """What changes in the products, in a batch whose other parts take what is left of the dense time."""
    if case.config not in SAM_FORMATS:
        raise Unsupported(f"SAM in {case.config}; known are {', '.join(SAM_FORMATS)}")
    times = [
        sum(pricing.seconds([product(*shape)]) * count for shape, count in _sam_products(case.extents[0], f).items())
        for f in (("bf16",) * 3, SAM_FORMATS[case.config])
    ]
    return case.dense_s / (case.dense_s - times[0] + times[1])


@lru_cache(maxsize=8)
def _llama(config: str) -> Graph:
    """One token of one sequence. int4wo-64: groups of 64 with a zero point of 16 bits (tinygemm), none in Marlin."""
    keep = ("*embedding*",)
    graph = read("llama-3.1-8b", tokens=1, cached_tokens=CACHED_TOKENS)
    if config == "bf16":
        return graph
    if config == "int8wo":
        return WeightQuantization(bits=8, group=0, keep=keep).apply(graph)
    if config not in ("int4wo-64", "int4wo-64-sparse-marlin"):
        raise Unsupported(f"Llama-3-8B in {config}; known are bf16, int8wo, int4wo-64 and int4wo-64-sparse-marlin")
    grouped = WeightQuantization(bits=4, group=64, keep=keep).apply(graph)
    if config.endswith("marlin"):
        return StructuredSparsity(keep=keep).apply(grouped)
    renamed = {}
    for block in grouped.blocks:
        small = [tensor for tensor in block.tensors.values() if tensor.dtype.family == "int4"]
        renamed[block] = block.with_tensors({t.name: replace(t, dtype=dtype(t.dtype.name + "_z16")) for t in small})
    return grouped.map_blocks(renamed)


def _decode(case: Case, pricing: Pricing) -> float:
    dense, other = (
        graph_cost(_llama(config), pricing.device, tier=pricing.tier).time_s
        for config in (_dense_config(case.config) or "bf16", case.config)
    )
    return dense / other


def _model_gb(config: str) -> float:
    """All weights but the embedding, which the authors leave out of a model's size."""
    graph = _llama(config)
    return sum(
        segment.repeat * tensor.dtype.num_bytes(int(np.prod(list(tensor.axes.values()))))
        for segment in graph.segments
        for tensor in segment.block.tensors.values()
        if tensor.role == "weight" and not fnmatchcase(tensor.name, "*embedding*")
    ) / 1e9  # fmt: skip


LARGE = (1024, 2048, 4096, 8192, 16384)
"""Sides of square products among which the largest gain is looked for."""


def _most(pricing: Pricing) -> float:
    """The most that 2:4 gains on one square product."""
    times = [
        [pricing.seconds([product(side, side, side, weights)]) for weights in ("bf16", "bf16_2of4")] for side in LARGE
    ]
    return max(dense / sparse for dense, sparse in times)


WORKLOADS: dict[str, Callable[[Case, Pricing], float]] = {
    r"ViT-L linear (\(\d+;\d+;\d+\)) fp16": _linear,
    r"ViT-L MLP fwd\+bwd f16 (\(\d+;\d+;\d+;\d+\))": _mlp,
    r"SAM ViT-h bs(\d+) bf16": _sam,
    r"Llama-3-8B()": _decode,
}
"""How each workload is priced, by its name; the group holds its numbers."""
