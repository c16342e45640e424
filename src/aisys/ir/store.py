"""Graphs as JSON: the canonical form behind digests, and files that load back to the same graph."""

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from aisys.errors import BadInput
from aisys.frozen import FrozenMap
from aisys.ir.dtype import DTYPES, DType
from aisys.ir.graph import Block, Graph, Op, Segment, Tensor
from aisys.ir.record import NUM_BLOCKS, AccessRecord, BlockTraffic, Phase, Stream
from aisys.user_file import user_text

FORMAT = "aisys.graph/1"
MAX_BYTES = 256_000_000
_TRAFFIC = np.dtype([("source", "<i4"), ("destination", "<i4"), ("num_bytes", "<i8")])


def block_json(block: Block) -> str:
    """Canonical JSON of a block: equal text for equal blocks."""
    return json.dumps(_block_out(block, lambda traffic: traffic.digest), sort_keys=True, separators=(",", ":"))


def save(graph: Graph, path: Path) -> None:
    """Write `graph` to `path`, whole or not at all."""
    document = {
        "format": FORMAT, "name": graph.name, "shared": sorted(graph.shared), "attributes": dict(graph.attributes),
        "blocks": [_block_out(b, _traffic_out) for b in graph.blocks],
        "segments": [[graph.blocks.index(s.block), s.repeat] for s in graph.segments],
    }  # fmt: skip
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(document))
    partial.replace(path)


def load(path: Path) -> Graph:
    """The graph that `save` wrote to `path`. Raises BadInput for any other file."""
    try:
        document = json.loads(user_text(path, most_bytes=MAX_BYTES, wanted="give a saved graph"))
        if document.get("format") != FORMAT:
            raise BadInput(f"{path}: format is {document.get('format')!r}, expected {FORMAT!r}")
        blocks = [_block_in(b) for b in document["blocks"]]
        return Graph(
            name=document["name"], shared=frozenset(document["shared"]), attributes=FrozenMap(document["attributes"]),
            segments=tuple(Segment(blocks[i], int(repeat)) for i, repeat in document["segments"]),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise BadInput(f"{path}: not a saved graph ({type(error).__name__}: {error})") from error


def _block_out(block: Block, traffic_out: Callable[[BlockTraffic], str]) -> dict[str, Any]:
    return {
        "name": block.name, "inputs": block.inputs, "outputs": block.outputs, "saved": block.saved,
        "tensors": [[t.name, list(t.axes.items()), _dtype_out(t.dtype), t.role] for t in block.tensors.values()],
        "ops": [_op_out(op, traffic_out) for op in block.ops],
    }  # fmt: skip


def _op_out(op: Op, traffic_out: Callable[[BlockTraffic], str]) -> dict[str, Any]:
    out: dict[str, Any] = {
        "name": op.name, "kind": op.kind, "space": list(op.space.items()), "reads": op.reads, "writes": op.writes,
        "phase": op.phase, "options": dict(op.options),
    }  # fmt: skip
    if op.record is not None:
        phases = [{**_phase_out(p), "traffic": traffic_out(p.traffic)} for p in op.record.phases]
        out["record"] = {"data": op.record.data_digest, "phases": phases}
    return out


def _phase_out(phase: Phase) -> dict[str, Any]:
    return {
        "op_counts": dict(phase.op_counts), "parallel_slack": phase.parallel_slack,
        "streams": [{f.name: getattr(s, f.name) for f in fields(s)} for s in phase.streams],
    }  # fmt: skip


def _traffic_out(traffic: BlockTraffic) -> str:
    entries = np.zeros(len(traffic), _TRAFFIC)
    for name in _TRAFFIC.names or ():
        entries[name] = getattr(traffic, name)
    return b64encode(zlib.compress(entries.tobytes(), 1)).decode()


def _dtype_out(dtype: DType) -> Any:
    return dtype.name if DTYPES.get(dtype.name) == dtype else {f.name: getattr(dtype, f.name) for f in fields(dtype)}


def _block_in(data: dict[str, Any]) -> Block:
    tensors = (
        Tensor(name, FrozenMap(axes), DTYPES[d] if isinstance(d, str) else DType(**d), role)
        for name, axes, d, role in data["tensors"]
    )
    return Block(
        name=data["name"], inputs=tuple(data["inputs"]), outputs=tuple(data["outputs"]), saved=tuple(data["saved"]),
        tensors=FrozenMap({t.name: t for t in tensors}), ops=tuple(_op_in(op) for op in data["ops"]),
    )  # fmt: skip


def _op_in(data: dict[str, Any]) -> Op:
    record = data.get("record")
    return Op(
        name=data["name"], kind=data["kind"], space=FrozenMap(data["space"]), reads=tuple(data["reads"]),
        writes=tuple(data["writes"]), phase=data["phase"], options=FrozenMap(data["options"]),
        record=record and AccessRecord(data_digest=record["data"], phases=tuple(map(_phase_in, record["phases"]))),
    )  # fmt: skip


def _phase_in(data: dict[str, Any]) -> Phase:
    return Phase(
        op_counts=FrozenMap(data["op_counts"]), parallel_slack=data["parallel_slack"],
        streams=tuple(Stream(**{**s, "reuse": tuple(s["reuse"])}) for s in data["streams"]),
        traffic=_traffic_in(data["traffic"]),
    )  # fmt: skip


def _traffic_in(text: str) -> BlockTraffic:
    try:
        unpacked = zlib.decompressobj().decompress(b64decode(text, validate=True), NUM_BLOCKS**2 * _TRAFFIC.itemsize)
        entries = np.frombuffer(unpacked, _TRAFFIC)
        return BlockTraffic(*(entries[name] for name in ("source", "destination", "num_bytes")))
    except (zlib.error, BadInput) as error:
        raise ValueError(str(error)) from error
