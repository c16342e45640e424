"""Timeloop's stored runs, to the digit that it prints; and inputs of it that cannot be."""

import os
from pathlib import Path

import pytest

from aisys.cost.loop_nest import parse
from aisys.cost.loop_nest.optimum import optimum
from aisys.cost.loop_nest.timeloop import read_architecture, read_mapping, read_problem, run
from aisys.errors import AisysError, BadInput
from aisys.validate import run as validate

pytest.importorskip("yaml")
TABLES = os.environ.get("AISYS_TABLES")
ORACLE = Path(TABLES or ".") / "oracle"
EXERCISES = ORACLE / "inputs" / "timeloop" / "01_accelergy_timeloop_2020_ispass" / "timeloop"
needs_tables = pytest.mark.skipif(not TABLES, reason="AISYS_TABLES is not set")

ARCHITECTURE = """
architecture:
  version: 0.4
  nodes:
  - !Component {name: Main, class: SRAM, attributes: {depth: 64, width: 32, datawidth: 8}}
  - !Component {name: Buffer, class: regfile, attributes: {depth: 4, width: 8, datawidth: 8, read_bandwidth: 1}}
  - !Component {name: Unit, class: intmac, attributes: {width: 8}}
"""
PROBLEM = """
problem:
  shape:
    name: Line
    dimensions: [R, P]
    data_spaces:
    - {name: Weights, projection: [[[R]]]}
    - {name: Inputs, projection: [[[R], [P]]]}
    - {name: Outputs, projection: [[[P]]], read_write: true}
  instance: {R: 3, P: 4}
"""
ENERGIES = """
ERT:
  tables:
  - {name: "S.Main[1..1]", actions: [{name: read, energy: 8.0}, {name: write, energy: 4.0}]}
  - name: S.Buffer[1..1]
    actions: [{name: read, energy: 1.0}, {name: write, energy: 1.0}, {name: leak, energy: 0.5}]
  - {name: "S.Unit[1..1]", actions: [{name: compute, energy: 2.0}]}
"""
MAPPING = """
mapping:
- {target: Main, type: temporal, factors: R=1 P=4, permutation: PR}
- {target: Buffer, type: temporal, factors: R=3 P=1, permutation: RP}
- {target: Buffer, type: dataspace, keep: [Inputs, Outputs], bypass: [Weights]}
"""
FILES = {"arch": ARCHITECTURE, "prob": PROBLEM, "ert": ENERGIES, "map": MAPPING}


def stats(folder: Path, **changed: str) -> object:
    paths = {}
    for name, text in {**FILES, **changed}.items():
        paths[name] = folder / f"{name}.yaml"
        paths[name].write_text(text)
    architecture = read_architecture(paths["arch"], paths["ert"])
    einsum = read_problem(paths["prob"])
    return run(einsum, architecture, read_mapping(paths["map"], architecture, einsum))


def test_a_small_run_is_what_one_counts_by_hand(tmp_path: Path) -> None:
    """12 steps, 20 reads of a buffer of one port word: 12 inputs and 8 partial sums; weights come from Main each time.

    Main: ceil(12 / 4) weight and ceil(6 / 4) input reads of 8 pJ, one update of 4 pJ. Buffer: 12 + 8 reads, 6 fills
    and 12 updates of 1 pJ, and leakage over 20 cycles.
    """
    found = stats(tmp_path)
    assert found.cycles == 20  # type: ignore[attr-defined]
    joule = {name: round(value * 1e12, 6) for name, value in found.joule.items()}  # type: ignore[attr-defined]
    assert joule == {"Unit": 24.0, "Buffer": 20 + 6 + 12 + 0.5 * 20, "Main": 8 * (3 + 2) + 4}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"arch": ARCHITECTURE[:68]}, "is it cut off?"),
        ({"arch": ARCHITECTURE[:30]}, "no list 'nodes'; is the file cut off?"),
        ({"arch": ARCHITECTURE.replace("depth: 4", "depth: 2")}, "Buffer would hold 4 bytes and has 2"),
        ({"arch": ARCHITECTURE.replace("depth: 4", "depth: 2 * 2")}, "depth is '2 * 2'; give a number"),
        ({"arch": "a: [1, {"}, "not YAML at line 1"),
        ({"arch": "a: {{b}}"}, "not YAML"),
        ({"prob": PROBLEM.replace("R: 3, P", "P")}, "R is 'None'; give a whole number"),
        ({"prob": PROBLEM.replace("R: 3", "R: 0")}, "R is '0'; give a whole number of at least 1"),
        ({"prob": PROBLEM.replace("[R], [P]", "[R], [Z]")}, "indexed by 'Z', which has no extent"),
        ({"map": MAPPING.replace("P=4", "P=2")}, "factors of P leave 2x of its extent 4 open"),
        ({"map": MAPPING.replace("Main", "Man")}, "unknown target in map.yaml 'Man'; nearest known: Main"),
        ({"ert": ENERGIES.replace("S.Buffer", "S.Bufer")}, "no energies of 'Buffer'; it has Main, Bufer"),
        ({"ert": ENERGIES.replace("name: read, energy: 8.0", "name: look, energy: 8.0")}, "no action 'read' of 'Main'"),
    ],
)
def test_inputs_that_cannot_be_are_refused_in_one_sentence(tmp_path: Path, changed: dict[str, str], said: str) -> None:
    with pytest.raises(AisysError) as refused:
        stats(tmp_path, **changed)
    message = str(refused.value)
    assert said in message
    assert "\n" not in message


