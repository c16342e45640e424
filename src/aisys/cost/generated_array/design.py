"""What a generated array is made of, and how a matmul is cut for it.

An array holds `rows` x `cols` multiply-accumulate elements. A matmul C[m,n] = A[m,k] B[k,n] runs as steps; each step
streams up to `tile` vectors through the array, one per cycle:

| dataflow | stays in the array | a step streams | results come |
|---|---|---|---|
| ws | `depth` x `cols` weights | up to `tile` rows of A | each step, summed beside the array |
| os | `rows` x `cols` sums | up to `tile` columns of A and rows of B | after the last step of a k loop |

Loops, outermost first: m, n, k. The vectors of A lie in the left buffer and stay there over n where all of k fits.
"""

from dataclasses import dataclass

from aisys.errors import BadInput, unknown_name

DATAFLOWS = ("ws", "os")
LEAST_EXTENT, MOST_EXTENT, MOST_TILE, MOST_TILES = 2, 64, 1024, 65_535
PORTS_BYTES, LANES = (4, 8, 16, 32, 64), (1, 2, 4, 8, 16)
PARAMETER_BYTES = 8
"""Of one output channel: bias int32, multiplier uint16, shift uint8, and one byte that is not used."""

TOP_SLOTS = OUT_SLOTS = PARAMETER_SLOTS = 2
OUTSTANDING_LOADS = 4
ACTIVATION_BITS = WEIGHT_BITS = 8
PRODUCT_BITS, SUM_BITS = ACTIVATION_BITS + WEIGHT_BITS, 32


