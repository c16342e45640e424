"""Names, sizes, bases and constants of machines."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisys.errors import AisysError, BadInput, UnknownName
from aisys.machine import Gpu, catalogue, device, link, list_devices, list_machines, machine

NODES = [name for name in list_machines() if name not in ("a100-x4", "upmem-server")]


@pytest.fixture
def own_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the catalogue that a test may change."""
    folder = tmp_path / "catalog"
    shutil.copytree(catalogue.FOLDER, folder)
    monkeypatch.setattr(catalogue, "FOLDER", folder)
    return folder


def facts(kind: str = "fitted", **numbers: float) -> str:
    lines = [f"{key.replace('__', '.')} = {value}" for key, value in numbers.items()]
    return f'[[facts]]\nsource = "a test"\nkind = "{kind}"\n' + "\n".join(lines) + "\n"


def test_every_device_is_a_machine_of_its_own() -> None:
    for name in list_devices():
        alone = machine(name)
        assert (alone.device.name, alone.num_devices, dict(alone.mesh), dict(alone.links)) == (name, 1, {}, {})


@given(name=st.sampled_from(NODES), num_nodes=st.integers(min_value=2, max_value=10_000))
def test_several_nodes_add_one_network_tier_and_change_nothing_inside(name: str, num_nodes: int) -> None:
    node, several = machine(name), machine(f"{name}*{num_nodes}")
    assert several.num_devices == num_nodes * node.num_devices
    assert list(several.mesh) == [*node.mesh, "network"]
    assert several.device is node.device
    assert {tier: several.links[tier] for tier in node.links} == dict(node.links)
    assert (several.host, several.host_link) == (node.host, node.host_link)
    assert machine(f"{name}*1") == node


@given(name=st.sampled_from(NODES), num_devices=st.integers(min_value=1, max_value=5_000))
def test_a_number_of_devices_is_met_exactly_or_refused(name: str, num_devices: int) -> None:
    node = machine(name)
    try:
        part = machine(name, num_devices=num_devices)
    except BadInput as error:
        assert f"{num_devices} devices" in str(error)  # noqa: PT017 - either outcome is right, and each has its law
        assert num_devices % node.num_devices != 0
    else:
        assert part.num_devices == num_devices
        assert set(part.links) == set(part.mesh)
        assert all(part.mesh[tier] <= node.mesh[tier] for tier in part.mesh if tier != "network")


def test_a_part_of_a_node_keeps_its_links() -> None:
    assert dict(machine("dgx-a100-4nic", num_devices=2).mesh) == {"node": 2}
    assert dict(machine("dgx-a100-4nic", num_devices=512).mesh) == {"node": 8, "network": 64}
    assert dict(machine("a40-pairs-node", num_devices=2).mesh) == {"pair": 2}
    assert dict(machine("dgx-h100*4", num_devices=16).mesh) == {"node": 8, "network": 2}
    with pytest.raises(BadInput, match="32 devices, not 64"):
        machine("dgx-h100*4", num_devices=64)
    with pytest.raises(BadInput, match="3 devices of 'a40-pairs-node' do not fill"):
        machine("a40-pairs-node", num_devices=3)


@pytest.mark.parametrize(
    ("spec", "error", "expected"),
    [
        ("dgx-h10", UnknownName, "nearest known: dgx-h100"), ("A100-SXM4-80G", UnknownName, "a100-sxm4-80gb"),
        ("dgx-h100*0", BadInput, "not a number of nodes"), ("dgx-h100*-1", BadInput, "not a number of nodes"),
        ("dgx-h100*two", BadInput, "not a number of nodes"), ("dgx-h100*2000000", BadInput, "not a number of nodes"),
        ("h100-sxm*16", BadInput, "no network"), ("a100-x4*2", BadInput, "add links.network"),
    ],
)  # fmt: skip
def test_a_wrong_name_is_answered_with_the_nearest(spec: str, error: type[AisysError], expected: str) -> None:
    with pytest.raises(error, match=expected.replace("*", r"\*")):
        machine(spec)


def test_case_spaces_and_punctuation_of_a_name_do_not_matter() -> None:
    assert machine("DGX_H100") == machine("dgx-h100") == machine("h100_dgx")
    assert device("nvidia a100 80gb pcie") is device("a100-80-pcie")
    assert link("NVLink4") is link("nvswitch-h100")


def test_no_two_names_of_a_sort_are_alike() -> None:
    for sort in ("device", "link", "machine"):
        names = [*catalogue.names(sort), *catalogue.aliases(sort)]
        plain: dict[str, str] = {}
        for name in names:
            stands_for = catalogue.path_of(sort, name)
            assert stands_for is not None
            assert plain.setdefault(catalogue.plain(name), stands_for.stem) == stands_for.stem, name


def test_a_file_that_changes_a_base_keeps_the_rest_and_its_sources(tmp_path: Path) -> None:
    path = tmp_path / "capped.toml"
    path.write_text('name = "capped"\nbase = "h100-sxm"\n' + facts("measured", max_watt=500))
    capped, original = device(str(path)), device("h100-sxm")
    assert (capped.name, capped.max_watt, capped.max_watt.key) == ("capped", 500, "capped.max_watt")
    assert (capped.max_watt.source, capped.max_watt.kind) == ("a test", "measured")
    assert capped.architecture == original.architecture
    assert capped.idle_watt.key == "h100-sxm.idle_watt"
    assert machine(str(path)).device is capped


