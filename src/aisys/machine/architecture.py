"""What a device is made of. The type of a device's architecture selects the cost model that prices ops on it."""

from dataclasses import dataclass, field

from aisys.errors import Unsupported, unknown_name
from aisys.frozen import FrozenMap
from aisys.units import Sourced


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU. `generation` (sm80, sm90, sm100, gfx942, ...) selects the kernels that its libraries run.

    `flop_per_s`: dense peak by number format, at `clock_hz`. `constants`: what the data sheet does not say
    (efficiencies, overheads), by dotted name; fitted per generation by the scripts of the repository.
    """

    generation: str
    num_sm: Sourced
    clock_hz: Sourced
    flop_per_s: FrozenMap[str, Sourced]
    l2_bytes: Sourced
    shared_memory_bytes_per_sm: Sourced
    constants: FrozenMap[str, Sourced] = field(default_factory=FrozenMap)

    def peak_flop_per_s(self, math: str) -> Sourced:
        """Dense peak of number format `math`. Raises Unsupported where the device has none."""
        if math not in self.flop_per_s:
            raise Unsupported(f"a {self.generation} GPU has no {math} arithmetic; it has {', '.join(self.flop_per_s)}")
        return self.flop_per_s[math]

    def constant(self, *names: str) -> Sourced:
        """The first of `names` that this architecture holds: most specific first. Raises UnknownName for none."""
        for name in names:
            if name in self.constants:
                return self.constants[name]
        raise unknown_name(f"constant of {self.generation}", names[-1], self.constants)


@dataclass(frozen=True, slots=True, kw_only=True)
class SystolicArray:
    """`num_arrays` grids of `rows` x `cols` multiply-accumulate units; `dataflow` is ws, os or is.

    `timing`: exact, a rigid grid cycle by cycle, or overlapped, a chip that loads the next weights meanwhile, whose
    `constants` were fitted on its `generation`.
    """

    rows: Sourced
    cols: Sourced
    num_arrays: Sourced
    clock_hz: Sourced
    energy_joule_per_mac: Sourced
    dataflow: str = "ws"
    timing: str = "exact"
    generation: str = ""
    constants: FrozenMap[str, Sourced] = field(default_factory=FrozenMap)


@dataclass(frozen=True, slots=True, kw_only=True)
class PimBank:
    """`num_banks` processors, each beside its own DRAM bank, that reach each other only through the host.

    `cycles_per_instruction_per_thread`: issue distance of one thread; `num_threads` threads share one pipeline.
    `instructions`: issue slots per operation by name (mac_int8, mac_int32, add_int32, ...).
    Bank memory is read in blocks: `dma_setup_cycles` + bytes / `dma_bytes_per_cycle`.
    """

    num_banks: Sourced
    num_threads: Sourced
    clock_hz: Sourced
    cycles_per_instruction_per_thread: Sourced
    scratchpad_bytes: Sourced
    dma_setup_cycles: Sourced
    dma_bytes_per_cycle: Sourced
    host_bytes_per_s: Sourced
    energy_joule_per_cycle: Sourced
    instructions: FrozenMap[str, Sourced] = field(default_factory=FrozenMap)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """`num_cores` cores with private and shared caches in front of the device's memory.

    `cache_bytes`: innermost first. `flop_per_s`: peak of all cores by number format.
    `outstanding_misses`: memory requests that one core keeps in flight.
    """

    num_cores: Sourced
    clock_hz: Sourced
    flop_per_s: FrozenMap[str, Sourced]
    cache_bytes: tuple[Sourced, ...]
    outstanding_misses: Sourced
    constants: FrozenMap[str, Sourced] = field(default_factory=FrozenMap)


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageLevel:
    """What a memory of a SpatialArray is besides its `Memory`, which holds capacity, bandwidth and energy of reads.

    All numbers, and those of the Memory, are of one instance. `fanout`: the spatial dims below it, name to extent:
    each instance feeds that many of the next level, or of the multiply-accumulate units. `keeps`: the operand roles
    that may be stored here (input weight output); the others pass by. `ports`: separate (reads and writes at once) or
    shared. `reuse`: along which fan-out dims an operand is shared, `rows:output cols:input`: outputs are summed along
    rows, inputs are sent to all columns; a dim not named takes any loop. `network`: what the wires below it do,
    multicast (one read feeds all), reduce (sums on the way up), or unicast. `buffering`: double (filled while it is
    read) or single. `formats`: of operands whose zeros are left out, `input:rlc5 weight:csr`.
    """

    write_bandwidth_bytes_per_s: Sourced
    energy_joule_per_byte_written: Sourced
    fanout: FrozenMap[str, Sourced] = field(default_factory=FrozenMap)
    keeps: str = "input weight output"
    ports: str = "separate"
    reuse: str = "any"
    network: str = "multicast reduce"
    buffering: str = "double"
    formats: str = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpatialArray:
    """A hierarchy of memories around an array of multiply-accumulate units, for any loop nest.

    `levels`: outermost first; each is a memory of the device, of the same name. `energy_joule_per_mac`: at
    `mac_bits` wide operands. `dataflow`: any (the mapper is free), or rs for the row-stationary mapping of Eyeriss.
    `zeros`: what the arithmetic does where an operand is zero, `input:gate weight:skip:4`.
    """

    clock_hz: Sourced
    energy_joule_per_mac: Sourced
    mac_bits: Sourced
    levels: FrozenMap[str, StorageLevel]
    dataflow: str = "any"
    zeros: str = "none"
    constants: FrozenMap[str, Sourced] = field(default_factory=FrozenMap)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedArray:
    """An array that `aisys rtl` makes: int8 operands, int32 sums. Its cycles are those of the circuit, exactly.

    `dataflow` is ws or os. A step streams `num_vectors_per_tile` vectors; `num_left_slots` chunks of them are on chip.
    `num_lanes` channels are requantized per cycle. `num_multiplier_stages`: 1, or 2 with a register behind the
    multiplier. `num_kept_weights` of `num_group_weights` along k are kept (1 of 1: dense).
    The memory answers after `num_latency_cycles`, then a beat of `num_port_bytes` every `num_cycles_per_beat`.
    """

    rows: Sourced
    cols: Sourced
    num_vectors_per_tile: Sourced
    num_left_slots: Sourced
    num_port_bytes: Sourced
    num_lanes: Sourced
    num_multiplier_stages: Sourced
    num_kept_weights: Sourced
    num_group_weights: Sourced
    num_latency_cycles: Sourced
    num_cycles_per_beat: Sourced
    clock_hz: Sourced
    energy_joule_per_mac: Sourced
    dataflow: str = "ws"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fpga:
    """An FPGA with one engine of `num_unrolled_inputs` x `num_unrolled_outputs` multipliers of format `math`.

    `num_block_memories`: of 18 kbit. `products_per_dsp`: multiplications that one DSP block does per cycle, by number
    format; `luts_per_product`: LUTs of a multiplier without one, by the same formats. `num_lut_inputs`: 4 or 6.
    `usable_lut_share`: the part that place and route can fill. `num_pipeline_stages`: registers from operands to sum,
    beside one per level of the adder tree.
    """

    num_luts: Sourced
    num_dsps: Sourced
    num_block_memories: Sourced
    num_lut_inputs: Sourced
    usable_lut_share: Sourced
    num_unrolled_inputs: Sourced
    num_unrolled_outputs: Sourced
    num_pipeline_stages: Sourced
    clock_hz: Sourced
    energy_joule_per_mac: Sourced
    products_per_dsp: FrozenMap[str, Sourced]
    luts_per_product: FrozenMap[str, Sourced]
    math: str = "int8"


Architecture = Gpu | SystolicArray | GeneratedArray | SpatialArray | Fpga | PimBank | Cpu
