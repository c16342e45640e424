"""The page in a real browser: it draws, sorts, turns dark, fits a phone, and asks the network for nothing."""

import shutil

import pytest
from made_up import infer_frontier, train_frontier

from aisys.machine import device
from aisys.report.page import page

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="needs a chromium on PATH (apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def opened(browser, tmp_path):
    """`opened(frontier, width)` gives the page with its errors and requests."""

    def open_page(frontier, width, scheme="light"):
        file = tmp_path / "page.html"
        file.write_text(page(frontier, device("h100-sxm")))
        tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        errors, requests = [], []
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(file.as_uri())
        tab.wait_for_selector("#chart-tradeoffs .main-svg")
        return tab, errors, requests

    return open_page


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_draws_without_errors_requests_or_overflow(opened, width, scheme):
    tab, errors, requests = opened(train_frontier(best=3), width, scheme)
    assert errors == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.get_attribute("html", "data-theme") == scheme
    for chart in ("tradeoffs", "ops", "roofline"):
        assert tab.locator(f"#chart-{chart} .main-svg").count() > 0


def test_the_timeline_is_drawn_and_zooms(opened):
    tab, errors, _ = opened(train_frontier(best=3), 1280)
    colours = """() => { const c = document.getElementById('timeline-canvas'), g = c.getContext('2d');
        return new Set(new Uint32Array(g.getImageData(0, 0, c.width, c.height).data.buffer)).size; }"""
    picture = "document.getElementById('timeline-canvas').toDataURL()"
    assert tab.evaluate(colours) > 5
    before = tab.evaluate(picture)
    tab.click('button[data-zoom="0.5"]')
    assert tab.evaluate(picture) != before
    tab.click("#timeline-all")
    tab.hover("#timeline-canvas", position={"x": 600, "y": 40})
    assert "microbatch" in tab.inner_text("#tip")
    assert errors == []


def test_a_click_on_a_title_sorts_the_table(opened):
    tab, _, _ = opened(train_frontier(best=3), 1280)
    memory = "[...document.querySelectorAll('#plans tbody tr')].map(r => Number(r.cells[6].dataset.key))"
    tab.click("#plans th:nth-child(7) button")
    rising = tab.evaluate(memory)
    assert rising == sorted(rising)
    tab.click("#plans th:nth-child(7) button")
    assert tab.evaluate(memory) == sorted(rising, reverse=True)


def test_the_theme_button_and_the_choice_of_trade_off_redraw(opened):
    tab, errors, _ = opened(train_frontier(best=3), 1280)
    tab.click("#theme")
    assert tab.get_attribute("html", "data-theme") == "dark"
    tab.click('button[data-chart="tradeoffs"][data-version="2"]')
    assert "USD per million tokens" in tab.inner_text("#chart-tradeoffs")
    assert errors == []


def test_serving_without_ops_or_timeline_draws_too(opened):
    _, errors, _ = opened(infer_frontier(), 390)
    assert errors == []
