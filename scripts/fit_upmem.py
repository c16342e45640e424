"""Reads issue slots per element, and the host's rate, off measured/upmem_prim.csv and writes the device upmem-60.

    AISYS_TABLES=FOLDER python scripts/fit_upmem.py

Each kernel of the set full_results has one row and gets one number, so these rows test nothing; rows of other sizes
and of fewer banks do. The clock of the logged machine is not known: slots are cycles of an assumed 350 MHz.
"""

from collections.abc import Iterator

import numpy as np
from fitting import tables_folder

from aisys.machine import PimBank, load
from aisys.machine.catalogue import FOLDER
from aisys.validate.table import read_table
from aisys.validate.upmem import STREAMS, kernel_of

SET, DPUS = "full_results", 60
SOURCE = "scripts/fit_upmem.py on measured/upmem_prim.csv, set full_results (PrIM on 60 DPUs of a real server)"

HEAD = """name = "upmem-60"
base = "upmem"
note = "The 60 DPUs of the vPIM logs (brisco007/vPIM), 16 threads each. Their clock and server are not stated there."

[[facts]]
source = "brisco007/vPIM: 60 DPUs, 16 tasklets; 64 MiB, 628 MB/s and 2.8 GB/s of each as in PrIM"
kind = "measured"
num_banks = 60
num_threads = 16
memories.mram.capacity_bytes = 4_026_531_840
memories.mram.bandwidth_bytes_per_s = 37.7e9
memories.wram.bandwidth_bytes_per_s = 168e9

[[facts]]
source = "assumed: 60 of 2,556 DPUs' share of the server"
kind = "assumed"
max_watt = 9
idle_watt = 2.3
price_usd_per_hour = 0.02
"""


def slots() -> Iterator[tuple[str, float]]:
    """The name and the issue slots per element of every kernel: where slots bind, a bank's cycles over its elements."""
    bank = load.device("upmem").architecture
    assert isinstance(bank, PimBank)
    table = read_table(tables_folder() / "upmem_prim.csv")
    kept = (table.texts("set") == SET) & (table.counts("dpus") == DPUS)
    times = dict(zip(table.texts("bench")[kept], table.numbers("dpu_ms", empty=np.nan)[kept] * 1e-3, strict=True))
    for bench, seconds in times.items():
        kernel = kernel_of(SET, str(bench), DPUS)
        if kernel is None:
            continue
        op = kernel.table
        elements = op["n"][0] * op["k"][0] if op.kind == "matmul" else op["cols"][0]
        name = "mac_int32" if op.kind == "matmul" else f"{STREAMS[str(bench)].function}_{STREAMS[str(bench)].dtype}"
        yield name, float(seconds * bank.clock_hz / np.ceil(elements / DPUS))


def host_bytes_per_s() -> float:
    """All bytes of parallel copies over all their time."""
    table = read_table(tables_folder() / "upmem_prim.csv")
    moved = seconds = 0.0
    columns = (table.numbers(name, empty=np.nan) for name in ("cpu_dpu_ms", "dpu_cpu_ms"))
    for log, bench, *times in zip(table.texts("set"), table.texts("bench"), *columns, strict=True):
        kernel = kernel_of(str(log), str(bench), DPUS) if log == SET else None
        if kernel is not None:
            for count, ms in zip((kernel.bytes_in, kernel.bytes_out), times, strict=True):
                moved, seconds = moved + count, seconds + (ms * 1e-3 if count else 0.0)
    return moved / seconds


def main() -> None:
    lines = [f"instructions.{name} = {value:.4g}" for name, value in sorted(slots())]
    facts = ["", "[[facts]]", f'source = "{SOURCE}"', 'kind = "fitted"', f"host_bytes_per_s = {host_bytes_per_s():.4g}"]
    (FOLDER / "device" / "upmem-60.toml").write_text(HEAD + "\n".join([*facts, *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
