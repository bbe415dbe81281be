"""The dashboard in a real browser, where Chromium and Playwright are installed."""

import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from grace_geom.records import Result
from tests.app.conftest import PAGES
from tests.processes import LONGEST

try:
    from axe_playwright_python import sync_playwright as axe
except ModuleNotFoundError:
    axe = None

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
ADDRESSES = ("", *PAGES[1:])
"""The overview is where the address ends."""
STREAMLITS_OWN: dict[str, str] = {}
"""Rules of axe that a page breaks by what Streamlit makes and nobody can change: id -> why."""
KNOWN = re.compile(r"404 \(Not Found\)")
"""Streamlit asks for two files below the page's own path first; its own fallback finds them."""


VISITORS = {"desktop": ("light", 1440), "phone": ("dark", 420)}
"""Theme that their system asks for, and width of their window: all four pairs would load every page
twice more.
"""
PATIENCE = 1000 * LONGEST
"""Milliseconds to wait for what comes within seconds on a machine that has nothing else to do."""


@pytest.fixture(scope="module")
def served(lab: Path) -> Iterator[str]:
    """Address of a dashboard on the lab's runs."""
    with serving(lab) as address:
        yield address


@contextmanager
def serving(root: Path) -> Iterator[str]:
    """Address of a dashboard that was started as a user starts it, from another folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app/main.py")]
    process = subprocess.Popen(
        [*command, "--server.port", str(port), "--", "--runs", str(root)],
        cwd=root,
        stdout=subprocess.DEVNULL,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        answers(f"{address}/_stcore/health", process)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(address: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers.

    Raises:
        RuntimeError: If it ended, or is silent for too long.
    """
    until = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(address, timeout=5):
            return
        time.sleep(0.1)
    raise RuntimeError(f"the dashboard does not answer at {address} (exit {process.poll()})")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="the browser tests need the package playwright"
    )
    if CHROMIUM is None:
        pytest.skip("the browser tests need Chromium (apt-get install chromium)")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def visitors(browser: Any) -> Iterator[dict[str, Any]]:
    """A browser context for each visitor: its cache spares every page but the first the compilation
    of Streamlit and plotly. Moving placeholders are off, which a machine without a GPU paints
    slowly.
    """
    contexts = {
        name: browser.new_context(
            color_scheme=theme, viewport={"width": width, "height": 900}, reduced_motion="reduce"
        )
        for name, (theme, width) in VISITORS.items()
    }
    yield contexts
    for context in contexts.values():
        context.close()


@pytest.fixture
def page(visitors: dict[str, Any]) -> Iterator[Any]:
    """An empty page of the visitor with the wide window."""
    opened = visitors["desktop"].new_page()
    opened.set_default_timeout(PATIENCE)
    yield opened
    opened.close()


def drawn(page: Any, address: str) -> None:
    """Go there and wait until the script has ended."""
    page.goto(address, timeout=PATIENCE)
    page.wait_for_selector("h1", timeout=PATIENCE)
    ended(page)


def ended(page: Any) -> None:
    """Wait until the page's script has ended."""
    page.wait_for_selector(
        '[data-testid="stApp"][data-test-script-state="notRunning"]', timeout=PATIENCE
    )


LOOKED_AT = [
    pytest.param(name, visitor, marks=[] if (i + j) % 2 == 0 else pytest.mark.nightly)
    for i, name in enumerate(ADDRESSES) for j, visitor in enumerate(VISITORS)
]  # fmt: skip
"""Each page by one visitor with each commit, by the other at night."""


@pytest.mark.parametrize(("name", "visitor"), LOOKED_AT)
def test_every_page_without_error_and_without_leaving_this_machine(visitors, served, name, visitor):
    page = visitors[visitor].new_page()
    requests: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on(
        "console", lambda message: errors.append(message.text) if message.type == "error" else None
    )
    drawn(page, f"{served}/{name}")
    if name != "run":
        page.wait_for_selector(".js-plotly-plot .xtick text", state="attached", timeout=PATIENCE)
        assert is_light(page, ".js-plotly-plot .xtick text") == (VISITORS[visitor][0] == "dark")
    assert page.locator('[data-testid="stException"]').count() == 0
    assert [error for error in errors if not KNOWN.search(error)] == []
    assert [url for url in requests if not url.startswith((served, "data:", "blob:"))] == []
    sideways = (
        "(e => e.scrollWidth - e.clientWidth)(document.querySelector('[data-testid=stMain]'))"
    )
    assert page.evaluate(sideways) <= 0
    if axe is not None:
        assert faults(page) == []
    page.close()


BELOW = """() => {
  const [table, plot] = [".st-key-overview-table [data-testid=stDataFrame]", ".js-plotly-plot"]
    .map(one => document.querySelector(one).getBoundingClientRect());
  return plot.top >= table.bottom && plot.top < table.bottom + 120;
}"""


