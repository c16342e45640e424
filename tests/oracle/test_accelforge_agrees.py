"""accelforge's own optima of its example files, and einsums whose optimum its program printed for us."""

import os
from pathlib import Path

import pytest

from aisys.cost.loop_nest.accelforge import best_of_files
from aisys.cost.loop_nest.accelforge.expressions import value
from aisys.errors import BadInput
from aisys.validate import predict, read_table

pytest.importorskip("yaml")
pytest.importorskip("jinja2")

TABLES = os.environ.get("AISYS_TABLES")
needs_tables = pytest.mark.skipif(not TABLES, reason="set AISYS_TABLES to the folder that holds oracle/ to compare")
TIED = 1e-6


def test_a_chain_of_matmuls_on_a_small_machine_keeps_its_middle_inside(tmp_path: Path) -> None:
    """A machine and a chain of our own; the bits of the middle tensor never cross the outermost port."""
    (tmp_path / "arch.yaml").write_text(ARCH, encoding="utf-8")
    (tmp_path / "chain.yaml").write_text(CHAIN, encoding="utf-8")
    fused, time_s = best_of_files(tmp_path / "arch.yaml", tmp_path / "chain.yaml", is_fused=True, M=8)
    unfused, _ = best_of_files(tmp_path / "arch.yaml", tmp_path / "chain.yaml", is_fused=False, M=8)
    middle_bits, drained, filled = 8 * 8 * 8, 1 + 10, 10 + 1
    assert unfused - fused == pytest.approx(middle_bits * (drained + filled), rel=TIED)
    assert time_s == pytest.approx(2 * 8**3)


def test_a_missing_parameter_of_a_template_is_named(tmp_path: Path) -> None:
    (tmp_path / "chain.yaml").write_text(CHAIN, encoding="utf-8")
    (tmp_path / "arch.yaml").write_text(ARCH, encoding="utf-8")
    with pytest.raises(BadInput, match="'M' is undefined"):
        best_of_files(tmp_path / "arch.yaml", tmp_path / "chain.yaml", is_fused=True)


def test_an_expression_is_never_run() -> None:
    with pytest.raises(BadInput, match="not understood"):
        value("().__class__", {"All": frozenset()})


@needs_tables
@pytest.mark.slow
def test_every_optimum_on_simple_and_tpu_v4i_is_tied() -> None:
    table = read_table(Path(str(TABLES)) / "oracle" / "accelforge_optimal.csv")
    found = predict(table)
    for compared in (found, found.others["edp"]):
        for row, arch in enumerate(table.texts("arch")):
            if arch in ("simple", "tpu_v4i"):
                assert compared.predicted[row] == pytest.approx(compared.measured[row], rel=TIED)


ARCH = """
arch:
  nodes:
  - !Memory
    name: MainMemory
    size: inf
    tensors: {keep: ~Intermediates, may_keep: All}
    actions:
    - {name: read, energy: 10, throughput: inf}
    - {name: write, energy: 10, throughput: inf}
  - !Memory
    name: Buffer
    size: 8 * 1024 * 8
    tensors: {keep: ~MainMemory, may_keep: All}
    actions:
    - {name: read, energy: 1, throughput: inf}
    - {name: write, energy: 1, throughput: inf}
  - !Compute
    name: MAC
    actions:
    - {name: compute, energy: 1, throughput: 1}
"""

CHAIN = """
workload:
  rank_sizes: {M: {{M}}, K: 8, N: 8, P: 8}
  bits_per_value: {All: 8}
  einsums:
  - "T[m, n] = A[m, k] * W[k, n]"
  - "Z[m, p] = T[m, n] * V[n, p]"
renames:
  einsums:
  - name: default
    tensor_accesses:
    - {name: input, source: Inputs & Intermediates if len(Inputs & Intermediates) else A}
    - {name: output, source: Outputs}
    - {name: weight, source: ~(input | output)}
"""