def partial_sum_bits(num_products: int) -> int:
    """Bits that hold any sum of so many int8 products: each lies in -2^14 .. 2^14."""
    return (num_products * 2**14).bit_length() + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayDesign:
    """The choices of one generated array. Operands are int8, sums int32, results int8 or int32.

    tile: most vectors of a step. left_slots: how many of them the left buffer holds. port_bytes: one beat of the
    memory port. lanes: channels that are requantized per cycle. is_pipelined: a register behind each multiplier.
    sparsity: (n, m) keeps n weights of every m along k, as pairs of weight and index (ws only); None is dense.
    Raises BadInput where the parts do not fit together.
    """

    rows: int
    cols: int
    dataflow: str = "ws"
    tile: int = 64
    left_slots: int = 8
    port_bytes: int = 8
    lanes: int = 1
    is_pipelined: bool = False
    sparsity: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.dataflow not in DATAFLOWS:
            raise unknown_name("dataflow of a generated array", self.dataflow, DATAFLOWS)
        for name, extent in (("rows", self.rows), ("cols", self.cols)):
            _check(LEAST_EXTENT <= extent <= MOST_EXTENT, f"{name}={extent}", f"{LEAST_EXTENT} to {MOST_EXTENT}")
        _check(
            _is_power_of_two(self.tile) and self.rows <= self.tile <= MOST_TILE,
            f"tile={self.tile}", f"a power of two from the number of rows ({self.rows}) to {MOST_TILE}",
        )  # fmt: skip
        _check(
            _is_power_of_two(self.left_slots) and 2 <= self.left_slots <= 64,
            f"left_slots={self.left_slots}", "a power of two from 2 to 64",
        )  # fmt: skip
        _check(self.port_bytes in PORTS_BYTES, f"port_bytes={self.port_bytes}", f"one of {PORTS_BYTES}")
        _check(
            self.lanes in LANES and 4 * self.lanes <= self.port_bytes,
            f"lanes={self.lanes}", f"a power of two up to a quarter of port_bytes ({self.port_bytes // 4})",
        )  # fmt: skip
        if self.sparsity is not None:
            self._check_sparsity(*self.sparsity)

    def _check_sparsity(self, kept: int, group: int) -> None:
        _check(self.dataflow == "ws", f"sparsity={kept}:{group} with dataflow {self.dataflow}", "dataflow ws")
        _check(
            _is_power_of_two(group) and 1 <= kept < group <= 16,
            f"sparsity={kept}:{group}", "n:m with n below m, and m 2, 4, 8 or 16",
        )  # fmt: skip
        _check(
            self.rows % kept == 0,
            f"rows={self.rows} with sparsity {kept}:{group}",
            f"a multiple of {kept}, such as {self.rows // kept * kept + kept}",
        )  # fmt: skip

    @property
    def name(self) -> str:
        """A word for files and reports: `ws-8x8-pipelined`."""
        sparse = f"-{self.sparsity[0]}of{self.sparsity[1]}" if self.sparsity else ""
        return f"{self.dataflow}-{self.rows}x{self.cols}{sparse}{'-pipelined' if self.is_pipelined else ''}"

    @property
    def depth(self) -> int:
        """Values of k that the rows of a ws array cover."""
        return self.rows if self.sparsity is None else self.rows // self.sparsity[0] * self.sparsity[1]

    @property
    def index_bits(self) -> int:
        return 0 if self.sparsity is None else self.sparsity[1].bit_length() - 1

    @property
    def left_word_bits(self) -> int:
        """One vector of A: `depth` values for ws, `rows` for os."""
        return ACTIVATION_BITS * (self.depth if self.dataflow == "ws" else self.rows)

    @property
    def top_word_bits(self) -> int:
        """One vector of B: `cols` values, for sparse arrays each with its index."""
        return (WEIGHT_BITS + self.index_bits) * self.cols

    @property
    def parameter_word_bits(self) -> int:
        return 8 * PARAMETER_BYTES * self.lanes

    @property
    def left_beats(self) -> int:
        """Beats of the memory port per vector of A; a word never shares a beat."""
        return self.beats(self.left_word_bits)

    @property
    def top_beats(self) -> int:
        return self.beats(self.top_word_bits)

    @property
    def parameter_beats(self) -> int:
        return self.beats(self.parameter_word_bits)

    @property
    def column_groups(self) -> int:
        """Groups of `lanes` columns, which are requantized together."""
        return -(-self.cols // self.lanes)

    @property
    def top_slot_words(self) -> int:
        """Vectors of B of one step: the rows of weights for ws, up to `tile` for os."""
        return self.rows if self.dataflow == "ws" else self.tile

    @property
    def out_slot_rows(self) -> int:
        """Most rows of results of one output tile."""
        return self.tile if self.dataflow == "ws" else self.rows

    def beats(self, num_bits: int) -> int:
        """Beats of the memory port that `num_bits` take."""
        return -(-num_bits // (8 * self.port_bytes))

    def out_beat_groups(self, is_raw: bool) -> tuple[int, ...]:
        """How many column groups each beat of one row of results holds: the last may be short. is_raw: int32."""
        full = self.port_bytes // ((4 if is_raw else 1) * self.lanes)
        whole, rest = divmod(self.column_groups, full)
        return (full,) * whole + ((rest,) if rest else ())


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPort:
    """The memory behind the port: it answers a read after `latency_cycles`, then a beat every `cycles_per_beat`.

    Writes take a beat every `cycles_per_beat` as well, beside the reads.
    """

    latency_cycles: int = 8
    cycles_per_beat: int = 1

    def __post_init__(self) -> None:
        for name, value in (("latency_cycles", self.latency_cycles), ("cycles_per_beat", self.cycles_per_beat)):
            _check(1 <= value <= 65_535, f"{name}={value}", "1 to 65535")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """How one matmul is cut: tiles along m, n and k, and the vectors and result rows of the last, partial ones."""

    num_m: int
    num_n: int
    num_k: int
    edge_vectors: int
    edge_rows: int
    is_resident: bool


def tiling(design: ArrayDesign, m: int, k: int, n: int) -> Tiling:
    """The tiles of C[m,n] = A[m,k] B[k,n] on `design`. Raises BadInput for an extent below 1 or too many tiles."""
    for name, extent in (("m", m), ("k", k), ("n", n)):
        _check(extent >= 1, f"{name}={extent}", "at least 1")
    is_ws = design.dataflow == "ws"
    m_extent, k_extent = (design.tile, design.depth) if is_ws else (design.rows, design.tile)
    num_m, num_n, num_k = -(-m // m_extent), -(-n // design.cols), -(-k // k_extent)
    for name, extent, count in (("m", m, num_m), ("k", k, num_k), ("n", n, num_n)):
        _check(
            count <= MOST_TILES,
            f"{name}={extent} is {count} tiles and",
            f"at most {MOST_TILES} tiles: a larger array or tile",
        )
    edge_rows = m - (num_m - 1) * m_extent
    return Tiling(
        num_m=num_m, num_n=num_n, num_k=num_k, edge_rows=edge_rows,
        edge_vectors=edge_rows if is_ws else k - (num_k - 1) * k_extent,
        is_resident=num_k <= design.left_slots,
    )  # fmt: skip


def _is_power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0


def _check(is_right: bool, what: str, wanted: str) -> None:
    if not is_right:
        raise BadInput(f"{what} cannot be built; give {wanted}")