def test_the_table_stands_beside_the_trade_off_and_above_it_on_a_telephone(visitors, served):
    found = {}
    for visitor in VISITORS:
        page = visitors[visitor].new_page()
        drawn(page, served)
        page.wait_for_selector(".js-plotly-plot .xtick", state="attached", timeout=PATIENCE)
        boxes = [
            page.locator(selector).first.bounding_box()
            for selector in (
                ".st-key-overview-table [data-testid=stDataFrame]",  # not one further down
                ".js-plotly-plot",
            )
        ]
        found[visitor] = boxes
        if visitor == "desktop":  # where they stand below each other, nothing is between them
            page.set_viewport_size({"width": 1024, "height": 900})
            page.wait_for_function(BELOW, timeout=PATIENCE)
        page.close()
    table, plot = found["desktop"]
    assert table["x"] + table["width"] <= plot["x"]
    assert max(box["y"] + box["height"] for box in (table, plot)) <= 900  # of the first screen
    table, plot = found["phone"]
    assert table["y"] + table["height"] <= plot["y"]
    assert max(box["x"] + box["width"] for box in (table, plot)) <= 420


@pytest.mark.nightly
def test_what_is_chosen_of_a_few_is_written_no_paler_than_the_rest(visitors, served):
    for visitor in VISITORS:
        page = visitors[visitor].new_page()
        drawn(page, f"{served}/curvature")
        page.wait_for_selector("[data-variant][data-selected]", timeout=PATIENCE)
        colors = page.locator("[data-testid=stButtonGroup] [data-variant]").evaluate_all(
            "all => all.map(one => getComputedStyle(one.querySelector('p') ?? one).color)"
        )
        page.close()
        assert len(colors) > 1 and len(set(colors)) == 1, visitor


@pytest.mark.nightly
@pytest.mark.parametrize("name", ADDRESSES)
def test_a_figure_begins_on_the_first_screen_of_a_telephone(visitors, served, name):
    page = visitors["phone"].new_page()
    drawn(page, f"{served}/{name}")
    seen = "img[src^='data:image/png']" if name == "images" else "[data-testid=stPlotlyChart]"
    page.wait_for_selector(f"[data-testid=stMain] {seen}", timeout=PATIENCE)
    ended(page)
    first = page.locator(f"[data-testid=stMain] {seen}").first
    if name != "images":  # figures are drawn in any order: the first one may be the last
        first.locator(".js-plotly-plot").wait_for(timeout=PATIENCE)
    box = first.bounding_box()
    page.close()
    assert box["y"] < 850 and box["x"] + box["width"] <= 420


def faults(page: Any) -> list[str]:
    """What axe-core says of a page, a line each."""
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:200]}"
        for rule in found if rule["id"] not in STREAMLITS_OWN for node in rule["nodes"]
    ]  # fmt: skip


def test_axe_is_there_to_look_at_the_pages_above(page, served):
    if axe is None:
        pytest.skip("accessibility is tested with axe-playwright-python")
    page.goto("about:blank")
    page.set_content("<html><body><img src='data:,'></body></html>")
    assert any(line.startswith("image-alt") for line in faults(page))  # it sees what is wrong


def is_light(page: Any, selector: str) -> bool:
    """Whether the first text there is nearer to white than to black."""
    color = page.evaluate(f"getComputedStyle(document.querySelector('{selector}')).fill")
    return sum(int(part) for part in re.findall(r"\d+", color)[:3]) / 3 > 128


def test_a_figure_in_the_browser_holds_the_numbers_of_the_record(page, served, lab):
    drawn(page, f"{served}/drift?runs=toy%2Fft-s0&runs=toy%2Fgrace-s0")
    page.wait_for_selector(".js-plotly-plot .xtick", state="attached", timeout=PATIENCE)
    told = page.evaluate(
        "JSON.stringify([...document.querySelectorAll('.js-plotly-plot')[0].data]"
        ".filter(t => t.name == 'grace-s0').map(t => Array.from(t.y._inputArray ?? t.y)))"
    )
    record = Result.load(lab / "toy/analyses/representation_drift.json").parts["grace-s0"]
    assert json.loads(told)[0] == pytest.approx(record.arrays["cka/id"][0].tolist(), rel=1e-5)


def test_a_link_opened_elsewhere_shows_the_same_choice(page, browser, served):
    drawn(page, f"{served}/?runs=toy%2Fft-s0&runs=toy%2Fgrace-s0&baseline=toy%2Fgrace-s0&sets=adv")
    page.get_by_role("link", name="Weights").click()
    page.wait_for_selector("h1:has-text('weights')", timeout=PATIENCE)
    page.wait_for_url(
        lambda url: all(part in url for part in ("runs=", "sets=adv", "baseline=")),
        timeout=PATIENCE,
    )
    link = page.url
    other = browser.new_context()
    page = other.new_page()
    drawn(page, link)
    assert "/weights?" in page.url
    page.wait_for_selector(
        '[data-testid="stSidebar"] [data-testid="stSelectbox"]', timeout=PATIENCE
    )
    controls = page.locator('[data-testid="stSidebar"] [data-testid="stMultiSelect"]')
    runs, *_, sets = controls.all_inner_texts()
    assert "ft-s0" in runs and "grace-s0" in runs and "zero-shot-s0" not in runs
    assert "under attack" in sets
    baseline = page.locator('[data-testid="stSidebar"] [data-testid="stSelectbox"]')
    assert "grace-s0" in baseline.filter(has_text="Baseline").inner_html()
    other.close()


