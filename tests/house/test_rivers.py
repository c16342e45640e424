"""One thin river per topic through the same nouns: graph, op table, cost. A special case would mean wrong nouns.

Nothing here asks what a graph or a device is: `priced` is the only way from one to the other.
"""

from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import aisys
from aisys import ir
from aisys.collective import execute, time
from aisys.collective.algorithm.ring_all_reduce import RingAllReduce
from aisys.cost import CostTable, cost
from aisys.frozen import FrozenMap
from aisys.ir import DTYPES, Block, Graph, Op, OpTable, Segment, Tensor
from aisys.kernel import bfs
from aisys.kernel.csr import kronecker
from aisys.machine import PimBank, SystolicArray
from aisys.technique.weight_quantization import WeightQuantization
from aisys.testing import check_workload
from aisys.workload.graph_file import read_csr, read_graph, traversal

KARATE_CLUB = Path(__file__).parent / "karate_club.mtx"


@dataclass(frozen=True)
class Priced:
    """One row of a cost table."""

    time_s: float
    energy_joule: float
    bound: str
    counts: dict[str, float]
    traffic_bytes: dict[str, float]


def table_of(graph: Graph) -> OpTable:
    """The op table of a graph of one op."""
    block = graph.blocks[0]
    ((table, _),) = ir.tables([kernel.row for kernel in ir.kernels(block.ops, block.tensors)]).values()
    return table


def priced(graph: Graph, device: str, tier: str = "analytic") -> Priced:
    """The op of `graph` on the catalogue's `device`."""
    found: CostTable = cost(table_of(graph), aisys.device(device), tier=tier)
    return Priced(
        float(found.time_s[0]), float(found.energy_joule[0]), str(found.bound[0]),
        {name: float(count[0]) for name, count in found.counts.items()},
        {name: float(moved[0]) for name, moved in found.traffic_bytes.items()},
    )  # fmt: skip


def linear(*, m: int, n: int, k: int, dtype: str) -> Graph:
    """y[m, n] = x[m, k] w[n, k], everything in one number format."""
    tensors = (
        Tensor("x", FrozenMap(m=m, k=k), DTYPES[dtype]),
        Tensor("w", FrozenMap(n=n, k=k), DTYPES[dtype], "weight"),
        Tensor("y", FrozenMap(m=m, n=n), DTYPES[dtype]),
    )
    op = Op(name="linear", kind="matmul", space=FrozenMap(m=m, n=n, k=k), reads=("x", "w"), writes=("y",))
    block = Block(
        name="layer", tensors=FrozenMap({t.name: t for t in tensors}), ops=(op,), inputs=("x",), outputs=("y",)
    )
    return ir.verify(Graph(name="linear", segments=(Segment(block),)))


