"""Predicts tables of kind gpu_op: single ops of an eager framework in fp16, timed from its call.

Columns: device, op, d0, d1, d2, us. matmul_fp16: d0=M, d1=K, d2=N; softmax, layernorm: d0 rows of d1 columns; gelu: d0
elements; all_reduce_bytes: d0 bytes over the devices of one node (`4xNAME ...`). Ops named
`gpt3_layer_prefill_tp4_b8_s2048:GeLU` are one op of a GPT-3 175B layer on 4 devices: batch 8, 2048 tokens each, or
decoding one token with 3072 keys (`decode_tp4_b8_kv3072`).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aisys import collective
from aisys.cost import Tier
from aisys.ir import OpTable
from aisys.machine import load
from aisys.validate.gpu_rows import Fixed, Part, Work, predict_work
from aisys.validate.one_format import product
from aisys.validate.prediction import Floats, Options, Prediction
from aisys.validate.table import Table

FORMAT, BYTES = "fp16", 2
STACK = "eager"
NODES = {"4xA100-SXM4-80GB": "a100-x4"}
"""Node of each group of devices that a table may name."""

_LAYER = re.compile(
    r"gpt3_layer_(?P<phase>prefill|decode)_tp(?P<tp>\d+)_b(?P<batch>\d+)_(?:s|kv)(?P<keys>\d+):(?P<op>\w+)"
)
_MANY = re.compile(r"(?P<node>\d+x\S+)(?: .*)?")
_HIDDEN, _HEADS, _FFN = 12288, 96, 49152
"""GPT-3 175B. Source: Brown et al. 2020."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One GPT-3 layer on one device: `rows` tokens in `batch` sequences that see `keys` keys."""

    batch: int
    tokens: int
    keys: int
    tp: int

    @property
    def rows(self) -> int:
        """Tokens of all sequences."""
        return self.batch * self.tokens

    @property
    def heads(self) -> int:
        """Heads of all sequences on this device."""
        return self.batch * _HEADS // self.tp


def _matmul(m: int | Floats, n: int | Floats, k: int | Floats, *, batch: int = 1) -> OpTable:
    return product(FORMAT, m=m, n=n, k=k, batch=batch, b_is_weight=batch == 1)


def _stream(function: str, rows: int | Floats, cols: int | Floats) -> OpTable:
    size = np.asarray(rows, dtype=float) * cols * BYTES
    return OpTable.of(
        "stream", read_bytes=size, write_bytes=size, flop=0, rows=rows, cols=cols, function=function, dtype=FORMAT
    )


LAYER_OPS: dict[str, Callable[[Layer], OpTable]] = {
    "Q_K_V": lambda s: _matmul(s.rows, 3 * _HIDDEN // s.tp, _HIDDEN),
    "Q_mul_K": lambda s: _matmul(s.tokens, s.keys, _HIDDEN // _HEADS, batch=s.heads),
    "A_mul_V": lambda s: _matmul(s.tokens, _HIDDEN // _HEADS, s.keys, batch=s.heads),
    "Softmax": lambda s: _stream("softmax", s.heads * s.tokens, s.keys),
    "Wo_proj": lambda s: _matmul(s.rows, _HIDDEN, _HIDDEN // s.tp),
    "W1_proj": lambda s: _matmul(s.rows, _FFN // s.tp, _HIDDEN),
    "W2_proj": lambda s: _matmul(s.rows, _HIDDEN, _FFN // s.tp),
    "GeLU": lambda s: _stream("gelu", s.rows, _FFN // s.tp),
    "LayerNorm_MHA": lambda s: _stream("layernorm", s.rows, _HIDDEN),
    "LayerNorm_FFN": lambda s: _stream("layernorm", s.rows, _HIDDEN),
}
"""How each op of the layer becomes a row of an op table. The device computes its share of heads and of the MLP."""


def work(table: Table) -> Work:
    """What every row stands for; the parts of single ops come first, one per op name."""
    names, owners = table.texts("op"), [str(device) for device in table.texts("device")]
    sizes = [table.counts(column, least=0).astype(float) for column in ("d0", "d1", "d2")]
    nodes = {int(i): m["node"] for i, name in enumerate(owners) if (m := _MANY.fullmatch(name))}
    parts = single_parts(names, sizes)
    fixed: list[Fixed] = []
    done = {int(row) for part in parts for row in part.rows}
    skipped: list[tuple[int, str]] = []
    for row in (i for i in range(len(table)) if i not in done):
        found = _LAYER.fullmatch(str(names[row]))
        num_bytes = sizes[0][row] if names[row] == "all_reduce_bytes" else _reduced_bytes(found)
        if num_bytes is not None and nodes.get(row) in NODES:
            fixed.append(_all_reduce(row, num_bytes, nodes[row]))
        elif found and found["op"] in LAYER_OPS:
            parts.append(Part(rows=np.array([row]), ops=LAYER_OPS[found["op"]](_layer(found))))
        else:
            skipped.append((row, f"op {str(names[row])!r} has no rule on {owners[row]!r}"))
    devices = np.array([nodes[i].split("x", 1)[1] if i in nodes else owner for i, owner in enumerate(owners)])
    return Work(parts=parts, fixed=fixed, skipped=skipped, devices=devices, stacks=np.full(len(table), STACK))


def single_parts(names: NDArray[np.str_], sizes: list[Floats]) -> list[Part]:
    """Matmuls, softmax, layer norms and GELUs given by their extents, one part per op name."""
    d0, d1, d2 = sizes
    rules: dict[str, Callable[[NDArray[np.int64]], OpTable]] = {
        "matmul_fp16": lambda i: _matmul(d0[i], d2[i], d1[i]),
        "softmax": lambda i: _stream("softmax", d0[i], d1[i]),
        "layernorm": lambda i: _stream("layernorm", d0[i], d1[i]),
        "gelu": lambda i: _stream("gelu", np.ones(len(i)), d0[i]),
    }
    rows = {op: np.flatnonzero(names == op) for op in rules}
    return [Part(rows=rows[op], ops=rule(rows[op])) for op, rule in rules.items() if len(rows[op])]


def _layer(found: re.Match[str]) -> Layer:
    keys = int(found["keys"])
    tokens = keys if found["phase"] == "prefill" else 1
    return Layer(batch=int(found["batch"]), tokens=tokens, keys=keys, tp=int(found["tp"]))


def _reduced_bytes(found: re.Match[str] | None) -> float | None:
    """Bytes that an op of the layer reduces over the devices; None for an op that does not."""
    return float(_layer(found).rows * _HIDDEN * BYTES) if found and found["op"].startswith("AllReduce") else None


def _all_reduce(row: int, num_bytes: float, node: str) -> Fixed:
    machine = load.machine(NODES[node])
    priced = collective.time("all_reduce", num_bytes, machine.mesh, machine)
    return Fixed(rows=np.array([row]), time_s=priced.time_s, error_low=priced.error_low, error_high=priced.error_high)


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """The time of every row in us."""
    return predict_work(table, work(table), tier=tier, options=options, group_columns=("device", "op"))
