"""The page of a graph: what is in the file, and, in a real browser, what it does under the mouse."""

import json
import os
import re

import pytest
from browser import Browser
from graph_networks import SmallNet, chromium

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.graph import draw, watch, with_backward
from tensorgrad.graph.page import page_of

needs_browser = pytest.mark.skipif(chromium() is None, reason="there is no Chromium: apt install chromium")


def picture():
    tg.manual_seed(0)
    return draw(SmallNet(), tg.randn(2, 3, 8, 8), passes="both", statistics=True)


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


# --- the file


def test_the_page_holds_all_and_asks_for_nothing():
    page = page_of(with_backward(watch(SmallNet(2), tg.ones(1, 3, 8, 8))))
    assert not re.findall(
        r"""(?:src|href)\s*=|@import|url\((?!#)|fetch\(|XMLHttp|https?://(?!www\.w3\.org/2000/svg)""", page
    )
    data = data_of(page)
    (conv,) = [
        n for n in data["nodes"] if n["name"].startswith("conv2d") and n["path"] == "stem" and n["kind"] == "operation"
    ]
    assert conv["cost"]["macs"] == 4 * 4 * 8 * 27
    assert conv["field"].startswith("3×3, stride 2×2")
    assert re.fullmatch(r".*graph_networks\.py:\d+", conv["source"])
    assert [len(r["copies"]) for r in data["repeats"]] == [2]


def test_the_same_network_gives_the_same_page():
    assert len({page_of(watch(SmallNet(2), x)) for x in [tg.ones(1, 3, 8, 8)] * 2}) == 1


@pytest.mark.parametrize(
    "name", ["</script><script>alert(1)</script>", "<!-- <script>", "__DATA__", 'it\'s "odd" \\ \u2028']
)
def test_odd_names_cannot_break_the_page(name):
    x = tg.ones(2, requires_grad=True)
    page = page_of(draw(x * 2.0, names={name: x}).whole)
    assert page.count("</script>") == 2
    assert data_of(page)["nodes"][0]["name"] == name


