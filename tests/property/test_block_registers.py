"""Which registers go into a multiplier's block, and which stay beside it, on netlists of one multiplier."""

from typing import Any

import pytest

from aisys.rtl.dsp_registers import into_blocks

CLOCK, RESET, ENABLE, OTHER = 2, 3, 4, 5
A, B, P = (10, 11), (20, 21), (30, 31, 32)
"""Wires of two-bit operands and a result of three bits; what drives or takes their registers has 100 more."""


def register(data: int, output: int, **changed: Any) -> dict[str, Any]:
    settings = {"CLKMUX": "CLK", "CEMUX": "1 ", "LSRMUX": "LSR", "SRMODE": "LSR_OVER_CE", "REGSET": "RESET"}
    wires: dict[str, list[Any]] = {"CLK": [CLOCK], "LSR": [RESET], "DI": [data], "Q": [output]}
    for name, value in changed.items():
        (wires if name in ("CLK", "LSR", "CE") else settings)[name] = [value] if isinstance(value, int) else value
    ways = {name: "output" if name == "Q" else "input" for name in wires}
    return {"type": "TRELLIS_FF", "parameters": settings, "connections": wires, "port_directions": ways}


def netlist(**changed: dict[str, Any]) -> dict[str, Any]:
    """Registers around one multiplier, operands signed and extended; changed: settings of A, B or P registers."""
    wires: dict[str, list[Any]] = {"SIGNEDA": ["1"], "SIGNEDB": ["1"]}
    cells: dict[str, Any] = {}
    for operand, bits in (("A", A), ("B", B)):
        wires |= {f"{operand}{i}": [bits[min(i, 1)]] for i in range(4)} | {f"{operand}{i}": ["0"] for i in (4, 5)}
        cells |= {f"{operand}{i}": register(100 + b, b, **changed.get(operand, {})) for i, b in enumerate(bits)}
    wires |= {f"P{i}": [bit] for i, bit in enumerate(P)} | {"P3": [99]}
    cells |= {f"P{i}": register(bit, 100 + bit, **changed.get("P", {})) for i, bit in enumerate(P)}
    ways = {name: "output" if name.startswith("P") else "input" for name in wires}
    cells["block"] = {"type": "MULT18X18D", "parameters": {}, "connections": wires, "port_directions": ways}
    ends = {
        "taken": {"direction": "input", "bits": [CLOCK, RESET, ENABLE, OTHER, *(100 + b for b in (*A, *B))]},
        "given": {"direction": "output", "bits": [100 + b for b in P]},
    }
    return {"modules": {"top": {"cells": cells, "ports": ends}}}


def moved(design: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """The multiplier after the pass, and the registers that are left."""
    into_blocks(design)
    cells = design["modules"]["top"]["cells"]
    return cells["block"], set(cells) - {"block"}


def test_all_registers_around_a_multiplier_go_into_its_block() -> None:
    block, left = moved(netlist(B={"CE": ENABLE, "CEMUX": "CE"}))
    assert not left
    wires, settings = block["connections"], block["parameters"]
    assert [wires[f"A{i}"] for i in range(6)] == [[110], [111], [111], [111], ["0"], ["0"]]
    assert [wires[f"P{i}"] for i in range(4)] == [[130], [131], [132], [99]]
    for port, enable in (("REG_INPUTA", "1"), ("REG_INPUTB", ENABLE), ("REG_OUTPUT", "1")):
        assert wires[settings[f"{port}_CLK"]] == [CLOCK]
        assert wires[settings[f"{port}_RST"]] == [RESET]
        assert wires[settings[f"{port}_CE"]] == [enable]
    assert settings["RESETMODE"] == "SYNC"
    assert block["port_directions"]["CE1"] == "input"


@pytest.mark.parametrize(
    "changed",
    [
        {"REGSET": "SET"}, {"SRMODE": "ASYNC"}, {"CLKMUX": "INV"}, {"LSRMUX": "INV"}, {"CEMUX": "INV", "CE": ENABLE},
    ],
)  # fmt: skip
def test_registers_that_a_block_cannot_hold_stay(changed: dict[str, Any]) -> None:
    block, left = moved(netlist(A=changed))
    assert left == {"A0", "A1", "B0", "B1"}
    assert {name for name in block["parameters"] if "INPUT" in name} == set()
    block, left = moved(netlist(P=changed))
    assert left == {"P0", "P1", "P2"}
    assert "REG_OUTPUT_CLK" not in block["parameters"]


def test_without_a_reset_the_way_it_would_act_does_not_matter() -> None:
    _, left = moved(netlist(A={"SRMODE": "ASYNC", "LSR": ["0"]}))
    assert not left


def test_bits_with_different_controls_stay() -> None:
    design = netlist()
    cells = design["modules"]["top"]["cells"]
    cells["P1"]["connections"]["CLK"] = [OTHER]
    cells["A1"]["connections"]["LSR"] = [OTHER]
    _, left = moved(design)
    assert left == {"A0", "A1", "B0", "B1", "P0", "P1", "P2"}


def test_a_register_that_others_read_is_kept_for_them() -> None:
    design = netlist()
    design["modules"]["top"]["ports"]["given"]["bits"].append(A[0])
    block, left = moved(design)
    assert left == {"A0"}
    assert block["connections"]["A0"] == [110]


def test_a_product_that_others_read_as_well_stays_outside() -> None:
    design = netlist()
    design["modules"]["top"]["ports"]["given"]["bits"].append(P[2])
    block, left = moved(design)
    assert left == {"P0", "P1", "P2"}
    assert block["connections"]["P2"] == [P[2]]


def test_an_operand_from_elsewhere_keeps_both_outside() -> None:
    design = netlist()
    design["modules"]["top"]["cells"].pop("A1")
    design["modules"]["top"]["ports"]["taken"]["bits"].append(A[1])
    _, left = moved(design)
    assert left == {"A0", "B0", "B1"}


def test_a_square_takes_one_register_for_both_operands() -> None:
    design = netlist()
    cells = design["modules"]["top"]["cells"]
    for i in range(4):
        cells["block"]["connections"][f"B{i}"] = cells["block"]["connections"][f"A{i}"]
    block, left = moved(design)
    assert left == {"B0", "B1"}  # nobody reads them, before as after
    assert block["connections"]["B3"] == block["connections"]["A3"] == [111]


def test_a_block_that_has_registers_already_is_left_alone() -> None:
    design = netlist()
    design["modules"]["top"]["cells"]["block"]["parameters"]["REG_OUTPUT_CLK"] = "CLK0"
    _, left = moved(design)
    assert len(left) == 7
