"""Answers in every form: run files, tables, traces, sources, figures, differences. Numbers are checked by hand."""

import csv
import json
import math
from dataclasses import replace
from io import StringIO
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest
from made_up import infer_frontier, train_frontier, train_report
from rich.console import Console

from aisys.errors import BadInput
from aisys.frozen import FrozenMap
from aisys.machine import device
from aisys.report.difference import difference
from aisys.report.figure import figure_files
from aisys.report.figure.axes import Axis
from aisys.report.figure.drawing import Box, Dot, Drawing, Line, Text
from aisys.report.figure.pdf import pdf
from aisys.report.figure.svg import svg
from aisys.report.files import write_files
from aisys.report.parts import MEMORY, PARTS, in_order, part
from aisys.report.quantity import gigabytes, interval, number, percent, scaled, seconds
from aisys.report.roofline import Roofline, points
from aisys.report.sources import bibtex, grouped, numbers_of
from aisys.report.store import document, finite, load_report, load_run, run_text
from aisys.report.tables import ops_csv, plans_csv, plans_latex
from aisys.report.terminal import renderables
from aisys.report.trace import trace_text
from aisys.report.words import degrees, joule_per_million, summary


def printed(frontier, width):
    console = Console(width=width, record=True, file=StringIO())
    for renderable in renderables(frontier, width=width):
        console.print(renderable)
    return console.export_text()


def test_numbers_keep_three_digits_and_one_prefix():
    assert [seconds(s) for s in (2.3e-9, 999.6e-6, 0.9999, 119.0, 120.0, 9000.0)] == [
        "2.30 ns", "1.00 ms", "1.00 s", "119 s", "2.00 min", "2.50 h",
    ]  # fmt: skip
    assert [number(v) for v in (0, 0.04999, 9.999, 123456, -5.0)] == ["0", "0.0500", "10.0", "123,000", "-5.00"]
    assert (gigabytes(80e9), percent(0.5), scaled(3.35e12, "B/s")) == ("80.0 GB", "50.0 %", "3.35 TB/s")
    assert (number(math.nan), seconds(math.inf), percent(math.nan)) == ("-", "-", "-")
    assert interval(0.9e-3, 1.1e-3) == "900 µs - 1.10 ms"


def test_a_run_file_gives_back_the_same_answer(tmp_path):
    for frontier in (train_frontier(), infer_frontier()):
        (tmp_path / "run.json").write_text(run_text(frontier))
        assert load_run(tmp_path) == frontier
        assert load_run(tmp_path / "run.json").reports[0].ops == frontier.reports[0].ops


def test_one_plan_of_a_run_is_named_after_a_colon(tmp_path):
    frontier = train_frontier()
    (tmp_path / "run.json").write_text(run_text(frontier))
    assert load_report(str(tmp_path)) == frontier.reports[0]
    assert load_report(f"{tmp_path}:3") == frontier.reports[2]
    with pytest.raises(BadInput, match="has 10 plans, no plan 11"):
        load_report(f"{tmp_path}:11")


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{", "null", '{"format": 1}', '{"format": 99}', "\x00", "[" * 100_000,
        '{"format": 1, "workload": "a", "machine": "b", "goal": "train", "plans": [{}], "pareto": [], "objectives":[]}',
    ],
)  # fmt: skip
def test_what_is_no_run_file_is_one_sentence(tmp_path, text):
    file = tmp_path / "run.json"
    file.write_text(text)
    with pytest.raises(BadInput, match=r"give one that aisys plan wrote"):
        load_run(file)


def test_a_run_file_with_a_wrong_value_is_one_sentence(tmp_path):
    for field, value in (("time_s", "fast"), ("plan", {"tensor": 0}), ("ops", [{"block": 1}]), ("error", [1])):
        state = json.loads(run_text(train_frontier()))
        state["plans"][0][field] = value
        (tmp_path / "run.json").write_text(json.dumps(state))
        with pytest.raises(BadInput):
            load_run(tmp_path)


def test_json_never_holds_a_number_that_json_has_not():
    report = replace(train_report(0), time_s=math.inf, low_s=math.nan, high_s=math.nan)
    text = json.dumps(finite(document(replace(train_frontier(1), reports=(report,), pareto=()))), allow_nan=False)
    assert json.loads(text)["plans"][0]["time_s"] is None


def test_the_table_of_plans_has_a_row_per_plan_and_every_part():
    frontier = train_frontier()
    rows = list(csv.DictReader(StringIO(plans_csv(frontier))))
    assert [float(row["time_s"]) for row in rows] == [report.time_s for report in frontier.reports]
    assert float(rows[0]["memory_bytes.weight"]) == frontier.reports[0].memory_bytes["weight"]
    assert float(rows[0]["breakdown_s.bubble"]) == frontier.reports[0].breakdown_s["bubble"]
    ops = list(csv.DictReader(StringIO(ops_csv(frontier.reports[0].ops))))
    assert len(ops) == len(frontier.reports[0].ops)


