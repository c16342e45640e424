"""Residuals learn what nearby rows have in common, vanish away from them, and travel with a device."""

from pathlib import Path

import numpy as np
import pytest

from aisys.cost import cost, residual
from aisys.errors import BadInput
from aisys.ir import OpTable
from aisys.machine import load
from aisys.validate.gemm import calibrate

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
    device = residual.attached(load.device("h100-sxm"), "matmul.bf16", made, "test")
    found = residual.of(device.architecture, "matmul.bf16")
    assert found is not None
    assert found.log_correction(x).tolist() == pytest.approx(made.log_correction(x).tolist(), rel=1e-12)
    assert (found.error_low, found.error_high) == (made.error_low, made.error_high)


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
    own = calibrate(device, path)
    assert cost(op, own).time_s.tolist() == cost(op, device).time_s.tolist(), "the analytic tier learns nothing"
    ratio = cost(op, own, tier="calibrated").time_s / slow
    assert ratio.min() > 0.85
    assert ratio.max() < 1.05
    assert all("own.csv" in v.source for key, v in own.architecture.constants.items() if key.startswith("residual."))


def test_a_table_without_rows_of_the_device_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(HEADER + "H100-SXM5-80GB,bf16,1,1024,1024,3\n")
    with pytest.raises(BadInput, match="no row of rtx-4090"):
        calibrate(load.device("rtx-4090"), path)
    with pytest.raises(BadInput, match="fewer than 8 rows"):
        calibrate(load.device("h100-sxm"), path)
