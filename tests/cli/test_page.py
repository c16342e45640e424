"""The page: one file that needs no network, holds no text from outside unescaped, and says what was found."""

import json
import re
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from made_up import infer_frontier, train_frontier

from aisys.errors import BadInput
from aisys.frozen import FrozenMap
from aisys.machine import device
from aisys.report.page import page
from aisys.report.page.charts import front_of, roofline, tradeoffs, treemap
from aisys.report.page.timeline import canvas_state
from aisys.report.words import summary

H100 = "h100-sxm"


class Parts(HTMLParser):
    """Sections, addresses, and what stands in script elements."""

    def __init__(self):
        super().__init__()
        self.sections, self.addresses, self.open, self.data = [], [], [], {}

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "section" and "id" in given:
            self.sections.append(given["id"])
        for name in ("src", "href", "action", "data"):
            if given.get(name):
                self.addresses.append((tag, given[name]))
        self.open.append(given.get("id", tag) if tag == "script" else None)

    def handle_data(self, text):
        if self.open and self.open[-1] in ("figures", "timeline-data"):
            self.data[self.open[-1]] = self.data.get(self.open[-1], "") + text

    def handle_endtag(self, tag):
        if tag == "script":
            self.open.append(None)


def parsed(text):
    parts = Parts()
    parts.feed(text)
    return parts


def test_the_page_has_every_section_and_asks_the_network_for_nothing():
    parts = parsed(page(train_frontier(best=3), device(H100)))
    assert parts.sections == [
        "plans", "tradeoffs", "time", "memory", "ops", "roofline", "timeline", "sources",
    ]  # fmt: skip
    loaded = [address for tag, address in parts.addresses if tag != "a"]
    assert loaded == ["data:,"]
    links = [address for tag, address in parts.addresses if tag == "a" and not address.startswith("#")]
    assert links == ["https://arxiv.org/abs/2402.13499"]  # a source, followed only where a reader clicks


def test_the_page_says_the_best_plan_and_what_binds():
    frontier = train_frontier(best=3)
    text = page(frontier, device(H100))
    assert summary(frontier) in text
    assert frontier.binding_constraint in text


def test_sections_without_anything_to_show_are_left_out():
    assert parsed(page(infer_frontier(), device(H100))).sections == ["plans", "tradeoffs", "time", "memory", "sources"]


def test_an_answer_without_plans_has_no_page():
    with pytest.raises(BadInput, match="without a plan"):
        page(replace(train_frontier(1), reports=(), pareto=()), device(H100))


def test_names_from_outside_cannot_change_the_page():
    evil = '"><script>alert(1)</script><b x="'
    frontier = train_frontier(2)
    best = frontier.reports[0]
    ops = tuple(replace(op, name=evil, block=evil) for op in best.ops)
    best = replace(
        best, workload=evil, machine=evil, assumptions=(evil,), ops=ops, bound=evil, reason=evil, tier=evil,
        breakdown_s=FrozenMap({**best.breakdown_s, evil: 0.1}),
    )  # fmt: skip
    hostile = replace(
        frontier, workload=evil, machine=evil, binding_constraint=evil, reports=(best, *frontier.reports[1:])
    )
    text = page(hostile, device(H100))
    assert "<script>alert(1)" not in text
    json.loads(parsed(text).data["figures"])


def test_the_charts_are_plain_json_with_a_dot_per_plan():
    frontier = train_frontier(best=3)
    charts = json.loads(parsed(page(frontier, device(H100))).data["figures"])
    assert set(charts) == {"tradeoffs", "ops", "roofline"}
    for chart in charts["tradeoffs"]:
        assert sum(len(trace["x"]) for trace in chart["data"]) == len(frontier.reports)
    places = sorted(place for trace in charts["tradeoffs"][0]["data"] for place in trace["customdata"])
    assert places == list(range(len(frontier.reports)))


def test_the_front_of_a_plot_is_what_no_other_beats_in_both():
    frontier = train_frontier(best=3)
    values = [(r.time_s, r.peak_memory_bytes) for r in frontier.reports]
    kept = {values[i] for i in front_of(values)}
    for value in values:
        beaten = any(o[0] <= value[0] and o[1] <= value[1] and o != value for o in values)
        assert (value in kept) == (not beaten)
    assert len(tradeoffs(frontier)) == 3


def test_areas_of_the_treemap_add_up():
    ops = train_frontier().reports[0].ops
    trace = treemap(ops)["data"][0]
    whole = {
        label: value
        for label, value, parent in zip(trace["ids"], trace["values"], trace["parents"], strict=True)
        if not parent
    }
    for block, value in whole.items():
        inside = sum(v for v, parent in zip(trace["values"], trace["parents"], strict=True) if parent == block)
        assert inside == pytest.approx(value)
    assert sum(whole.values()) == pytest.approx(sum(op.time_s * op.repeat for op in ops))


def test_no_roof_is_above_the_slope_of_the_memory():
    chart = roofline(device(H100), train_frontier().reports[0])
    for trace in chart["data"]:
        if trace.get("mode") == "lines":
            assert all(y <= x * 3.35e12 * (1 + 1e-9) for x, y in zip(trace["x"], trace["y"], strict=True))


def test_the_canvas_gets_every_task_where_the_timeline_has_it():
    timeline = train_frontier(best=3).reports[0].timeline
    state = canvas_state(timeline, timeline.critical_path())
    start = np.frombuffer(b64decode(state["start"]), "<f4")
    length = np.frombuffer(b64decode(state["length"]), "<f4")
    lane = np.frombuffer(b64decode(state["lane"]), "<u2")
    order = np.argsort(timeline.start_ps, kind="stable")
    assert len(start) == len(timeline.program)
    np.testing.assert_allclose(start, timeline.start_ps[order] / timeline.makespan_ps, atol=1e-7)
    np.testing.assert_allclose(length, (timeline.end_ps - timeline.start_ps)[order] / timeline.makespan_ps, rtol=1e-6)
    critical = np.frombuffer(b64decode(state["critical"]), np.uint8)
    assert critical.sum() == len(timeline.critical_path())
    assert (length[critical == 1].sum()) == pytest.approx(1, abs=1e-4)
    names = [timeline.program.resources[r] for r in timeline.program.resource[order]]
    assert [state["lanes"][i] for i in lane] == names
    assert state["num_main"] == 4
    assert all(not name.startswith("send") for name in state["lanes"][: state["num_main"]])


def test_colours_of_parts_reach_the_page_as_they_are():
    text = page(train_frontier(best=3), device(H100))
    assert re.search(r'style="width:[\d.]+%;background:#2f6fde"', text)
