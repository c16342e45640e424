"""Residuals learn what nearby rows have in common, vanish away from them, and travel with a device."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aisys import collective
from aisys.cost import cost
from aisys.cost.gpu import stack as stacks
from aisys.errors import BadInput
from aisys.ir import OpTable
from aisys.machine import load, residual
from aisys.validate import read_calibration, read_table, teacher

HEADER = "# table: gemm\n# kind: measured\n# source: test\n# units: us\ndevice,dtype,m,n,k,us\n"


def matmuls(m: object, n: object, k: object) -> OpTable:
    return OpTable.of(
        "matmul", batch=1, m=m, n=n, k=k, b_is_weight=True, a_dtype="bf16", b_dtype="bf16", out_dtype="bf16",
        math="bf16",
    )  # fmt: skip


def grid() -> tuple[np.ndarray, np.ndarray]:
    x = np.stack(np.meshgrid(np.arange(6.0), np.arange(6.0)), axis=-1).reshape(-1, 2)
    return x, 0.1 * np.sin(x[:, 0] / 2) + 0.05


def test_a_smooth_error_is_learned_between_the_rows_and_not_far_from_them() -> None:
    x, y = grid()
    found = residual.fit(x, y, np.array([2.0, 2.0]), noise=0.1)
    between = x[:20] + 0.3
    assert np.abs(found.log_correction(between) - (0.1 * np.sin(between[:, 0] / 2) + 0.05)).max() < 0.02
    assert np.abs(found.log_correction(x + 100.0)).max() < 1e-12


def test_a_trend_is_learned_only_where_it_is_asked_for() -> None:
    x, y = grid()
    plain, trend = (residual.fit(x, y + 0.2, np.array([2.0, 2.0]), slope_weight=w) for w in (0.0, 0.5))
    far = np.array([[200.0, 2.5]])
    assert plain.log_correction(far)[0] == pytest.approx(0, abs=1e-12)
    assert trend.mean == pytest.approx((y + 0.2).mean())
    assert trend.log_correction(far)[0] != pytest.approx(trend.mean, abs=1e-3)


def test_large_errors_are_no_trend() -> None:
    x, _ = grid()
    found = residual.fit(x, np.full(len(x), 3.0), np.array([5.0, 5.0]), noise=0.1)
    assert found.log_correction(x).max() <= residual.MAX_LOG * 1.1


def test_few_rows_teach_nothing() -> None:
    x, y = grid()
    with pytest.raises(BadInput, match="7 rows"):
        residual.fit(x[:7], y[:7], np.array([2.0, 2.0]))


def test_a_residual_is_the_same_after_a_device_carried_it() -> None:
    x, y = grid()
    made = residual.fit(x, y, np.array([2.0, 3.0]))
    gpu = load.device("h100-sxm").architecture
    held = residual.attached(gpu.constants, "h100-sxm", "matmul.bf16", made, "test")
    found = residual.of(replace(gpu, constants=held), "matmul.bf16")
    assert found is not None
    assert found.log_correction(x).tolist() == pytest.approx(made.log_correction(x).tolist(), rel=1e-12)
    assert (found.error_low, found.error_high) == (made.error_low, made.error_high)
    assert found.is_own
    assert residual.own(held, "matmul.fp8") is None


def test_constants_that_never_saw_a_generation_have_no_residual() -> None:
    assert residual.of(load.device("b200").architecture, "matmul.bf16") is not None
    assert residual.of(load.device("b200", constants="transfer").architecture, "matmul.bf16") is None
    op = matmuls([64, 4096], 4096, 4096)
    transfer = load.device("b200", constants="transfer")
    assert cost(op, transfer, tier="calibrated").time_s.tolist() == cost(op, transfer).time_s.tolist()


def test_a_person_s_own_table_moves_prices_towards_it(tmp_path: Path) -> None:
    device = load.device("rtx-4090")
    shapes = [(m, n, 4096) for m in (1, 16, 256, 2048) for n in (1024, 4096, 11008)]
    op = matmuls(*(list(column) for column in zip(*shapes, strict=True)))
    slow = cost(op, device).time_s * 1.25
    lines = [f"RTX 4090,bf16,{m},{n},{k},{us * 1e6:.6g}" for (m, n, k), us in zip(shapes, slow, strict=True)]
    path = tmp_path / "own.csv"
    path.write_text(HEADER + "\n".join([*lines, "H100-SXM5-80GB,bf16,1,1024,1024,3"]) + "\n")
    own = read_calibration([path]).device(device)
    assert cost(op, own).time_s.tolist() == cost(op, device).time_s.tolist(), "the analytic tier learns nothing"
    ratio = cost(op, own, tier="calibrated").time_s / slow
    assert ratio.min() > 0.85
    assert ratio.max() < 1.05
    assert all("own.csv" in v.source for key, v in own.architecture.constants.items() if key.startswith("residual."))


def test_a_table_without_rows_of_the_device_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(HEADER + "H100-SXM5-80GB,bf16,1,1024,1024,3\n")
    for name in ("rtx-4090", "h100-sxm"):
        with pytest.raises(BadInput, match=f"fewer than 8 rows of any op and format of {name}"):
            read_calibration([path]).device(load.device(name))


ATTENTION = "device,stack,phase,attn_dtype,kv_dtype,batch,q_len,kv_len,q_heads,kv_heads,head_dim,us"


def decodes(batch: object, kv_len: object) -> OpTable:
    return OpTable.of(
        "attention", batch=batch, q_len=1, kv_len=kv_len, q_heads=32, kv_heads=8, head_dim=128, value_dim=128, window=0,
        is_causal=True, is_backward=False, page_size=16, q_dtype="bf16", kv_dtype="bf16", math="bf16",
    )  # fmt: skip


def test_attention_is_learned_under_the_stack_of_its_rows_and_for_plans(tmp_path: Path) -> None:
    shapes = [(batch, kv) for batch in (1, 8, 64) for kv in (512, 2048, 8192, 16384)]
    op = decodes(*(list(column) for column in zip(*shapes, strict=True)))
    device = load.device("h100-sxm")
    under = stacks.under(device, "trtllm")
    slow = cost(op, under).time_s * 1.2
    lines = [
        f"H100-SXM5-80GB,trtllm-9.9,decode,bf16,bf16,{b},1,{kv},32,8,128,{us * 1e6:.6g}"
        for (b, kv), us in zip(shapes, slow, strict=True)
    ]
    path = tmp_path / "own.csv"
    path.write_text("\n".join([HEADER.replace("gemm", "attention").splitlines()[0], *HEADER.splitlines()[1:4],
                               ATTENTION, *lines]) + "\n")  # fmt: skip
    own = read_calibration([path]).device(device)
    ratio = cost(op, stacks.under(own, "trtllm"), tier="calibrated").time_s / slow
    assert np.abs(ratio - 1).max() < 0.1
    plain = cost(op, own, tier="calibrated").time_s / slow
    assert np.abs(plain - 1).max() < 0.2, "a plan has no stack: it learns from all rows together"
    assert cost(op, stacks.under(own, "vllm"), tier="calibrated").time_s.tolist() == pytest.approx(
        cost(op, own, tier="calibrated").time_s.tolist()
    )
    backward = OpTable.of("attention", **{**dict(op.columns), "is_backward": True})
    assert cost(backward, own, tier="calibrated").time_s.tolist() == cost(backward, device).time_s.tolist()


def test_collectives_are_learned_for_the_links_that_ran_them_and_no_others(tmp_path: Path) -> None:
    node, sizes = load.machine("dgx-h100"), [2.0**power for power in range(10, 30, 2)]
    ranks = {"node": 8}
    slow = collective.time("all_reduce", sizes, ranks, node).time_s * 1.3
    lines = [
        f"H100-SXM5 NVSwitch,nccl-9,all_reduce,8,{int(b)},{us * 1e6:.6g}" for b, us in zip(sizes, slow, strict=True)
    ]
    path = tmp_path / "own.csv"
    path.write_text(HEADER.replace("gemm", "collective").replace("device,dtype,m,n,k,us", "device,lib,op,gpus,bytes,us")
                    + "\n".join(lines) + "\n")  # fmt: skip
    own = read_calibration([path]).machine(node)
    assert own.device == node.device
    priced = collective.time("all_reduce", sizes, ranks, own)
    assert np.abs(priced.time_s / slow - 1).max() < 0.1
    assert any("own.csv" in link.constants[key].source for link in own.links.values() for key in link.constants)
    other = collective.time("all_gather", sizes, ranks, own).time_s
    assert other.tolist() == collective.time("all_gather", sizes, ranks, node).time_s.tolist()
    with pytest.raises(BadInput, match="fewer than 8 rows of any collective"):
        read_calibration([path]).links(load.machine("dgx-b200").links)


def test_a_table_that_can_teach_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(HEADER.replace("gemm", "serving") + "H100-SXM5-80GB,bf16,1,1024,1024,3\n")
    with pytest.raises(BadInput, match="teaches nothing; give collective, gemm"):
        read_calibration([path])


def test_a_table_cannot_test_what_it_has_taught(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(HEADER + "H100-SXM5-80GB,bf16,1,1024,1024,3\n")
    table = read_table(path)
    with pytest.raises(BadInput, match="cannot test what it has taught"):
        teacher(table, "calibrated", [path])
    with pytest.raises(BadInput, match="learns from no table"):
        teacher(table, "analytic", [path])


def test_an_interval_holds_the_prediction_even_where_every_row_errs_to_one_side() -> None:
    x, _ = grid()
    found = residual.fit(x[:10], np.full(10, 0.3), np.array([2.0, 2.0]))
    assert found.error_low < 1 < found.error_high