def test_one_matmul_table_is_priced_on_a_gpu_a_systolic_array_and_a_pim_bank() -> None:
    graph = linear(m=64, n=4096, k=4096, dtype="int8")
    flop = 2 * 64 * 4096 * 4096
    gpu, grid, banks = (priced(graph, name) for name in ("h100-sxm", "systolic-32x32", "upmem"))

    assert gpu.time_s > flop / aisys.device("h100-sxm").architecture.peak_flop_per_s("int8")

    array = aisys.device("systolic-32x32").architecture
    assert isinstance(array, SystolicArray)
    assert grid.counts["cycles"] == (4096 // 32) * (4096 // 32) * (64 + 2 * 32 + 32 - 2)
    assert grid.time_s == grid.counts["cycles"] / array.clock_hz

    pim = aisys.device("upmem").architecture
    assert isinstance(pim, PimBank)
    columns = -(-4096 // int(pim.num_banks))
    pipeline_s = columns * 64 * 4096 * pim.instructions["mac_int8"] / pim.clock_hz
    host_s = banks.traffic_bytes["host"] / pim.host_bytes_per_s
    assert banks.time_s == pytest.approx(pipeline_s + host_s, rel=1e-12)
    assert gpu.time_s < banks.time_s
    assert gpu.time_s < grid.time_s


def plain_depths(edges: list[tuple[int, int]], num_vertices: int, source: int) -> list[int]:
    """Breadth-first search straight from the edge list."""
    neighbours: list[list[int]] = [[] for _ in range(num_vertices)]
    for u, v in edges:
        neighbours[u].append(v)
        neighbours[v].append(u)
    depth = [-1] * num_vertices
    depth[source], waiting = 0, deque([source])
    while waiting:
        u = waiting.popleft()
        for v in neighbours[u]:
            if depth[v] < 0:
                depth[v] = depth[u] + 1
                waiting.append(v)
    return depth


def karate_edges() -> list[tuple[int, int]]:
    lines = [line for line in KARATE_CLUB.read_text().splitlines() if not line.startswith("%")]
    ends = (tuple(int(x) - 1 for x in line.split()) for line in lines[1:])
    return [(u, v) for u, v in ends]


def test_the_karate_club_is_the_published_one() -> None:
    """34 members, 78 friendships; the instructor has 16, the president 17; 45 triangles."""
    edges = karate_edges()
    friends = [{v for u, v in (*edges, *((b, a) for a, b in edges)) if u == member} for member in range(34)]
    assert len(set(map(frozenset, edges))) == 78
    assert (len(friends[0]), len(friends[33])) == (16, 17)
    assert sum(len(friends[u] & friends[v]) for u, v in edges) == 3 * 45


def test_a_search_of_a_real_graph_runs_once_and_is_priced_on_a_cpu_and_on_pim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk = bfs.run(read_csr(KARATE_CLUB), 16)
    assert walk.depth.tolist() == plain_depths(karate_edges(), 34, 16)
    graph = read_graph(KARATE_CLUB, algorithm="bfs", source=16)
    assert (graph.attributes["num_reached"], graph.attributes["num_levels"]) == (34, 6)

    monkeypatch.delattr(bfs, "run")
    ir.save(graph, tmp_path / "walk.json")
    loaded = ir.load(tmp_path / "walk.json")
    assert loaded == graph
    record = loaded.blocks[0].ops[0].record
    assert record == graph.blocks[0].ops[0].record
    assert sum(phase.traffic.num_bytes.sum() for phase in record.phases) == 4 * walk.levels[:, bfs.EDGES].sum()
    for device in ("xeon-2s", "xeon-core", "upmem"):
        found = priced(loaded, device)
        assert found == priced(graph, device)
        assert found.time_s >= priced(graph, device, "limit").time_s > 0


def test_a_graph_file_is_a_workload_like_any_other() -> None:
    check_workload(lambda source, *, batch, tokens: read_graph(KARATE_CLUB))


def test_a_larger_search_moves_on_each_machine_what_its_record_says() -> None:
    """On a CPU, the distinct lines at least; on banks, every check of a vertex that lies in another bank, twice."""
    csr = kronecker(12)
    graph = traversal(csr, name="kronecker", source=int(np.argmax(np.diff(csr.offsets))))
    record = graph.blocks[0].ops[0].record
    cpu, pim = priced(graph, "xeon-core"), priced(graph, "upmem")
    targets = max(s.footprint_bytes for p in record.phases for s in p.streams if s.tensor == "targets")
    assert cpu.traffic_bytes["ddr"] >= targets
    checked = sum(int(phase.traffic.num_bytes.sum()) for phase in record.phases)
    assert 0.95 * 2 * checked < pim.traffic_bytes["host"] <= 2 * checked
    assert pim.time_s > cpu.time_s


def test_an_int8_layer_is_priced_in_the_bytes_that_its_rounded_weights_take() -> None:
    graph = linear(m=8, n=512, k=1024, dtype="bf16")
    technique = WeightQuantization(bits=8, group=64)
    rounded = technique.apply(graph)
    weights = np.random.default_rng(7).standard_normal((512, 1024)).astype(np.float32)
    packed = technique.pack("w", weights)

    saved = graph.num_bytes("weight") - packed.num_bytes
    assert rounded.num_bytes("weight") == packed.num_bytes
    assert rounded.flop == graph.flop
    for device in ("h100-sxm", "systolic-32x32"):
        main = aisys.device(device).main_memory.name
        before, after = priced(graph, device, "limit"), priced(rounded, device, "limit")
        assert before.traffic_bytes[main] - after.traffic_bytes[main] == saved
        assert priced(rounded, device).time_s > 0

    plain = WeightQuantization(bits=8, group=1024).apply(graph)
    assert priced(rounded, "h100-sxm").time_s == pytest.approx(priced(plain, "h100-sxm").time_s, rel=0.02)

    error = np.abs(technique.emulate({"w": weights})["w"] - weights)
    assert (error <= packed.steps / 2 * (1 + 1e-6)).all()


def test_an_int8_layer_computes_what_its_rounded_weights_promise() -> None:
    """Independent errors of at most half a step, uniform: the output is off by steps / sqrt(12) times the input's norm.

    The measured ratio is within 10 % of that on 512 outputs, and every output is within the sum of all half steps.
    """
    random = np.random.default_rng(7)
    weights, inputs = random.standard_normal((512, 1024)), random.standard_normal(1024)
    technique = WeightQuantization(bits=8, group=64)
    error = (technique.emulate({"w": weights})["w"] - weights) @ inputs
    steps = technique.pack("w", weights).steps
    expected = np.sqrt((steps**2 / 12) @ inputs**2)
    assert np.sqrt((error**2).mean()) == pytest.approx(np.sqrt((expected**2).mean()), rel=0.1)
    assert (np.abs(error) <= (steps / 2) @ np.abs(inputs) * (1 + 1e-6)).all()


def test_an_all_reduce_is_timed_and_really_summed() -> None:
    ring, num_ranks, num_elements = RingAllReduce(), 8, 4096
    buffers = [np.random.default_rng(rank).integers(-1000, 1000, num_elements) for rank in range(num_ranks)]
    done = execute(ring, buffers)
    for result in done.buffers:
        assert (result == sum(buffers)).all()

    form, num_bytes = ring.closed_form(num_ranks), buffers[0].nbytes
    assert done.sent_bytes.tolist() == [form.wire_share * num_bytes] * num_ranks
    link = next(iter(aisys.machine("dgx-h100").links.values()))
    port_s = num_bytes * form.wire_share / link.bandwidth_bytes_per_s
    assert form.time_s(num_bytes, link.latency_s, link.bandwidth_bytes_per_s) == pytest.approx(
        14 * link.latency_s + port_s
    )
    timed = time("all_reduce", num_bytes, {"node": num_ranks}, aisys.machine("dgx-h100"))
    assert timed.time_s[0] > 0
    assert timed.wire_bytes[0] > 0