# --- in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if chromium() is None:
        pytest.skip("there is no Chromium: apt install chromium")
    with Browser(chromium(), tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def page(browser, tmp_path):
    path = tmp_path / "net.html"
    picture().save(path)
    browser.events.clear()
    browser.open(path)
    yield browser
    assert browser.complaints() == []
    shots = os.environ.get("TENSORGRAD_SCREENSHOTS")
    if shots:
        browser.screenshot(os.path.join(shots, f"{os.environ['PYTEST_CURRENT_TEST'].split('::')[1].split(' ')[0]}.png"))


def boxes(page, kind=None):
    chosen = f"[data-kind={kind}]" if kind else ""
    return page.run(f"[...document.querySelectorAll('.box{chosen}')].map((b) => b.querySelector('text').textContent)")


def overlaps(page):
    """Pairs of boxes that lie over one another."""
    return page.run(
        "(() => { const r = [...document.querySelectorAll('.box > :first-child')].map((b) => [b.getBoundingClientRect(),"
        " b.parentNode.dataset.key]); return r.flatMap(([a, i], n) => r.slice(n + 1).filter(([b]) => a.left < b.right - 1 &&"
        " b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1).map(([, j]) => [i, j])); })()"
    )


@needs_browser
def test_it_is_drawn_without_asking_the_network(page):
    names = boxes(page)
    assert "stem (Conv2d)" in names and "concatenate" in names and "stem (Conv2d) backward" in names
    assert overlaps(page) == []
    assert [url for url in page.requests() if not url.startswith("file:")] == []
    assert page.run("document.getElementById('title').textContent").startswith("SmallNet: ")


@needs_browser
def test_a_click_opens_a_module_and_another_closes_it(page):
    before = boxes(page)
    page.click("[data-key='c1']")
    assert "conv2d_bias" in boxes(page) or "conv2d" in boxes(page)
    assert overlaps(page) == []
    page.click("[data-close='1']")
    assert boxes(page) == before


@needs_browser
def test_repeats_unfold_and_fold(page):
    count = "document.querySelectorAll('[data-frame]').length"
    folded = page.run(count)
    assert page.run("document.querySelector('.badge text').textContent") == "× 5"
    page.click(".badge")
    assert page.run(count) == folded + 8  # four blocks, each forward and backward
    assert overlaps(page) == []
    page.click("#folding")
    page.click("#folding")
    assert page.run(count) == folded


@needs_browser
def test_hovering_tells_costs_shapes_and_the_line(page):
    page.click("#fit")
    x, y = page.middle("[data-key='c1'] rect")
    page.mouse("mouseMoved", x, y)
    said = page.run("document.getElementById('tip').innerText")
    assert page.run("document.getElementById('tip').style.display") == "block"
    for text in (
        "stem (Conv2d)",
        "MACs",
        "6,912",
        "(2, 8, 4, 4)",
        "receptive field",
        "3×3, stride 2×2",
        "graph_networks.py:",
    ):
        assert text in said, said
    page.mouse("mouseMoved", 5, 990)
    assert page.run("document.getElementById('tip').style.display") == "none"


@needs_browser
def test_searching_opens_what_hides_the_hit_and_shows_it(page):
    page.type("/")
    page.type("stage.3.conv2.w")
    assert page.run("document.getElementById('hits').textContent") == "2 found"  # and its gradient
    page.press("Enter")
    assert page.run("document.getElementById('hits').textContent") == "1 of 2"
    assert page.run("document.querySelectorAll('.box.found').length") == 1
    x, y = page.middle(".box.found")
    assert 300 < x < 1100 and 200 < y < 900, "in the middle of the screen"
    assert "weight" in page.run("document.querySelector('.box.found').textContent")
    page.press("Escape")
    assert page.run("document.querySelectorAll('.box.found').length") == 0


@needs_browser
def test_the_way_of_a_gradient_is_lit(page):
    page.click("[data-key='c1']")  # open the stem
    page.click("#fit")
    key = page.run(
        "[...document.querySelectorAll('.box[data-kind=operation]')].find((b) => b.textContent.includes('conv2d')).dataset.key"
    )
    page.click(f"[data-key='{key}']")
    assert page.run("document.querySelector('#world').classList.contains('lit')")
    lit = page.run("[...document.querySelectorAll('.box.on')].map((b) => b.querySelector('text').textContent)")
    assert "output" in lit and "classifier (Linear)" in lit and "x" not in lit
    assert page.run("document.querySelectorAll('.arrow.on').length") > 5
    page.click(f"[data-key='{key}']")
    assert page.run("document.querySelectorAll('.on').length") == 0


@needs_browser
def test_zooming_and_dragging(page):
    def place():
        return [
            float(v)
            for v in re.findall(r"-?\d[\d.]*", page.run("document.getElementById('world').getAttribute('transform')"))
        ]

    x, y, scale = place()
    page.mouse("mouseWheel", 700, 500, deltaX=0, deltaY=-200)
    assert place()[2] > scale * 1.3
    before = place()
    page.mouse("mousePressed", 40, 900, button="left", buttons=1)
    page.mouse("mouseMoved", 90, 870, button="left", buttons=1)
    page.mouse("mouseReleased", 90, 870, button="left")
    after = place()
    assert (after[0] - before[0], after[1] - before[1]) == (50, -30)
    page.click("#fit")
    assert place() == pytest.approx([x, y, scale])


@needs_browser
def test_colours_by_cost_parameters_saved_values_and_the_dark(page):
    page.run(
        "(() => { const c = document.getElementById('colour'); c.value = 'macs'; c.dispatchEvent(new Event('change')); })()"
    )
    steps = page.run("[...document.querySelectorAll('[data-step]')].map((b) => b.dataset.step)")
    assert "4" in steps and "0" in steps
    count = len(boxes(page))
    page.click("#values")
    page.click("[data-key='c1']")
    assert "weight" in boxes(page, "parameter") and len(boxes(page)) > count
    page.click("#saved")
    assert page.run("document.querySelectorAll('.arrow.saved').length") > 5
    page.click("#theme")
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 29)"
    assert overlaps(page) == []


@needs_browser
def test_a_failure_is_red_and_in_sight(browser, tmp_path):
    model = nn.Sequential(nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 2)), nn.Tanh())
    draw(model, tg.ones(1, 3), failure="draw").save(tmp_path / "x.html")
    browser.events.clear()
    browser.open(tmp_path / "x.html")
    assert boxes(browser, "failed") == ["linear"]
    assert browser.complaints() == []


@needs_browser
def test_a_large_network_opens_quickly_and_nothing_overlaps(browser, tmp_path):
    from tensorgrad.models import get_model

    draw(get_model("resnet152", init_weights=False), tg.zeros(2, 3, 32, 32), passes="both", max_nodes=9999).save(
        tmp_path / "x.html"
    )
    browser.events.clear()
    browser.open(tmp_path / "x.html")
    assert 10 < len(boxes(browser)) <= 170
    taken = browser.run(
        "(() => { state.closed.clear(); state.folded.clear(); const t = performance.now(); draw(); return performance.now() - t; })()"
    )
    assert len(boxes(browser)) > 1000
    assert taken < 10_000
    assert overlaps(browser) == []
    assert browser.complaints() == []