def test_back_undoes_a_choice_and_links_between_pages_carry_it(page, served):
    chosen = "[data-testid=stSidebar] [data-testid=stMultiSelect]"
    drawn(page, f"{served}/?runs=toy%2Fft-s0&runs=toy%2Fgrace-s0")
    page.get_by_role("button", name=re.compile("grace-s0")).first.click()
    page.wait_for_url(lambda url: "grace-s0" not in url, timeout=PATIENCE)
    ended(page)
    link = page.get_by_role("link", name="Weights").get_attribute("href")
    assert "runs=toy%2Fft-s0" in link and "grace" not in link
    page.go_back()
    page.wait_for_url(lambda url: "grace-s0" in url, timeout=PATIENCE)
    page.wait_for_selector(f"{chosen}:has-text('grace-s0')", timeout=PATIENCE)
    ended(page)
    assert page.title().startswith("Overview · ") and page.title().endswith("toy · grace_geom")


@pytest.mark.nightly
def test_back_undoes_a_control_of_a_page(page, served):
    # A whole choice: the page adds nothing to it, which would be a step that Back undoes instead.
    whole = "runs=toy%2Fft-s0&runs=toy%2Fgrace-s0&baseline=toy%2Fft-s0"
    drawn(page, f"{served}/training?{whole}")
    page.get_by_role("button", name="Smoothing and axes").click()
    page.get_by_role("radio", name="Automatic", checked=True).wait_for(timeout=PATIENCE)
    page.locator("[data-testid=stButtonGroup] button").filter(has_text="Logarithmic").click()
    page.wait_for_url(lambda url: "training_axes=Logarithmic" in url, timeout=PATIENCE)
    page.get_by_role("radio", name="Logarithmic", checked=True).wait_for(timeout=PATIENCE)
    ended(page)
    page.go_back()
    page.wait_for_url(lambda url: "training_axes" not in url, timeout=PATIENCE)
    # The browser takes the address back by itself; the control follows only if the page does.
    page.get_by_role("radio", name="Automatic", checked=True).wait_for(timeout=PATIENCE)


def test_the_tab_key_reaches_the_page_at_once(page, served):
    drawn(page, served)
    page.wait_for_selector("[class*=skip]", state="attached", timeout=PATIENCE)
    for _ in range(6):  # past the buttons of Streamlit's own frame
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className.includes('skip')"):
            break
    else:
        raise AssertionError("six steps of the Tab key do not reach the link to the page")
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#content"
    assert page.locator("#content").evaluate("e => e.tagName") == "H1"


def test_downloads_hold_the_numbers_and_the_figure(page, served, tmp_path):
    drawn(page, served)
    page.wait_for_function(
        "document.querySelectorAll('[data-testid=stDownloadButton]').length >= 4", timeout=PATIENCE
    )
    ended(page)

    def download(button: Any) -> bytes:
        with page.expect_download(timeout=PATIENCE) as waiting:
            button.click()
        return Path(waiting.value.path()).read_bytes()

    head = "run,ID,ID low,ID high,Adv,Adv low,Adv high,OOD,OOD low,OOD high"  # of both plots
    for _ in range(10):  # a page that is being drawn moves its buttons: what counts is the end
        table = download(page.get_by_role("button", name="Data (CSV)").first).decode()
        if table.startswith(head):
            break
        page.wait_for_timeout(1000)
    assert table.startswith(head) and "toy/grace-s0," in table
    page.get_by_role("button", name="Figure", exact=True).first.click()
    kinds = {"PNG": b"\x89PNG", "PDF for a paper": b"%PDF", "HTML": b"<!doctype html>"}
    for name, begin in kinds.items():
        button = page.get_by_role("button", name=name, exact=True)
        button.wait_for(timeout=PATIENCE)
        assert download(button).startswith(begin)
    drawing = download(page.get_by_role("button", name="Interactive HTML", exact=True))
    (where := tmp_path / "figure.html").write_bytes(drawing)
    alone = page.context.new_page()
    alone.goto(where.as_uri())
    alone.wait_for_selector("#figure .main-svg", timeout=PATIENCE)  # plotly unpacked itself
    alone.close()
    page.keyboard.press("Escape")
    page.locator(".js-plotly-plot").first.hover()
    camera = page.locator('.js-plotly-plot [data-title^="Download plot as a"]').first
    assert download(camera).startswith(b"\x89PNG")
