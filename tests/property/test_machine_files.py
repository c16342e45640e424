"""Whatever a machine file holds, the answer is a machine or one clear sentence that names the file."""

import math
import string
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aisys.errors import AisysError, BadInput
from aisys.machine import Machine, list_devices, list_machines, load
from aisys.machine.text import digest, toml

BASE = 'name = "my-gpu"\nbase = "h100-sxm"\n'
FACTS = '[[facts]]\nsource = "a test"\nkind = "measured"\n'
NODE = 'name = "my-node"\ndevice = "h100-sxm"\n[links]\nnode = "nvswitch-h100"\n' + FACTS

SAME_FILE = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def refusal(folder: Path, text: str | bytes, name: str = "my.toml") -> str:
    """The one sentence that `load.machine` answers to a file of `text`."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadInput) as caught:
        load.machine(str(path))
    message = str(caught.value)
    assert name in message
    assert "\n" not in message
    assert len(message) < 1000
    return message


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("nan", "max_watt is nan"), ("inf", "max_watt is inf"), ("-inf", "max_watt is -inf"),
        ("-1", "max_watt of my-gpu is -1"), ("0", "max_watt of my-gpu is 0"), ('"500"', "max_watt is '500' (a text)"),
        ("true", "max_watt is True"), ("2024-01-01", "max_watt is a date"), ("[1, 2]", "no max_watt"),
        ("{a = 1}", "max_watt.a"), ("9" * 1500, "max_watt is 999"), ("1e300", "at most 1e+40"),
    ],
)  # fmt: skip
def test_a_number_that_is_none_is_refused_by_its_field(tmp_path: Path, value: str, expected: str) -> None:
    assert expected in refusal(tmp_path, BASE + FACTS + f"max_watt = {value}\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BASE + "max_watt = 500\n", "max_watt = 500 has no source"),
        (BASE + '[[facts]]\nkind = "measured"\nmax_watt = 500\n', "source is missing"),
        (BASE + '[[facts]]\nsource = "x"\nmax_watt = 500\n', "kind is missing"),
        (BASE + '[[facts]]\nsource = "x"\nkind = "guess"\nmax_watt = 500\n', "kind is 'guess'"),
        (BASE + "[facts]\nmax_watt = 500\n", "[[facts]]"),
        (BASE + FACTS + "max_wat = 500\n", "unknown field 'max_wat'; nearest: max_watt"),
        (BASE + FACTS + "memories.hbm.capacity = 5e9\n", "nearest: memories.hbm.capacity_bytes"),
        (BASE + FACTS + "memories.cxl.capacity_bytes = 5e9\n", "no memories.cxl.bandwidth_bytes_per_s"),
        (BASE + FACTS + "clock_hz = 1830\n", "SI base units"),
        (BASE + FACTS + "memories.hbm.bandwidth_bytes_per_s = 3350\n", "SI base units"),
        (BASE + FACTS + "num_sm = 13.5\n", "whole number"),
        (BASE + FACTS + "max_watt = 1\n" + FACTS + "max_watt = 2\n", "given twice"),
        (BASE + 'generation = "sm_90"\n' + FACTS + "max_watt = 1\n", "unknown generation 'sm_90'; nearest known: sm90"),
        ('name = "x"\nbase = "h100-smx"\n', "nearest known: h100-sxm"),
        ('name = "x"\nbase = "my.toml"\n', "circle"),
        ('name = "x"\n', "neither a device"),
        ("name = ''\nbase = 'h100-sxm'\n", "name is ''"),
        ('name = "a\\nb"\nbase = "h100-sxm"\n', "printable"),
        ('architecture = "Gpuu"\n', "use one of Cpu, Fpga, GeneratedArray, Gpu, PimBank"),
        ('architecture = "Gpu"\n', "no generation"),
        ('architecture = "Gpu"\ngeneration = "sm90"\n' + FACTS + "num_sm = 1\n", "no clock_hz"),
        (NODE + "mesh.node = 2.5\n", "mesh.node is 2.5"),
        (NODE + "mesh.node = 0\n", "mesh.node is 0"),
        (NODE + "mesh.pair = 2\n", "tier 'pair' of mesh has no link"),
        (NODE + "mesh.node = 4\ndevice.max_wat = 300\n", "nearest: max_watt"),
        (NODE + "mesh.node = 4\nhost.max_watt = 300\n", "unknown field 'host.max_watt'"),
        ('colour = "red"\n' + NODE + "mesh.node = 4\n", "unknown field 'colour'"),
        ('base = "dgx-h100"\ndevice = ["x"]\n', "device is a list"),
        ("", "neither a device"),
        (b"\xff\xfe\x00\x01", "not UTF-8"),
        (b"\0" * 100, "not TOML"),
        ("a = [" * 5, "not TOML"),
        ("a = " + "[\n" * 100_000, "nested too deeply"),
        ("a = " + "{a = " * 300 + "'b'" + "}" * 300, "nested too deeply"),
        (BASE + FACTS + ".".join("a" * 30) + " = 1\n", "nested too deeply"),
        (BASE + FACTS + ".".join("a" * 900) + " = 1\n", "899 dots"),
        ("# " + "x" * 5000, "5002 characters"),
        (b"#" * 2_000_000, "2000000 bytes"),
    ],
)  # fmt: skip
def test_a_broken_file_is_refused_in_one_sentence(tmp_path: Path, text: str | bytes, expected: str) -> None:
    assert expected in refusal(tmp_path, text)


def test_a_file_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.toml"
    with path.open("wb") as file:
        file.truncate(10 * 10**9)
    start = time.process_time()
    with pytest.raises(BadInput, match="10000000000 bytes"):
        load.machine(str(path))
    assert time.process_time() - start < 0.5  # reading ten gigabytes takes seconds


@pytest.mark.parametrize("name", ["no-such.toml", "/dev/zero", ".", "a\0b.toml", "x\n.toml", "y" * 5000 + ".toml"])
def test_a_path_that_is_no_file_is_refused(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.toml").mkdir()
    for spec in (name if "/" in name else f"./{name}", "folder.toml"):
        with pytest.raises(BadInput):
            load.machine(spec)


toml_values = st.recursive(
    st.one_of(
        st.integers(), st.floats(), st.booleans(), st.text(string.printable, max_size=30), st.dates(),
    ).map(lambda v: repr(v).lower() if isinstance(v, (bool, float)) else f'"{v!a}"' if isinstance(v, str) else str(v)),
    lambda inner: st.lists(inner, max_size=3).map(lambda vs: "[" + ", ".join(vs) + "]"),
    max_leaves=5,
)  # fmt: skip
toml_keys = st.sampled_from(
    ["name", "base", "aliases", "architecture", "generation", "device", "host", "links", "facts", "source", "kind",
     "max_watt", "clock_hz", "num_sm", "memories.hbm.capacity_bytes", "mesh.node", "device.max_watt", "flop_per_s",
     "links.node", "constants", "note"]
)  # fmt: skip


def answer(spec: str) -> str | Machine:
    """The machine of `spec`, or the sentence that refuses it."""
    try:
        return load.machine(spec)
    except AisysError as error:
        return str(error)


@SAME_FILE
@given(lines=st.lists(st.one_of(
    st.tuples(toml_keys, toml_values).map(" = ".join),
    st.sampled_from(['base = "h100-sxm"', 'base = "dgx-h100"', "[[facts]]", "[links]", "[device]", "[[device.facts]]",
                     'source = "x"', 'kind = "measured"', 'architecture = "Gpu"', 'generation = "sm90"']),
), max_size=12))  # fmt: skip
def test_any_lines_give_a_machine_or_a_sentence(tmp_path: Path, lines: list[str]) -> None:
    path = tmp_path / "any.toml"
    path.write_text("\n".join(lines))
    result = answer(str(path))
    if isinstance(result, str):
        assert result.isprintable()
    else:
        assert result.num_devices >= 1
        assert all(math.isfinite(value) for value in (result.device.max_watt, result.device.idle_watt))


@SAME_FILE
@given(content=st.binary(max_size=300))
def test_any_bytes_give_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bytes.toml"
    path.write_bytes(content)
    result = answer(str(path))
    assert isinstance(result, str)
    assert result.isprintable()


@SAME_FILE
@given(name=st.text(max_size=40))
def test_any_name_gives_a_machine_or_a_sentence(name: str) -> None:
    result = answer(name)
    assert not isinstance(result, str) or "\n" not in result


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    watt=st.floats(min_value=100, max_value=2000),
    source=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(lambda text: text.strip()),
    num_nodes=st.integers(min_value=1, max_value=64),
    name=st.sampled_from([*list_machines(), *list_devices()]),
)
def test_a_machine_written_as_text_loads_back_equal(
    tmp_path: Path, watt: float, source: str, num_nodes: int, name: str
) -> None:
    is_node = name in list_machines() and name not in ("a100-x4", "upmem-server")
    first = load.machine(f"{name}*{num_nodes}" if is_node else name)
    path = tmp_path / "written.toml"
    path.write_text(toml(first))
    again = load.machine(str(path))
    assert again == first
    assert digest(again) == digest(first)
    assert again.device.max_watt.source == first.device.max_watt.source
    quoted = "".join(f"\\U{ord(character):08x}" for character in source)
    group = f'[[facts]]\nsource = "{quoted}"\nkind = "measured"\ndevice.max_watt = {watt!r}\n'
    (tmp_path / "change.toml").write_text('base = "written.toml"\n' + group)
    changed = load.machine(str(tmp_path / "change.toml"))
    assert (changed.device.max_watt, changed.device.max_watt.source) == (watt, source)
    assert digest(changed) != digest(first)
    (tmp_path / "change.toml").write_text(toml(changed))
    assert load.machine(str(tmp_path / "change.toml")) == changed
