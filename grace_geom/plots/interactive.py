"""Interactive figures in a page: plotly's code once, inside or elsewhere, and a script for each
figure, which draws it when it comes near to the window, as wide or as narrow as that is.
"""

import base64
import gzip
import hashlib
import html
import json
import math
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs, get_plotlyjs_version

from grace_geom.files import write_text

_SPEC, _OTHER = "const spec = ", "const narrow = "
Plotly = Literal["inside", "packed", "cdn", "beside"]
"""Where a page has plotly's code from; see :func:`plotly_once`."""
BESIDE = "plotly.min.js"
"""The file of plotly's code, in the folder of the pages that have it ``"beside"``."""

_UNPACK = """const ready = (async () => {
  if (!window.DecompressionStream)
    throw "No figure: this browser is older than 2023 and cannot unpack plotly.js.";
  const bytes = Uint8Array.from(atob(document.getElementById("plotly").textContent),
                                (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  (0, eval)(await new Response(stream).text());
})();
"""
_LOADED = """const ready = window.Plotly ? Promise.resolve() : Promise.reject("No figure: WHY");
ready.catch(() => 0);
"""
_MISSING = {
    "beside": f"{BESIDE} must lie in the folder of this page; copy it there, or write the page "
    "again with --plotlyjs packed.",
    "cdn": "plotly.js was not loaded from cdn.plot.ly; it needs a network.",
}
_PLACE = """function place(id, wide, change, draw) {
  const box = document.getElementById(id), least = box.style.minWidth;
  const small = change && {layout: change.layout, data: change.data ||
    wide.data.map((trace, i) => ({...trace, ...change.traces[i]}))};
  let near = false, shown = null;
  const now = () => {
    const room = box.parentElement.clientWidth;
    if (!room) return;
    const fit = small && room < 600 ? small : wide;
    box.style.height = `${fit.layout.height || 450}px`;
    box.style.minWidth = fit === wide ? least : `${change.least}px`;
    if (near && fit !== shown)
      ready.then(() => draw(fit), (why) => { box.textContent = why; }), shown = fit;
  };
  const come = () => { near = true; now(); };
  now();
  addEventListener("resize", now);
  addEventListener("beforeprint", come);
  new IntersectionObserver((seen) => seen.some((s) => s.isIntersecting) && come(),
                           {rootMargin: "600px"}).observe(box);
}
"""
"""Draws a figure when it comes near to the window, wide or narrow; where plotly's code is missing,
words that say why stand in the figure's place.
"""


@lru_cache(maxsize=1)
def packed_plotly() -> str:
    """plotly's code, compressed (gzip) and in letters (base64); the same each time."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode("ascii")


def plotly_once(plotlyjs: Plotly = "packed") -> str:
    """The part of a page that gives plotly to all of its :func:`embedded` figures.

    Args:
        plotlyjs: Where plotly's code is. ``"packed"``: in the page, compressed, 2 MB: it opens
            without a network in browsers since 2023. ``"inside"``: as it is, 5 MB. ``"beside"``:
            in a ``plotly.min.js`` in the same folder (:func:`write_plotly`); ``"cdn"``: on the
            network.
    """
    if plotlyjs == "packed":
        return (
            f'<script type="text/plain" id="plotly">{packed_plotly()}</script>'
            f"<script>{_UNPACK}{_PLACE}</script>"
        )
    loaded = _LOADED.replace("WHY", _MISSING.get(plotlyjs, ""))
    return f"{_script(plotlyjs)}<script>{loaded}{_PLACE}</script>"


def _script(plotlyjs: Plotly) -> str:
    """What loads plotly's code as it is."""
    if plotlyjs == "inside":
        return f"<script>{get_plotlyjs()}</script>"
    if plotlyjs == "beside":
        return f'<script charset="utf-8" src="{BESIDE}"></script>'
    digest = base64.b64encode(hashlib.sha256(get_plotlyjs().encode()).digest()).decode("ascii")
    return (
        f'<script charset="utf-8" src="https://cdn.plot.ly/plotly-{get_plotlyjs_version()}.min.js" '
        f'integrity="sha256-{digest}" crossorigin="anonymous"></script>'
    )


def write_plotly(folder: Path) -> Path:
    """Write plotly's code for the pages of a folder that have it ``"beside"``, where it is not yet.

    Raises:
        UserError: If it cannot be written.
    """
    path = folder / BESIDE
    code = get_plotlyjs()
    if not path.is_file() or path.stat().st_size != len(code.encode()):
        write_text(path, code)
    return path


def alone(page: str) -> str:
    """A page that has plotly ``"beside"``, with plotly packed into it; any other page as it is."""
    return page.replace(plotly_once("beside"), plotly_once())