def test_the_latex_table_escapes_what_tex_would_read():
    frontier = replace(train_frontier(2), workload="a_b&c%d", machine="m#1*2")
    text = plans_latex(frontier)
    assert r"a\_b\&c\%d on m\#1*2" in text
    assert text.count(r"\\") == 3  # a head and two rows
    assert len({line.count("&") for line in text.splitlines() if line.endswith(r"\\")}) == 1


def test_the_trace_numbers_threads_from_1_and_keeps_every_task():
    best = train_frontier().reports[0]
    events = json.loads(trace_text(best))["traceEvents"]
    tasks = [event for event in events if event["ph"] == "X" and event["pid"] == 1]
    assert len(tasks) == len(best.timeline.program)
    assert {event["tid"] - 1 for event in tasks} == set(best.timeline.program.resource.tolist())
    assert max(event["ts"] + event["dur"] for event in tasks) == pytest.approx(best.timeline.makespan_ps / 1e6)
    held = [event["args"]["GB"] for event in events if event["ph"] == "C"]
    assert min(held) == 0
    assert max(held) * 1e9 == pytest.approx(float(best.timeline.peak_bytes(best.plan.pipeline).max()))


def test_the_trace_of_ops_puts_them_one_after_another():
    best = train_frontier().reports[0]
    events = [e for e in json.loads(trace_text(best))["traceEvents"] if e["ph"] == "X" and e["pid"] == 2]
    layer = [e for e in events if e["args"]["phase"] and e["tid"] == 2]
    ends = [event["ts"] + event["dur"] for event in layer]
    assert [event["ts"] for event in layer][1:] == pytest.approx(ends[:-1])


def test_sources_are_grouped_and_cited_once_with_a_link_where_they_name_one():
    sources = grouped(train_report(0).provenance)
    assert [source.kind for source in sources] == ["datasheet", "measured", "fitted", "assumed"]
    assert len(sources[0].numbers) == 2
    assert sources[1].link == "https://arxiv.org/abs/2402.13499"
    text = bibtex(sources)
    assert text.count("@misc{") == 3  # what is assumed cannot be cited
    assert "year = {2023}" in text
    assert r"fit\_matmul" in text
    keys = [line for line in text.splitlines() if line.startswith("@misc{")]
    assert len(set(keys)) == len(keys)


def test_every_number_of_a_device_is_found_by_its_key():
    found = numbers_of(device("h100-sxm"))
    assert found["h100-sxm.memories.hbm.capacity_bytes"] == 80e9
    assert all(value.source for value in found.values())


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160])
def test_the_terminal_table_fits_and_keeps_time_and_interval(width):
    text = printed(train_frontier(), width)
    assert all(len(line) <= width for line in text.splitlines())
    for word in ("time/step", "90 % interval", "9.82 s", "Binding constraint", "waiting"):
        assert word in text


def test_serving_is_told_per_token():
    text = printed(infer_frontier(), 120)
    assert "time/token" in text
    assert "to the first token" in text


def test_an_answer_without_plans_says_so():
    empty = replace(train_frontier(1), reports=(), pareto=())
    assert summary(empty).startswith("Nothing fits: none of 1,800 plans can train llama-3.1-70b")
    assert "Binding constraint" in printed(empty, 100)


def test_energy_per_token_is_that_of_a_step_over_its_tokens():
    report = train_report(0)
    tokens = report.metrics["tokens_per_step"]
    assert joule_per_million(report) == pytest.approx(report.energy_joule / tokens * 1e6)
    served = infer_frontier().reports[0]
    assert joule_per_million(served) == pytest.approx(served.energy_joule / 32 * 1e6)  # a token per sequence


def test_every_part_has_a_name_and_a_colour_of_its_own_among_its_neighbours():
    ops_and_links = [p for p in PARTS.values() if p.label != "pipeline sends"]
    assert len({p.colour for p in ops_and_links}) == len(ops_and_links)
    assert len({p.colour for p in MEMORY.values()}) == len(MEMORY)
    assert part("all_gather").sort == "link"
    assert in_order(["bubble", "matmul", "tensor"]) == ["matmul", "tensor", "bubble"]


SEEN_BY = {
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}  # fmt: skip
"""Linear RGB as people without green or red cones see it. Source: Machado, Oliveira, Fernandes 2009, severity 1."""


