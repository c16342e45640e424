"""CPU time of the 12 distinct convolutions of ResNet-18 on a 32 x 32 array in three dataflows, beside SCALE-Sim.

Usage: python benchmarks/systolic.py [PYTHON]

PYTHON: an interpreter with scalesim 3.0.0 (it needs numpy below 2.3); the current one by default. Where it is not
installed, ours stands alone. SCALE-Sim runs the smallest of the layers in one dataflow: all 36 take it over an hour.
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

from aisys.cost import cost
from aisys.ir import OpTable
from aisys.machine import SystolicArray, load

LAYERS = (
    (12100, 64, 147), (2916, 64, 576), (784, 128, 576), (676, 128, 1152), (784, 128, 64), (196, 256, 1152),
    (144, 256, 2304), (196, 256, 128), (49, 512, 2304), (25, 512, 4608), (49, 512, 256), (1, 1000, 512),
)  # fmt: skip
"""M, N and K of im2col, without padding as in SCALE-Sim's own resnet18.csv; the last is the classifier."""
SMALLEST = (49, 512, 256)

SCALE_SIM = """
import sys, time
from scalesim.scale_sim import scalesim
start = time.process_time()
scalesim(save_disk_space=True, verbose=False, config=sys.argv[1] + "/a.cfg", topology=sys.argv[1] + "/a.csv",
         layout=sys.argv[1] + "/l.csv", input_type_gemm=True).run_scale(top_path=sys.argv[1])
print("CPU", time.process_time() - start)
"""
CONFIG = """[general]
run_name = run
[architecture_presets]
ArrayHeight: 32
ArrayWidth: 32
IfmapSramSzkB: 64
FilterSramSzkB: 64
OfmapSramSzkB: 64
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Dataflow: ws
Bandwidth: 10
ReadRequestBuffer: 32
WriteRequestBuffer: 32
[layout]
IfmapCustomLayout: False
IfmapSRAMBankBandwidth: 10
IfmapSRAMBankNum: 10
IfmapSRAMBankPort: 2
FilterCustomLayout: False
FilterSRAMBankBandwidth: 10
FilterSRAMBankNum: 10
FilterSRAMBankPort: 2
[sparsity]
SparsitySupport: false
[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
"""


def ours() -> list[list[float]]:
    """Cycles of every layer, by dataflow."""
    device = load.device("systolic-32x32")
    array = device.architecture
    assert isinstance(array, SystolicArray)
    m, n, k = (list(column) for column in zip(*LAYERS, strict=True))
    table = OpTable.of(
        "matmul", batch=1, m=m, n=n, k=k, b_is_weight=True, a_dtype="int8", b_dtype="int8", out_dtype="int8",
        math="int8",
    )  # fmt: skip
    grids = (replace(device, architecture=replace(array, dataflow=dataflow)) for dataflow in ("ws", "os", "is"))
    return [list(cost(table, grid).counts["cycles"]) for grid in grids]


def theirs(python: str) -> str:
    """What SCALE-Sim says of its CPU time on one layer, or that it is not there."""
    with TemporaryDirectory() as folder:
        m, n, k = SMALLEST
        files = {
            "a.cfg": CONFIG, "a.csv": f"Layer,M,N,K,\none,{m},{n},{k},\n", "l.csv": "Layer,\none," + "1," * 30 + "\n",
            "run.py": SCALE_SIM,
        }  # fmt: skip
        for name, text in files.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        run = subprocess.run([python, f"{folder}/run.py", folder], capture_output=True, text=True, check=False)
    lines = [line for line in run.stdout.splitlines() if line.startswith("CPU")]
    return f"{float(lines[-1].split()[1]):.1f} CPU s" if lines else "not installed"


if __name__ == "__main__":
    ours()
    start = process_time()
    for _ in range(100):
        ours()
    print(f"12 layers, 3 dataflows, warm: {(process_time() - start) * 10:.2f} CPU ms")
    print(f"SCALE-Sim, layer {SMALLEST} in ws: {theirs(sys.argv[1] if len(sys.argv) > 1 else sys.executable)}")
