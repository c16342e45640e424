"""What GPU kernels cost under constants that never change: a formula that changes is seen, a new fit is not.

Write the golden file again after a formula was changed on purpose, and look at the difference:
python tests/property/test_kernel_goldens.py
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aisys.cost import cost
from aisys.frozen import FrozenMap
from aisys.ir import OpTable
from aisys.machine import Device, device
from aisys.units import Sourced

GOLDEN = Path(__file__).with_suffix(".json")
FIELDS = ("time_s", "energy_joule", "error_low", "error_high")


def attention(**changed: Any) -> OpTable:
    """Rows of attention; what is not given decodes with grouped heads."""
    usual: dict[str, Any] = {
        "q_len": 1, "q_heads": 32, "kv_heads": 8, "head_dim": 128, "value_dim": 128, "window": 0, "is_causal": True,
        "is_backward": False, "page_size": 0, "q_dtype": "bf16", "kv_dtype": "bf16", "math": "bf16",
    }  # fmt: skip
    return OpTable.of("attention", **{**usual, **changed})


def tables() -> dict[str, OpTable]:
    """Shapes on every side of the kernels' choices, by name."""
    half = {"a_dtype": "bf16", "b_dtype": "bf16", "out_dtype": "bf16", "math": "bf16"}
    eight = {"a_dtype": "fp8", "b_dtype": "fp8", "out_dtype": "bf16", "math": "fp8"}
    sides: dict[str, Any] = {
        "m": [1, 64, 333, 4096, 8192], "n": [4096, 2048, 777, 4096, 512], "k": [4096, 64, 1234, 4096, 16384],
    }  # fmt: skip
    found = {
        "matmul": OpTable.of("matmul", batch=1, b_is_weight=True, **sides, **half),
        "batched matmul": OpTable.of("matmul", batch=[7, 64], b_is_weight=False, m=100, n=128, k=[64, 900], **half),
        "fp8 matmul": OpTable.of("matmul", batch=1, b_is_weight=True, **sides, **eight),
        "experts": OpTable.of(
            "grouped_matmul", groups=[8, 64, 128], m=[1, 300, 40000], n=[1024, 2048, 3000], k=[2048, 700, 4096], **half
        ),
        "prefill": attention(batch=[1, 3], q_len=[100, 4096], kv_len=[1000, 4096], window=[0, 1000], page_size=[16, 0]),
        "split batched matmul": OpTable.of(
            "matmul", batch=[3, 8], b_is_weight=False, m=64, n=[64, 96], k=16384, **half
        ),
        "short prefill": attention(batch=64, q_heads=[32, 8], q_len=[137, 200], kv_len=[137, 300]),
        "prefill beyond the cache": attention(
            batch=64, q_heads=128, kv_heads=2, q_len=[64, 256], kv_len=16384, window=64
        ),
        "decode": attention(batch=[1, 64, 5], kv_len=[3000, 500, 100000], window=[0, 0, 4096], page_size=[16, 0, 64]),
        "backward": attention(batch=2, q_len=2048, kv_len=2048, is_causal=[True, False], is_backward=True),
    }
    for function in ("rmsnorm", "softmax", "silu", "add", "rope", "embedding", "adamw"):
        rows, cols = [1, 100, 8192], [4096, 700, 8192]
        moved = [2.0 * r * c for r, c in zip(rows, cols, strict=True)]
        found[function] = OpTable.of(
            "stream", read_bytes=moved, write_bytes=moved, flop=1e6, rows=rows, cols=cols, function=function,
            dtype="bf16",
        )  # fmt: skip
    return found


def priced(gpu: Device) -> dict[str, dict[str, list[float] | list[str]]]:
    out = {}
    for name, table in tables().items():
        found = cost(table, gpu)
        out[name] = {field: getattr(found, field).tolist() for field in FIELDS}
        out[name] |= {f"{memory} traffic": moved.tolist() for memory, moved in found.traffic_bytes.items()}
        out[name]["bound"] = found.bound.tolist()
    return out


def with_constants(constants: dict[str, float]) -> Device:
    """An H100 of the catalogue under the constants of the golden file."""
    gpu = device("h100-sxm")
    numbers = {name: Sourced(value, source="a test", kind="assumed", key=name) for name, value in constants.items()}
    return replace(gpu, architecture=replace(gpu.architecture, constants=FrozenMap(numbers)))


@pytest.mark.parametrize("name", tables())
def test_a_kernel_costs_what_it_did(name: str) -> None:
    golden = json.loads(GOLDEN.read_text())
    found = priced(with_constants(golden["constants"]))[name]
    for field, expected in golden["costs"][name].items():
        assert found[field] == (expected if field == "bound" else pytest.approx(expected, rel=1e-9)), field


if __name__ == "__main__":
    used = ("matmul.bf16", "matmul.fp8", "grouped_matmul", "attention", "stream", "energy", "vector")
    fitted = device("h100-sxm").architecture.constants
    constants = {name: float(value) for name, value in fitted.items() if name.startswith(used) or name.count(".") == 1}
    document = {"constants": constants, "costs": priced(with_constants(constants))}
    GOLDEN.write_text(json.dumps(document, indent=1) + "\n")
