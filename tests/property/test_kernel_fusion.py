"""Fused kernels move fewer bytes, compute the same, and launch less often."""

from hypothesis import given, settings
from hypothesis import strategies as st

from aisys.ir import kernels
from aisys.technique.kernel_fusion import KernelFusion
from aisys.technique.serving_format import ServingFormat
from aisys.workload import read


def _streams(graph):
    rows = [k.row for b in graph.blocks for k in kernels(b.ops, b.tensors)]
    return [columns for kind, columns in rows if kind == "stream"], len(rows)


@settings(deadline=None, max_examples=20)
@given(
    name=st.sampled_from(["llama-3.1-8b", "gpt2", "qwen3-8b", "mixtral-8x7b"]), batch=st.integers(1, 64),
    activations=st.sampled_from(["", "fp8"]),
)  # fmt: skip
def test_fusion_changes_no_flop_and_saves_bytes_and_launches(name, batch, activations):
    graph = ServingFormat(weights="fp8", activations=activations).apply(read(name, batch=batch, tokens=16))
    fused = KernelFusion().apply(graph)
    before, num_before = _streams(graph)
    after, num_after = _streams(fused)
    assert num_after < num_before
    for side in ("read_bytes", "write_bytes"):
        assert sum(c[side] for c in after) <= sum(c[side] for c in before)
    assert sum(c["read_bytes"] for c in after) < sum(c["read_bytes"] for c in before)
    products = [sum(op.flop for b in g.blocks for op in b.ops if op.kind == "matmul") for g in (graph, fused)]
    assert products[0] == products[1]


def test_an_addition_and_its_norm_read_two_tensors_and_write_two():
    fused = KernelFusion().apply(read("llama-3.1-8b", batch=1, tokens=8))
    block = fused.blocks[1]
    row = next(k.row[1] for k in kernels(block.ops, block.tensors) if [op.kind for op in k.ops] == ["add", "norm"])
    token_bytes, scale = 8 * 4096 * 2, 4096 * 2
    assert row["read_bytes"] == 2 * token_bytes + scale
    assert row["write_bytes"] == 2 * token_bytes