def test_a_machine_file_changes_its_device_and_its_links(tmp_path: Path) -> None:
    path = tmp_path / "lab.toml"
    numbers = {"mesh__node": 4, "device__max_watt": 500, "links__node__bandwidth_bytes_per_s": 2e11}
    path.write_text('base = "dgx-h100"\n' + facts("measured", **numbers))
    lab = machine(f"{path}*3")
    assert dict(lab.mesh) == {"node": 4, "network": 3}
    assert (lab.device.max_watt, lab.links["node"].bandwidth_bytes_per_s) == (500, 2e11)
    assert lab.device.architecture == device("h100-sxm").architecture
    assert lab.links["node"].constants == link("nvswitch-h100").constants
    assert lab.links["network"] is link("infiniband-ndr400")


def test_a_shorter_list_replaces_the_longer_one_of_its_base(tmp_path: Path) -> None:
    path = tmp_path / "cpu.toml"
    path.write_text(
        'base = "xeon-2s"\n[[facts]]\nsource = "a test"\nkind = "assumed"\ncache_bytes = [32_768, 1_048_576]\n'
    )
    assert list(device(str(path)).architecture.cache_bytes) == [32_768, 1_048_576]  # type: ignore[union-attr]


def test_a_whole_machine_fits_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text("""
        name = "own"
        [device]
        architecture = "SystolicArray"
        dataflow = "os"
        [[device.facts]]
        source = "a drawing"
        kind = "assumed"
        rows = 8
        cols = 8
        num_arrays = 1
        clock_hz = 1e9
        energy_joule_per_mac = 1e-12
        idle_watt = 0
        max_watt = 1
        price_usd_per_hour = 0
        memories.dram = { capacity_bytes = 1e9, bandwidth_bytes_per_s = 1e10, latency_s = 0, energy_joule_per_byte = 0 }
        [links.node]
        technology = "bus"
        [[links.node.facts]]
        source = "a drawing"
        kind = "assumed"
        bandwidth_bytes_per_s = 1e9
        latency_s = 1e-6
        [[facts]]
        source = "a drawing"
        kind = "assumed"
        mesh.node = 3
    """)
    own = machine(str(path))
    assert own.num_devices == 3
    assert own.links["node"].technology == "bus"
    assert own.device.architecture.dataflow == "os"  # type: ignore[union-attr]


def test_generation_constants_of_all_topics_are_merged_and_the_devices_own_win(own_catalogue: Path) -> None:
    (own_catalogue / "generation" / "sm90.first.toml").write_text(facts(first__x=1, first__y=2))
    (own_catalogue / "generation" / "sm90.second.toml").write_text(facts(second__x=3))
    path = own_catalogue / "device" / "h100-sxm.toml"
    path.write_text(path.read_text() + facts("measured", constants__first__y=5))
    gpu = device("h100-sxm").architecture
    assert isinstance(gpu, Gpu)
    found = {key: float(gpu.constants[key]) for key in ("first.x", "first.y", "second.x")}
    assert found == {"first.x": 1, "first.y": 5, "second.x": 3}
    assert gpu.constants["first.x"].key == "sm90.first.x"
    assert gpu.constant("nothing", "second.x") == 3


def test_a_constant_in_two_topics_is_refused(own_catalogue: Path) -> None:
    (own_catalogue / "generation" / "sm90.first.toml").write_text(facts(same__x=1))
    (own_catalogue / "generation" / "sm90.second.toml").write_text(facts(same__x=2))
    with pytest.raises(BadInput, match=r"same\.x stands in more than one"):
        device("h100-sxm")


def test_transfer_constants_replace_their_topic_only_when_asked_for(own_catalogue: Path) -> None:
    for path in (own_catalogue / "generation").glob("sm90.*.transfer.toml"):
        path.unlink()
    (own_catalogue / "generation" / "sm90.first.toml").write_text(facts(first__x=1, first__own=4))
    (own_catalogue / "generation" / "sm90.second.toml").write_text(facts(second__x=3))
    with pytest.raises(BadInput, match="no constants of sm90 were fitted without its rows"):
        device("h100-sxm", constants="transfer")
    (own_catalogue / "generation" / "sm90.first.transfer.toml").write_text(facts(first__x=9))
    fitted, transfer = device("h100-sxm").architecture, device("h100-sxm", constants="transfer").architecture
    assert isinstance(fitted, Gpu)
    assert isinstance(transfer, Gpu)
    assert (fitted.constants["first.x"], transfer.constants["first.x"]) == (1, 9)
    assert "first.own" not in transfer.constants
    assert transfer.constants["second.x"] == 3


def test_constants_beside_a_link_are_merged_into_it_and_into_what_is_based_on_it(
    own_catalogue: Path, tmp_path: Path
) -> None:
    (own_catalogue / "link" / "nvswitch-h100.test.toml").write_text(facts(nccl__ring_s=7e-6))
    assert link("nvswitch-h100").constants["nccl.ring_s"] == 7e-6
    assert "nvswitch-h100.test" not in catalogue.names("link")
    path = tmp_path / "slow.toml"
    path.write_text('base = "nvswitch-h100"\n' + facts("measured", bandwidth_bytes_per_s=1e11))
    slow = link(str(path))
    assert (slow.name, slow.bandwidth_bytes_per_s, slow.constants["nccl.ring_s"]) == ("slow", 1e11, 7e-6)
    assert machine("dgx-h100").links["node"].constants["nccl.ring_s"] == 7e-6


def test_the_same_files_give_the_same_object_and_changed_files_do_not(own_catalogue: Path) -> None:
    first = device("h100-sxm")
    assert device("h100-sxm") is first
    path = own_catalogue / "device" / "h100-sxm.toml"
    path.write_text(path.read_text().replace("max_watt = 700", "max_watt = 650"))
    assert device("h100-sxm").max_watt == 650