def lab(colour, seen):
    """CIE 1976 L*a*b* of a colour behind a matrix of SEEN_BY."""
    shares = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(np.array(seen) @ linear, 0, 1) / np.array([0.9505, 1, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("seen", SEEN_BY.values(), ids=SEEN_BY)
@pytest.mark.parametrize("parts", [PARTS, MEMORY], ids=["time", "memory"])
def test_parts_stay_apart_for_the_colour_blind(parts, seen):
    colours = {look.colour: name for name, look in parts.items()}
    for first, second in combinations(colours, 2):
        distance = float(np.linalg.norm(lab(first, seen) - lab(second, seen)))
        assert distance > 10, f"{colours[first]} and {colours[second]}"  # 2.3 is a just noticeable difference


def test_two_equal_plans_differ_in_nothing():
    report = train_report(0, is_detailed=True)
    found = difference(report, report)
    assert found.parts == ()
    assert found.ops == ()
    assert found.sentence == "Both take 9.40 s per step."


def test_the_parts_of_a_difference_add_up_to_it_and_the_largest_cause_is_named():
    a, b = train_report(0, is_detailed=True), train_report(0, is_detailed=True)
    slower = FrozenMap(
        {**b.breakdown_s, "tensor": b.breakdown_s["tensor"] + 2.0, "bubble": b.breakdown_s["bubble"] - 0.5}
    )
    ops = tuple(replace(op, time_s=op.time_s * 3) if op.kind == "all_reduce" else op for op in b.ops)
    b = replace(b, time_s=b.time_s + 1.5, breakdown_s=slower, ops=ops)
    found = difference(a, b)
    assert sum(change.gain_s for change in found.parts) == pytest.approx(1.5)
    assert found.sentence == (
        "B takes 16 % more per step (9.40 s -> 10.9 s), mostly tensor-parallel links (link): +2.00 s; "
        "the other way: waiting, -500 ms."
    )
    assert {change.sort for change in found.ops} == {"link"}
    expected = 80 * 2 * 240e-6 * a.plan.num_microbatches / a.plan.pipeline  # layers x extra time x microbatches
    assert found.ops[0].gain_s == pytest.approx(expected)


def test_roofline_points_are_rates_under_the_device_and_transfers_are_none():
    best = train_frontier().reports[0]
    found = points(best.ops)
    assert {p.kind for p in found} == {"matmul", "attention"}
    first = next(op for op in best.ops if op.name == "gate_up")
    point = next(p for p in found if "<b>gate_up</b>" in p.label)
    assert point.flop_per_s == first.flop / first.time_s
    assert point.intensity == first.flop / first.traffic_bytes
    roofs = Roofline.of(device("h100-sxm"))
    assert roofs.ridge == pytest.approx(1978.9e12 / 3.35e12)


def test_figures_are_well_formed_svg_and_pdf():
    files = figure_files(train_frontier(best=3), device("h100-sxm"))
    assert {name.split(".")[0] for name in files} == {
        "figure-tradeoffs", "figure-time", "figure-memory", "figure-roofline", "figure-timeline",
    }  # fmt: skip
    for name, content in files.items():
        if name.endswith(".svg"):
            root = ElementTree.fromstring(content)
            assert root.find("{http://www.w3.org/2000/svg}title").text
        else:
            check_pdf(content)


def check_pdf(content):
    assert content.startswith(b"%PDF-1.4\n")
    assert content.endswith(b"%%EOF\n")
    start = int(content.rsplit(b"startxref\n", 1)[1].split(b"\n")[0])
    assert content[start : start + 5] == b"xref\n"
    lines = content[start:].split(b"\n")
    count = int(lines[1].split()[1])
    for number_of, line in enumerate(lines[3 : 2 + count], start=1):
        place = int(line[:10])
        assert content[place:].startswith(b"%d 0 obj\n" % number_of)


def test_an_answer_without_ops_or_timeline_has_fewer_figures():
    files = figure_files(infer_frontier(), device("h100-sxm"))
    assert {name.split(".")[0] for name in files} == {"figure-tradeoffs", "figure-time", "figure-memory"}


def test_a_drawing_keeps_its_shapes_in_both_formats():
    drawing = Drawing("a (b) \\ c", 100, 50)
    drawing.add(Line(((0, 0), (10, 10)), dash=(2, 1)), Box(1, 2, 3, 4, "#ff0000"), Dot(5, 5, 2, "#00ff00"))
    drawing.add(Text(3, 4, "<&>", "middle", is_upright=True))
    text = svg(drawing)
    assert "&lt;&amp;&gt;" in text
    assert 'stroke-dasharray="2 1"' in text
    check_pdf(pdf(drawing))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (9.1, 15.6), (0.0112, 0.0125), (28, 64), (0, 8000)])
def test_an_axis_has_a_few_round_marks_inside(low, high):
    marks = Axis("", low, high).marks()
    assert 3 <= len(marks) <= 9
    assert all(low - 1e-9 <= mark <= high * (1 + 1e-9) for mark in marks)


def test_files_are_written_whole_or_not_at_all(tmp_path):
    write_files(tmp_path / "new" / "folder", {"a.txt": "one", "b.bin": b"two"})
    assert (tmp_path / "new" / "folder" / "a.txt").read_text() == "one"
    (tmp_path / "taken" / "b.txt").mkdir(parents=True)
    with pytest.raises(BadInput, match="cannot write to"):
        write_files(tmp_path / "taken", {"a.txt": "one", "b.txt": "two"})
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["b.txt"]
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot write to"):
        write_files(tmp_path / "file" / "inside", {"a.txt": "one"})


def test_short_forms_of_plans():
    report = train_report(1)
    assert degrees(report.plan) == "TP 8 + SP, PP 2, DP 4 (ZeRO-1)"
