"""Every page in a real browser with no run to 200 runs, at three widths, light and dark, and every
control touched once.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.dashboard import make_drift, make_runs
from tests.app.test_browser import ADDRESSES, KNOWN, PATIENCE, browser, drawn, ended, serving

__all__ = ["browser"]
pytestmark = pytest.mark.nightly
WIDTHS = {1440: "light", 1024: "dark", 420: "light"}
TOUCHED = (
    ", ".join(
        f"[data-testid=stMain] [data-testid={name}] {part}"
        for name, part in (
            ("stCheckbox", "label"),
            ("stSelectbox", "input"),
            ("stMultiSelect", "input"),
            ("stTextInput", "input"),
        )
    )
    + ", [data-testid=stMain] [data-testid=stButtonGroup] button, [data-testid=stMain] summary"
)


@pytest.fixture(scope="module", params=[0, 1, 5, 60, 200])
def address(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A dashboard on so many runs, the first five with an analysis."""
    root = tmp_path_factory.mktemp(f"runs{request.param}")
    if request.param:
        make_drift(root, make_runs(root, request.param, n=200)[:5])
    with serving(root) as found:
        yield found


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ADDRESSES)
def test_no_page_fails_at_any_width_whatever_is_touched(browser, address, name, width):
    page = browser.new_page(
        color_scheme=WIDTHS[width], viewport={"width": width, "height": 900},
        reduced_motion="reduce",
    )  # fmt: skip
    page.set_default_timeout(PATIENCE)
    requests, errors = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    drawn(page, f"{address}/{name}")
    for i in range(min(40, page.locator(TOUCHED).count())):
        control = page.locator(TOUCHED).nth(i)
        if control.count() and control.is_visible():
            control.click(force=True)
            page.keyboard.press("Escape")
            ended(page)
    assert page.locator("[data-testid=stException]").count() == 0
    assert [error for error in errors if not KNOWN.search(error)] == []
    assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []
    tall = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    assert tall < 25_000  # 200 stalled runs once made a page of 31,512 pixels
    page.close()
