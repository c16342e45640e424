"""Words like `m=4096 dtype=bf16` as one row of an op table."""

from collections.abc import Mapping, Sequence
from typing import Any

from aisys.errors import BadInput, unknown_name
from aisys.ir import COLUMNS, OpTable, dtype
from aisys.ir.dtype import split_density

FORMATS: Mapping[str, tuple[str, str, str, str]] = {
    "fp8": ("fp8", "fp8", "bf16", "fp8"),
    "fp8_block": ("fp8", "fp8_block", "bf16", "fp8"),
    "nvfp4": ("nvfp4", "nvfp4", "bf16", "nvfp4"),
    "int8": ("int8", "int8", "bf16", "int8"),
    "int8_wo": ("bf16", "int8", "bf16", "bf16"),
    "int4_wo": ("bf16", "int4", "bf16", "bf16"),
}
"""What `dtype=` of a matmul means: formats of a, b and the result, and the multiplier's; others are all four alike.

With the ending _2of4 (or any N:M) the weights keep two of every four."""

STREAMS: Mapping[str, int] = {
    "norm": 1, "activation": 1, "gated_activation": 2, "add": 2, "rope": 1, "softmax": 1, "cast": 1,
}  # fmt: skip
"""Streaming functions that `rows=` and `cols=` describe, and how many tensors of that shape they read."""

_NEEDED: Mapping[str, tuple[str, ...]] = {
    "matmul": ("m", "n", "k"),
    "grouped_matmul": ("groups", "m", "n", "k"),
    "conv": ("out_channels", "in_channels", "out_h", "kernel_h"),
    "attention": ("q_len", "q_heads"),
    "stream": ("rows", "cols"),
}
KINDS = (*_NEEDED, *STREAMS)
_MAX_EXTENT = 10**12
_MAY_BE_ZERO = ("window", "page_size")


def read_op(kind: str, words: Sequence[str]) -> OpTable:
    """The table of one op of `kind`, from words like `m=4096`; what is left out takes a usual value.

    matmul: batch=1. conv: batch=1, groups=1, stride=1, out_w=out_h, kernel_w=kernel_h. attention: batch=1,
    kv_len=q_len, kv_heads=q_heads, head_dim=128, causal. dtype: bf16.
    Raises UnknownName for a kind, name or format that is not known, BadInput for a value that cannot be.

    >>> read_op("matmul", ["m=16", "n=32", "k=64"])["out_dtype"].item()
    'bf16'
    """
    if kind not in KINDS:
        raise unknown_name("op", kind, KINDS)
    table_kind = "stream" if kind in STREAMS else kind
    given = _pairs(kind, words, COLUMNS[table_kind])
    for name in _NEEDED[table_kind]:
        if name not in given and not (table_kind == "stream" and "read_bytes" in given):
            raise BadInput(f"{kind} needs {' '.join(f'{n}=...' for n in _NEEDED[table_kind])}; {name} is missing")
    columns = _COMPLETE[table_kind](kind, given)
    return OpTable.of(table_kind, **columns)


def _pairs(kind: str, words: Sequence[str], wanted: Mapping[str, type]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise BadInput(f"{word[:60]!r} is not of the form NAME=VALUE; write for example {EXAMPLES[kind]}")
        if name != "dtype" and name not in wanted:
            raise unknown_name(f"argument of {kind}", name, {*wanted, "dtype"})
        if name in given:
            raise BadInput(f"{name} is given twice; give it once")
        given[name] = _value(name, text, str if name == "dtype" else wanted[name])
    return given


def _value(name: str, text: str, kind: type) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
            raise BadInput(f"{name}={text[:40]!r} is neither true nor false")
        return text.lower() in ("true", "1", "yes")
    if kind is str:
        base, ending = split_density(text)
        return text if name == "function" else dtype(FORMATS.get(base, ("", base))[1] + ending).name and text
    try:
        value = float(text) if kind is float else int(text.replace("_", ""))
    except ValueError:
        raise BadInput(f"{name}={text[:40]!r} is not a {'number' if kind is float else 'whole number'}") from None
    least = 0 if kind is float or name in _MAY_BE_ZERO else 1
    if not least <= value <= _MAX_EXTENT:
        raise BadInput(f"{name}={text[:40]} is outside {least} to {_MAX_EXTENT:.0e}; give a value inside")
    return value


def _formats(given: Mapping[str, Any]) -> tuple[str, str, str, str]:
    name, ending = split_density(given.get("dtype", "bf16"))
    a, b, out, math = FORMATS.get(name, (name, name, name, name))
    return a, b + ending, out, math + ending


def _matmul(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    a, b, out, math = _formats(given)
    base: dict[str, Any] = {"a_dtype": a, "b_dtype": b, "out_dtype": out, "math": math}
    if kind == "matmul":
        base |= {"batch": 1, "b_is_weight": given.get("batch", 1) == 1}
    return {**base, **{name: value for name, value in given.items() if name != "dtype"}}


def _conv(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    base = {"batch": 1, "groups": 1, "stride": 1, "out_w": given["out_h"], "kernel_w": given["kernel_h"]}
    return {**base, **_matmul(kind, given)}


def _attention(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    name = given.get("dtype", "bf16")
    base = {
        "batch": 1, "kv_len": given["q_len"], "kv_heads": given["q_heads"], "head_dim": 128,
        "value_dim": given.get("head_dim", 128), "window": 0, "is_causal": True, "is_backward": False, "page_size": 0,
        "q_dtype": name, "kv_dtype": name, "math": given.get("q_dtype", name),
    }  # fmt: skip
    return {**base, **{key: value for key, value in given.items() if key != "dtype"}}


def _stream(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    name = given.get("dtype", "bf16")
    one = given.get("rows", 1) * given.get("cols", 1) * dtype(name).bytes_per_element
    base = {
        "read_bytes": STREAMS.get(kind, 1) * one, "write_bytes": one, "flop": 0.0, "rows": 1, "cols": 1,
        "function": "copy" if kind == "stream" else kind, "dtype": name,
    }  # fmt: skip
    return {**base, **{key: value for key, value in given.items() if key != "dtype"}}


_COMPLETE = {
    "matmul": _matmul, "grouped_matmul": _matmul, "conv": _conv, "attention": _attention, "stream": _stream,
}  # fmt: skip
EXAMPLES: Mapping[str, str] = {
    "matmul": "m=4096 n=4096 k=4096 dtype=bf16",
    "grouped_matmul": "groups=8 m=4096 n=14336 k=4096",
    "conv": "out_channels=64 in_channels=64 out_h=56 kernel_h=3",
    "attention": "q_len=4096 q_heads=32 kv_heads=8",
    "stream": "read_bytes=1e9 write_bytes=1e9",
} | dict.fromkeys(STREAMS, "rows=4096 cols=4096")
"""Words that describe one op of each kind."""
