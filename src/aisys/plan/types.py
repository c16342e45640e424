"""Plans: decisions only, no times. A PlanTable holds many plans as arrays; a Plan is one of them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from hashlib import sha256
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from aisys import plugins
from aisys.errors import BadInput, unknown_name
from aisys.frozen import FrozenMap

SHARDINGS = ("none", "zero1", "zero2", "zero3")
RECOMPUTES = ("none", "selective", "op", "full")
PRECISIONS = ("bf16", "fp16", "fp8", "fp8_block", "int8", "nvfp4")
"""What matmuls of layers multiply in; the last three only to serve."""
SCHEDULES = ("1f1b", "gpipe")
HARDWARES = ("shared", "staged")
"""shared: ops run one after another on the device. staged: on an FPGA each layer has a stage of hardware of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How one training step or one inference step runs on a machine.

    tensor, pipeline, data, context: degrees; their product is the number of devices. expert: share of `data`
    over which experts are spread. interleave: layer chunks per device (virtual pipeline stages). micro_batch:
    sequences or images of one microbatch on one replica. sharding: which model state is spread over `data` (ZeRO 0 to
    3). hardware: what layers run on, on a device whose hardware is a choice.
    """

    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    context: int = 1
    expert: int = 1
    sequence_parallel: bool = False
    interleave: int = 1
    micro_batch: int = 1
    num_microbatches: int = 1
    sharding: str = "none"
    recompute: str = "none"
    precision: str = "bf16"
    schedule: str = "1f1b"
    offload_optimizer: bool = False
    hardware: str = "shared"

    def __post_init__(self) -> None:
        for name in COUNTS:
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
                raise BadInput(f"plan: {name} is {value!r}; it must be a whole number of at least 1")
        for name, known in CHOICES.items():
            value = getattr(self, name)
            if value not in known and not (name == "schedule" and value in plugins.names("schedule")):
                raise unknown_name(f"{name} of a plan", str(value), known)

    @property
    def num_devices(self) -> int:
        return self.tensor * self.pipeline * self.data * self.context

    @property
    def global_batch(self) -> int:
        """Sequences or images of one step over all replicas."""
        return self.micro_batch * self.num_microbatches * self.data

    def as_dict(self) -> dict[str, Any]:
        """The decisions by name, as JSON values."""
        return asdict(self)


COUNTS = ("tensor", "pipeline", "data", "context", "expert", "interleave", "micro_batch", "num_microbatches")
CHOICES: Mapping[str, tuple[str, ...]] = {
    "sharding": SHARDINGS,
    "recompute": RECOMPUTES,
    "precision": PRECISIONS,
    "schedule": SCHEDULES,
    "hardware": HARDWARES,
}


@dataclass(frozen=True, eq=False)
class PlanTable:
    """Many plans: one array [plans] per field of Plan. Equal digests mean equal plans in equal order."""

    columns: FrozenMap[str, NDArray[Any]]

    @classmethod
    def of(cls, plans: Iterable[Plan]) -> Self:
        """The table of `plans`, in order."""
        rows = list(plans)
        return cls(FrozenMap({f.name: np.array([getattr(p, f.name) for p in rows]) for f in fields(Plan)}))

    @classmethod
    def from_columns(cls, **columns: Any) -> Self:
        """A table from arrays or scalars, broadcast; fields left out take the default of Plan."""
        names = [f.name for f in fields(Plan)]
        for name in columns:
            if name not in names:
                raise unknown_name("field of a plan", name, names)
        arrays = np.broadcast_arrays(*(np.atleast_1d(columns.get(f.name, f.default)) for f in fields(Plan)))
        return cls(FrozenMap(zip(names, arrays, strict=True)))

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]

    def __len__(self) -> int:
        return len(self.columns["tensor"])

    def __iter__(self) -> Iterator[Plan]:
        return (self.plan(i) for i in range(len(self)))

    def plan(self, row: int) -> Plan:
        """One row as a Plan."""
        return Plan(**{name: column[row].item() for name, column in self.columns.items()})

    def take(self, rows: NDArray[Any]) -> "PlanTable":
        """The chosen rows (indices or mask)."""
        return PlanTable(FrozenMap({name: column[rows] for name, column in self.columns.items()}))

    @cached_property
    def digest(self) -> str:
        """Content hash of all rows."""
        state = sha256()
        for name, column in self.columns.items():
            state.update(name.encode() + np.ascontiguousarray(column).astype(np.str_).tobytes())
        return state.hexdigest()[:16]
