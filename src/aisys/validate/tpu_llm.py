"""Predicts tables of kind tpu_llm: the forward pass of a whole language model on one TPU.

Columns: chip, model, seq, batch, device_ms. The graph is that of the reader, in 16 bits, with attention as separate
kernels and neighbours fused, as a compiler does it that knows no fused attention.
"""

import numpy as np

from aisys.cost import Tier
from aisys.errors import AisysError
from aisys.ir import Graph
from aisys.machine import load
from aisys.technique.eager_attention import EagerAttention
from aisys.technique.kernel_fusion import KernelFusion
from aisys.validate.prediction import Options, Prediction
from aisys.validate.table import Table
from aisys.validate.tpu_rows import Timed, forward
from aisys.workload import read

MS = 1e-3


def compiled(model: str, batch: int, tokens: int) -> Graph:
    """The graph of one row."""
    return KernelFusion().apply(EagerAttention(dropout=False).apply(read(model, batch=batch, tokens=tokens)))


def predict(table: Table, *, tier: Tier, options: Options) -> Prediction:
    """The device time of every row in ms."""
    timed, skipped = [], []
    columns = (table.texts("chip"), table.texts("model"), table.counts("batch"), table.counts("seq"))
    for row, (chip, model, batch, tokens) in enumerate(zip(*columns, strict=True)):
        try:
            timed.append(forward(compiled(str(model), int(batch), int(tokens)), load.device(str(chip)), tier))
        except AisysError as error:
            skipped.append((row, str(error)))
            timed.append(Timed(np.nan, np.nan, np.nan))
    time, low, high = (np.array(column) / MS for column in zip(*timed, strict=True))
    return Prediction(
        predicted=time, measured=table.numbers("device_ms", above=0.0), low=low, high=high, skipped=tuple(skipped),
        group_columns=("chip", "model"),
    )  # fmt: skip
