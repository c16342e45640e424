"""Every device and system that the measurement tables name is in the catalogue."""

import csv
import os
from pathlib import Path

import pytest

from aisys.machine import load

DEVICE_COLUMNS = {
    "gpu_gemm.csv": "device", "gpu_gemm_power.csv": "device", "gpu_attention.csv": "device", "gpu_moe.csv": "device",
    "vidur_mlp.csv": "device", "neusight_fp32_ops.csv": "device", "llmservingsim_layers.csv": "device",
    "dnn_e2e_neusight.csv": "device", "tpu_llm.csv": "chip", "nccl_allreduce.csv": "gpu",
    "nccl_allreduce_one_node.csv": "gpu", "llmcompass_ops.csv": "device",
}  # fmt: skip
MACHINE_COLUMNS = {"gpu_collectives.csv": "device", "vidur_network.csv": "system", "training_step.csv": "machine"}
UNSEEN = [
    "H200-SXM-141GB", "L40S", "GB200", "RTX PRO 6000", "H200-SXM-141GB NVSwitch", "GB200 NVSwitch", "RTX PRO 6000 PCIe",
    "dgx-h200", "H100-NVL", "MI300X", "tpu-v5e", "A6000", "A5000",
]  # fmt: skip


def values(table: str, column: str) -> set[str]:
    folder = os.environ.get("AISYS_TABLES")
    if not folder:
        pytest.skip("AISYS_TABLES is not set: the measurement tables are elsewhere")
    with (Path(folder) / "measured" / table).open(encoding="utf-8") as file:
        return {row[column] for row in csv.DictReader(line for line in file if not line.startswith("#"))}


@pytest.mark.parametrize(("table", "column"), DEVICE_COLUMNS.items())
def test_every_device_of_a_table_has_an_entry(table: str, column: str) -> None:
    for name in values(table, column):
        if " NVLink3" in name:
            assert load.machine(name).num_devices == int(name[0])
        else:
            assert load.device(name).architecture
            assert load.machine(name).num_devices == 1


@pytest.mark.parametrize(("table", "column"), MACHINE_COLUMNS.items())
def test_every_system_of_a_table_has_an_entry(table: str, column: str) -> None:
    for name in values(table, column):
        assert load.machine(name).num_devices > 1


@pytest.mark.parametrize("name", UNSEEN)
def test_devices_and_systems_that_tables_elsewhere_name_have_an_entry(name: str) -> None:
    assert load.machine(name).num_devices >= 1


def test_the_tables_that_say_nothing_of_their_device_have_it_in_their_name() -> None:
    assert load.device("tpu_v6e").architecture
    assert load.device("upmem").architecture


def test_every_training_run_fits_the_mesh_of_its_machine() -> None:
    folder = os.environ.get("AISYS_TABLES")
    if not folder:
        pytest.skip("AISYS_TABLES is not set: the measurement tables are elsewhere")
    with (Path(folder) / "measured" / "training_step.csv").open(encoding="utf-8") as file:
        rows = {(r["machine"], int(r["devices"])) for r in csv.DictReader(x for x in file if not x.startswith("#"))}
    assert rows
    for name, num_devices in rows:
        assert load.machine(name, num_devices=num_devices).num_devices == num_devices
