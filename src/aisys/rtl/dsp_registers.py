"""Registers around the multipliers of an ECP5 netlist go into its DSP blocks, as vendors' tools do and Yosys does not.

A block has registers of its own behind its two inputs and before its output. A register beside it costs a wire each
way, which is most of the slowest path of an array. Nothing that can be seen from outside changes: a register moves only
if all bits of the port have one clock, one enable and one reset to zero, at inputs only if both ports have them; one
that others read as well stays for them.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

VERSION = 1
"""To be counted up where the same netlist comes out changed, so that kept runs are not taken for new ones."""

MULTIPLIER, REGISTER = "MULT18X18D", "TRELLIS_FF"
OPERAND_BITS, RESULT_BITS = 18, 36
LOW, HIGH = "0", "1"
Bit = int | str
"""Of a netlist that Yosys writes as JSON: the number of a wire, or a constant."""
Cell = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Control:
    """What drives all registers of a port."""

    clock: Bit
    enable: Bit
    reset: Bit


def into_blocks(netlist: dict[str, Any]) -> None:
    """Move registers into the DSP blocks of each module of `netlist`, in place."""
    for module in netlist["modules"].values():
        if any(cell["type"] == MULTIPLIER for cell in module["cells"].values()):
            _Module(module).absorb()


class _Module:
    """The cells of a module, what drives each wire, and who reads it."""

    def __init__(self, module: dict[str, Any]) -> None:
        self.cells: dict[str, Cell] = module["cells"]
        self.driver: dict[Bit, str] = {}
        self.readers: defaultdict[Bit, set[tuple[str, str]]] = defaultdict(set)
        for name, cell in self.cells.items():
            for port, (bit, *_) in cell["connections"].items():
                if cell["port_directions"][port] == "output":
                    self.driver[bit] = name
                else:
                    self.readers[bit].add((name, port))
        for name, port in module["ports"].items():
            if port["direction"] != "input":
                for bit in port["bits"]:
                    self.readers[bit].add(("", name))

    def absorb(self) -> None:
        """Blocks that have registers already stay as they are."""
        blocks = [name for name, cell in self.cells.items() if cell["type"] == MULTIPLIER and not cell["parameters"]]
        for name in blocks:
            controls: list[Control] = []
            self._absorb_output(name, controls)
            self._absorb_inputs(name, controls)
            self._connect(name, controls)

    def _absorb_output(self, name: str, controls: list[Control]) -> None:
        wires = self.cells[name]["connections"]
        used = [port for port in _ports("P", RESULT_BITS, wires) if self.readers[wires[port][0]]]
        readers = [self.readers[wires[port][0]] for port in used]
        if not used or any(len(each) != 1 for each in readers):
            return
        registers = [reader for each in readers for reader, port in each if port == "DI"]
        control = self._control(registers)
        if control is None or len(registers) != len(used):
            return
        for port, register in zip(used, registers, strict=True):
            (bit,) = wires[port] = self.cells[register]["connections"]["Q"]
            self.driver[bit] = name
            self._remove(register)
        self._configure(name, "REG_OUTPUT", control, controls)

    def _absorb_inputs(self, name: str, controls: list[Control]) -> None:
        wires = self.cells[name]["connections"]
        operands = {operand: self._registers(operand, wires) for operand in "AB"}
        found = {operand: self._control(registers.values()) for operand, registers in operands.items()}
        for operand, control in found.items():
            if None in found.values() or control is None:
                return
            for port, register in operands[operand].items():
                self._bypass(name, port, register)
            self._configure(name, f"REG_INPUT{operand}", control, controls)

    def _registers(self, operand: str, wires: dict[str, Any]) -> dict[str, str]:
        """What drives each port of an operand that is not constantly low."""
        bits = {port: wires[port][0] for port in _ports(operand, OPERAND_BITS, wires)}
        return {port: self.driver.get(bit, "") for port, bit in bits.items() if bit != LOW}

    def _bypass(self, name: str, port: str, register: str) -> None:
        """Take what `register` takes; it goes where nothing else reads it."""
        wires = self.cells[name]["connections"]
        (bit,) = wires[port]
        self.readers[bit].discard((name, port))
        (taken,) = wires[port] = self.cells[register]["connections"]["DI"]
        self.readers[taken].add((name, port))
        if not self.readers[bit]:
            self._remove(register)

    def _remove(self, register: str) -> None:
        for port, (bit, *_) in self.cells.pop(register)["connections"].items():
            self.readers[bit].discard((register, port))

    def _control(self, registers: Iterable[str]) -> Control | None:
        """The one control of all `registers`; None where one of them is none or does what a block's cannot."""
        controls = {_control(self.cells.get(register)) for register in registers}
        return controls.pop() if len(controls) == 1 else None

    def _configure(self, name: str, register: str, control: Control, controls: list[Control]) -> None:
        if control not in controls:
            controls.append(control)
        i = controls.index(control)
        what = {"CLK": f"CLK{i}", "CE": f"CE{i}", "RST": f"RST{i}"}
        self.cells[name]["parameters"] |= {f"{register}_{key}": value for key, value in what.items()}

    def _connect(self, name: str, controls: list[Control]) -> None:
        cell = self.cells[name]
        for i, control in enumerate(controls):
            wires = {f"CLK{i}": control.clock, f"CE{i}": control.enable, f"RST{i}": control.reset}
            for port, bit in wires.items():
                cell["connections"][port] = [bit]
                cell["port_directions"][port] = "input"
                self.readers[bit].add((name, port))
            cell["parameters"] |= {"RESETMODE": "SYNC", "GSR": "DISABLED"}


def _ports(prefix: str, num: int, wires: dict[str, Any]) -> Iterator[str]:
    """The ports of a bus that are connected."""
    return (port for port in (f"{prefix}{i}" for i in range(num)) if port in wires)


def _control(cell: Cell | None) -> Control | None:
    """What drives a register that a block can hold: rising edge, reset to zero with the clock and before the enable."""
    if cell is None or cell["type"] != REGISTER:
        return None
    wires, settings = cell["connections"], {key: value.strip() for key, value in cell["parameters"].items()}
    enables = {"1": HIGH, "CE": wires.get("CE", [HIGH])[0]}
    reset = wires.get("LSR", [LOW])[0]
    if reset != LOW and (settings["LSRMUX"] != "LSR" or settings["SRMODE"] != "LSR_OVER_CE"):
        return None
    if settings["CLKMUX"] != "CLK" or settings["REGSET"] != "RESET" or settings["CEMUX"] not in enables:
        return None
    return Control(wires["CLK"][0], enables[settings["CEMUX"]], reset)
