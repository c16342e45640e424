"""Fits what a serving engine adds to its kernels on measured/llm_e2e_agg.csv and writes the framework `vllm`.

    AISYS_TABLES=FOLDER python scripts/fit_serving.py

Five factors over the kernels' own times (all, fp8 and 4-bit matmuls, attention, streams) and the fixed time of a step;
fitted to the time per output token of models that the catalogue knows, on Hopper and B200. The interval and the printed
errors come from folds over models: every model is predicted by a fit that has not seen it.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from fitting import tables_folder
from scipy.optimize import minimize

from aisys.errors import AisysError
from aisys.lower import framework as frameworks
from aisys.lower.framework import Framework, framework
from aisys.units import Sourced
from aisys.validate.prediction import Options
from aisys.validate.serving import Parts, case, parts
from aisys.validate.table import read_table

NUM_FOLDS, EVERY = 3, 4
"""Folds over models, and which rows the fits use: each costs milliseconds, and six numbers need no more."""

SOURCE = "scripts/fit_serving.py on measured/llm_e2e_agg.csv"
FREE = {
    "compute_factor": (0.9, 0.5, 1.3), "fp8_factor": (0.8, 0.3, 1.3), "attention_factor": (1.0, 0.4, 1.5),
    "stream_factor": (0.6, 0.2, 1.3), "step_s": (1e-3, 2e-4, 6e-3),
}  # fmt: skip


def changed(base: Framework, values: Mapping[str, float]) -> Framework:
    """`base` with some constants replaced."""
    new = {n: Sourced(v, source=SOURCE, kind="fitted", key=f"vllm.{n}") for n, v in values.items()}
    return replace(base, **new)


def fit(rows: list[tuple[Parts, float]], base: Framework) -> dict[str, float]:
    """The constants of least mean absolute log error on `rows`."""
    names = list(FREE)
    start, low, high = (np.log([FREE[n][i] for n in names]) for i in range(3))

    def loss(x: np.ndarray) -> float:
        used = changed(base, dict(zip(names, np.exp(np.clip(x, low, high)), strict=True)))
        errors = [abs(np.log(p.tpot_s(used) / measured)) for p, measured in rows]
        return float(np.mean(np.minimum(errors, 1.0)) + 0.02 * np.abs(x - start).mean())

    found = minimize(loss, start, method="Nelder-Mead", options={"maxiter": 70, "xatol": 5e-3, "fatol": 1e-4})
    return dict(zip(names, np.exp(np.clip(found.x, low, high)).tolist(), strict=True))


def main() -> None:
    """Fit, report by model, and write the framework's file."""
    table = read_table(tables_folder() / "llm_e2e_agg.csv")
    base = framework("vllm")
    rows, models = [], []
    for row in range(len(table)):
        try:
            priced = parts(case(table, row, Options()), base, "analytic")
            priced.tpot_s(base)
            rows.append((priced, float(table.numbers("silicon_tpot_ms")[row]) / 1e3))
            models.append(table.texts("model_path")[row].split("/")[-1][:12])
        except AisysError:
            continue
    ratios = np.zeros(len(rows))
    names = sorted(set(models))
    for fold in range(NUM_FOLDS):
        held = set(names[fold::NUM_FOLDS])
        seen = [r for r, m in zip(rows, models, strict=True) if m not in held]
        used = changed(base, fit(seen[::EVERY], base))
        for i, (r, m) in enumerate(zip(rows, models, strict=True)):
            if m in held:
                ratios[i] = r[1] / r[0].tpot_s(used)
    for model in names:
        mine = ratios[np.array(models) == model]
        print(f"{model:14s} rows {len(mine):4d}  MAPE {np.mean(np.abs(1 / mine - 1)):.3f}")
    print(f"unseen models: MAPE {np.mean(np.abs(1 / ratios - 1)):.3f}, median {np.median(np.abs(1 / ratios - 1)):.3f}")
    found = fit(rows[::EVERY], base)
    low, high = np.quantile(ratios, [0.05, 0.95])
    write({**found, "error_low": float(low), "error_high": float(high)})


def write(values: Mapping[str, float]) -> None:
    """Replace the fitted constants in the framework's file."""
    path = Path(frameworks.FOLDER) / "vllm.toml"
    kept = [line for line in path.read_text().split("\n[[facts]]")[1].splitlines() if line]
    kept = [line for line in kept if line.split(" = ")[0] not in values]
    fitted = [f"{name} = {value:.4g}" for name, value in values.items()]
    head = 'name = "vllm"\ncollectives = "vllm"\n'
    facts = "\n".join(["", "[[facts]]", *kept, "", "[[facts]]", f'source = "{SOURCE}"', 'kind = "fitted"', *fitted, ""])
    path.write_text(head + facts)
    print("\n".join(fitted))


if __name__ == "__main__":
    main()
