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
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from grace_geom.records import Result

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
PAGES = (
    "",
    "curvature",
    "landscape",
    "drift",
    "features",
    "robustness",
    "weights",
    "training",
    "run",
)
KNOWN = re.compile(r"404 \(Not Found\)")
"""Streamlit asks for two files below the page's own path first; its own fallback finds them."""


@pytest.fixture(scope="module")
def served(lab: Path) -> Iterator[str]:
    """Address of a dashboard that was started as a user starts it, from another folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        str(ROOT / "app/main.py"),
        "--server.port",
        str(port),
    ]
    process = subprocess.Popen(
        [*command, "--", "--runs", str(lab)], cwd=lab, stdout=subprocess.DEVNULL
    )
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(300):
            with suppress(OSError), urllib.request.urlopen(f"{address}/_stcore/health", timeout=1):
                break
            time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=20)


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


def drawn(page: Any, address: str) -> None:
    """Go there and wait until the script has ended and the figures are there."""
    page.goto(address)
    page.wait_for_selector("h1", timeout=60_000)
    page.wait_for_selector(
        '[data-testid="stApp"][data-test-script-state="notRunning"]', timeout=60_000
    )
    page.wait_for_timeout(500)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_every_page_without_error_and_without_leaving_this_machine(browser, served, name, theme):
    context = browser.new_context(color_scheme=theme, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    requests: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on(
        "console", lambda message: errors.append(message.text) if message.type == "error" else None
    )
    drawn(page, f"{served}/{name}")
    assert page.locator('[data-testid="stException"]').count() == 0
    assert [error for error in errors if not KNOWN.search(error)] == []
    assert [url for url in requests if not url.startswith((served, "data:", "blob:"))] == []
    if name != "run":
        page.wait_for_selector(".js-plotly-plot .xtick", state="attached", timeout=60_000)
        color = page.evaluate(
            "getComputedStyle(document.querySelector('.js-plotly-plot .xtick text')).fill"
        )
        shade = sum(int(part) for part in re.findall(r"\d+", color)[:3]) / 3
        assert (shade > 128) == (
            theme == "dark"
        )  # text on the ground that the visitor's system asks for
    context.close()


def test_a_figure_in_the_browser_holds_the_numbers_of_the_record(browser, served, lab):
    context = browser.new_context()
    page = context.new_page()
    drawn(page, f"{served}/drift?runs=toy%2Fft-s0&runs=toy%2Fgrace-s0")
    page.wait_for_selector(".js-plotly-plot", timeout=60_000)
    told = page.evaluate(
        "JSON.stringify([...document.querySelectorAll('.js-plotly-plot')[0].data]"
        ".filter(t => t.name == 'grace-s0').map(t => Array.from(t.y._inputArray ?? t.y)))"
    )
    record = Result.load(lab / "toy/analyses/representation_drift.json").parts["grace-s0"]
    assert json.loads(told)[0] == pytest.approx(record.arrays["cka/id"][0].tolist(), rel=1e-5)
    context.close()


def test_a_narrow_page_does_not_scroll_sideways(browser, served):
    context = browser.new_context(viewport={"width": 420, "height": 900})
    page = context.new_page()
    for path in PAGES:
        drawn(page, f"{served}/{path}")
        excess = (
            "(e => e.scrollWidth - e.clientWidth)(document.querySelector('[data-testid=stMain]'))"
        )
        assert page.evaluate(excess) <= 0, path
    context.close()


def test_a_link_opened_elsewhere_shows_the_same_choice(browser, served):
    context = browser.new_context()
    page = context.new_page()
    drawn(page, f"{served}/?runs=toy%2Fft-s0&runs=toy%2Fgrace-s0&baseline=toy%2Fgrace-s0&sets=adv")
    page.get_by_role("link", name="Weights").click()
    page.wait_for_selector("h1:has-text('weights')", timeout=60_000)
    page.wait_for_url(
        lambda url: all(part in url for part in ("runs=", "sets=adv", "baseline=")), timeout=60_000
    )
    link = page.url
    context.close()
    other = browser.new_context()
    page = other.new_page()
    drawn(page, link)
    assert "/weights?" in page.url
    runs, sets = page.locator(
        '[data-testid="stSidebar"] [data-testid="stMultiSelect"]'
    ).all_inner_texts()
    assert "ft-s0" in runs and "grace-s0" in runs and "zero-shot-s0" not in runs
    assert "under attack" in sets
    assert (
        "grace-s0"
        in page.locator('[data-testid="stSidebar"] [data-testid="stSelectbox"]').inner_html()
    )
    other.close()


def test_downloads_hold_the_numbers_and_the_figure(browser, served):
    context = browser.new_context(accept_downloads=True, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    drawn(page, served)
    page.wait_for_function(
        "document.querySelectorAll('[data-testid=stDownloadButton]').length >= 7", timeout=60_000
    )
    page.wait_for_selector(
        '[data-testid="stApp"][data-test-script-state="notRunning"]', timeout=60_000
    )

    def download(button: Any) -> bytes:
        with page.expect_download(timeout=60_000) as waiting:
            button.click()
        return Path(waiting.value.path()).read_bytes()

    for y, place in (("Adv", 0), ("OOD", 1)):
        for _ in range(
            10
        ):  # a page that is still being drawn moves its buttons: what counts is where they end
            table = download(page.get_by_role("button", name="Data (CSV)").nth(place)).decode()
            if table.startswith(f"run,ID,ID low,ID high,{y},"):
                break
            page.wait_for_timeout(1000)
        assert table.startswith(f"run,ID,ID low,ID high,{y},{y} low,{y} high")
        assert "toy/grace-s0," in table
    for button in page.get_by_role("button", name="Figure (HTML)").all()[
        :3:2
    ]:  # a single figure, and panels
        figure = download(button).decode()
        assert "Plotly.newPlot" in figure
        assert 'src="http' not in figure
    page.locator(".js-plotly-plot").first.hover()
    camera = page.locator('.js-plotly-plot [data-title^="Download plot as a"]').first
    assert download(camera).startswith(b"\x89PNG")
    context.close()