def embedded(figure: go.Figure, id: str, plotly: str = "", narrow: go.Figure | None = None) -> str:
    """The part of a page that draws one figure, once :func:`plotly_once` stands before it and the
    figure comes near to the window.

    Args:
        figure: As it is shown on a screen.
        id: Of its element, no other on the page; letters, digits, ``-`` and ``_``.
        plotly: What is put before the script.
        narrow: The same numbers as they are shown on a telephone; what it has otherwise is written.
    """
    spec, other = _plain(figure), "null"
    if narrow is not None:
        other = json.dumps(_changes(json.loads(spec), narrow)).replace("</", "<\\/")
    return (
        f'<div id="{id}" class="plot" style="height:{figure.layout.height or 450}px;'
        f'min-width:{least_width(figure)}px"></div>{plotly}<script>{{ {_SPEC}{spec}; '
        f"{_OTHER}{other}; "
        f'place("{id}", spec, narrow, (s) => Plotly.newPlot("{id}", s.data, s.layout, '
        "{responsive: true, displaylogo: false, scrollZoom: false})); }</script>"
    )


def _plain(figure: go.Figure) -> str:
    """A figure in JSON that may stand in a script."""
    return json.dumps(json.loads(figure.to_json())).replace("</", "<\\/")


def _changes(wide: dict[str, Any], narrow: go.Figure) -> dict[str, Any]:
    """What a narrow figure has otherwise: its layout, its least width, and of each trace the
    settings that differ (``null``: it has none), so that numbers are written once.
    """
    spec = json.loads(narrow.to_json())
    found = {"layout": spec["layout"], "least": least_ticks(narrow)}
    if [t["type"] for t in spec["data"]] != [t["type"] for t in wide["data"]]:
        return found | {"data": spec["data"]}
    pairs = zip(wide["data"], spec["data"], strict=True)
    each = [{k: b.get(k) for k in a | b if a.get(k) != b.get(k)} for a, b in pairs]
    return found | {"traces": {str(i): change for i, change in enumerate(each) if change}}


PANEL, SQUARE = 300, 180
"""Pixels that a panel needs, and one of equal scales, which is no wider than it is high."""


def least_width(figure: go.Figure) -> int:
    """Pixels that the panels of a row and the notes below need: on a narrower page the figure is
    moved sideways, or its words would lie over each other.
    """
    layout, places = figure.layout.to_plotly_json(), set()
    for name, axis in layout.items():
        if name.startswith(("xaxis", "scene")):
            domain = axis.get("domain") or {}
            ends = domain.get("x", (0, 1)) if isinstance(domain, dict) else domain
            places.add(round(float(ends[0]) if len(ends) else 0.0, 2))
    upright = [axis for name, axis in layout.items() if name.startswith("yaxis")]
    square = bool(upright) and all(axis.get("scaleanchor") for axis in upright)
    panel = SQUARE if square else PANEL
    notes = (a for a in layout.get("annotations", ()) if a.get("xref") == "paper")
    lines = [line for a in notes for line in (a.get("text") or "").split("<br>")]
    longest = max((len(html.unescape(line)) for line in lines), default=0)
    return max(panel * max(len(places), 1), math.ceil(6 * longest))


def least_ticks(figure: go.Figure) -> int:
    """Pixels that upright names below the widest axis need."""
    names = [len(axis.ticktext or ()) for axis in figure.select_xaxes()]
    return 60 + 11 * max(names, default=0)


def figure_of_page(path: Path) -> go.Figure:
    """The figure of a page by :func:`save_html` as a desktop shows it.

    Raises:
        ValueError: If there is none.
        OSError: If the page cannot be read.
    """
    page = path.read_text(encoding="utf-8")
    start = page.find(_SPEC)
    if start < 0:
        raise ValueError(f"{path} holds no figure that can be taken out")
    spec, _ = json.JSONDecoder().raw_decode(page, start + len(_SPEC))
    return go.Figure(spec, skip_invalid=False)


def narrow_of_page(path: Path) -> go.Figure | None:
    """The same as a telephone shows it; ``None`` of a page without such a figure."""
    page = path.read_text(encoding="utf-8")
    decoder, start = json.JSONDecoder(), page.find(_SPEC)
    wide, end = decoder.raw_decode(page, start + len(_SPEC)) if start >= 0 else ({}, 0)
    at = page.find(_OTHER, end)
    change = decoder.raw_decode(page, at + len(_OTHER))[0] if start >= 0 and at >= 0 else None
    if change is None:
        return None
    data = change.get("data") or [
        {**trace, **change["traces"].get(str(i), {})} for i, trace in enumerate(wide["data"])
    ]
    return go.Figure({"data": data, "layout": change["layout"]}, skip_invalid=False)