@needs_tables
def test_every_row_whose_inputs_are_here_is_equal_in_every_figure() -> None:
    found = validate(ORACLE / "timeloop_reference.csv")
    assert found.errors.rows >= 6
    assert found.exact == found.errors.rows
    assert all("inputs" in reason or "searched" in reason or "not YAML" in reason for _, reason in found.skipped)


@needs_tables
def test_the_mapping_that_its_mapper_found_costs_what_it_printed() -> None:
    """VGG's layer on an Eyeriss-like array; the loops are those of its output, where spatial ones are not named."""
    folder = EXERCISES / "06-mapper-convlayer-eyeriss"
    architecture = read_architecture(
        folder / "arch" / "eyeriss_like.yaml", folder / "ref-output" / "timeloop-mapper.ERT.yaml"
    )
    nest = parse(
        "DRAM keeps Weights Inputs Outputs\nfor Q: 4\nfor C: 4\nfor P: 7\nfor M: 4\nshared_glb keeps Inputs Outputs\n"
        "for M: 2\nfor C: 4\nfor P: 8\nspread Q over PE_column.meshX: 14\nspread S over PE.meshY: 3\n"
        "spread M over PE.meshY: 4\nifmap_spad keeps Inputs\nweights_spad keeps Weights\nfor R: 3\nfor C: 8\n"
        "psum_spad keeps Outputs\nfor M: 8"
    )
    found = run(read_problem(folder / "prob" / "VGG02_layer5.yaml"), architecture, nest)
    per_compute = {name: round(joule / found.computes * 1e15, 2) for name, joule in found.joule.items()}
    assert found.cycles == 5505024
    assert round(found.energy_joule * 1e6, 2) == 2764.38
    assert per_compute == {
        "mac": 207.69, "psum_spad": 478.44, "weights_spad": 1107.50, "ifmap_spad": 105.92, "shared_glb": 89.47,
        "DRAM": 1000.00,
    }  # fmt: skip


@needs_tables
@pytest.mark.slow
def test_our_search_is_as_fast_as_its_mapper_and_takes_less_energy() -> None:
    """The same layer where each level keeps what it keeps there: 5,505,024 cycles and 2,764.38 uJ by its search."""
    folder = EXERCISES / "06-mapper-convlayer-eyeriss"
    einsum = read_problem(folder / "prob" / "VGG02_layer5.yaml")
    architecture = read_architecture(
        folder / "arch" / "eyeriss_like.yaml", folder / "ref-output" / "timeloop-mapper.ERT.yaml"
    )
    best = optimum(einsum, architecture.searchable(einsum), "latency")
    assert best.certificate.is_exhaustive
    assert best.cycles[0] == 5505024
    assert best.joule[0] * 1e6 < 2764.38


@needs_tables
def test_a_path_that_leaves_the_folder_is_refused() -> None:
    from aisys.validate.timeloop import run_folder

    with pytest.raises(BadInput, match="names no output folder"):
        run_folder(ORACLE, "../../x/ref-output/y.stats.txt")
