"""A plotly figure drawn by matplotlib: the same numbers and the same look, for print, without a
browser.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import matplotlib as mpl
import plotly.graph_objects as go
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from grace_geom.plots import axes, grids, marks, notes, units
from grace_geom.plots.sheet import Panel, Sheet
from grace_geom.plots.style import FLAT, SOLID

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters on every machine
    "mathtext.fontset": "dejavusans",
    "mathtext.default": "regular",
    "figure.dpi": 200,
    "font.size": 7,
    "text.hinting": "none",  # letters as wide at every resolution: what fits, fits in each file
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
    "axes.labelpad": 2.5,
    "axes.axisbelow": True,
    "grid.color": "#e3e5e9",  # of scenes; flat axes have their own
    "grid.linewidth": 0.5,
    "axes.facecolor": "none",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "pdf.fonttype": 42,
    "svg.hashsalt": "grace_geom",
    "path.simplify": False,
    "hatch.linewidth": 0.6,
}

Family = Literal["sans", "serif"]
_SERIF: dict[Any, Any] = {
    "font.family": "STIXGeneral",  # comes with matplotlib too: the widths and forms of Times
    "mathtext.fontset": "stix",
}

_LAYOUT = """template title font showlegend legend margin height width paper_bgcolor plot_bgcolor
annotations shapes images barmode bargap bargroupgap colorway autosize"""
_SCREEN = """hoverlabel hovermode hoversubplots uirevision dragmode clickmode modebar hoverdistance
spikedistance"""


def draw(
    figure: go.Figure,
    width_in: float,
    height_in: float | None = None,
    letters: float | None = None,
    family: Family = "sans",
) -> Figure:
    """Draw a plotly figure with matplotlib.

    What only a screen needs (hover texts, views, transparent grounds) is left out, margins are what
    the labels need, and the ground is white. Traces that start hidden are not drawn.

    Args:
        figure: Of scatter, bar, histogram, heatmap, contour, image, surface and scatter3d traces.
        width_in, height_in: Printed size in inches; the height defaults to the figure's own, at
            ``units.POINTS`` points a pixel.
        letters: Points of all letters; default: each as large as on a screen, at ``units.POINTS``
            points a pixel.
        family: Letters without serifs, or those of Times.

    Returns:
        A figure that belongs to no window; write it with ``savefig`` inside ``style(family)``.

    Raises:
        ValueError: Names the trace or setting that this drawing would lose, or says that the labels
            leave no room at this size.
    """
    traces = [units.unpacked(trace.to_plotly_json()) for trace in figure.data]
    layout = units.unpacked(figure.layout.to_plotly_json())
    _check(traces, layout)
    with style(family), units.letters(letters):
        sheet = Sheet(width_in, height_in or inches_high(figure), layout)
        FigureCanvasAgg(sheet.figure)
        shown = [t | {"_turn": i} for i, t in enumerate(traces) if t.get("visible", True) is True]
        _flat(sheet, [t for t in shown if t["type"] in FLAT], layout)
        _spaces(sheet, [t for t in shown if t["type"] in SOLID], layout)
        notes.draw(sheet, layout)
        sheet.legend(layout, traces)
        sheet.arrange()
    return sheet.figure


def inches_high(figure: go.Figure) -> float:
    """The height of a figure in print: what it is on a screen, or 2.4 inches."""
    pixels = figure.layout.height
    return units.points(pixels) / 72 if pixels else 2.4


def style(family: Family = "sans") -> Any:
    """matplotlib's settings for drawing and for writing; a context."""
    return mpl.rc_context(STYLE | (_SERIF if family == "serif" else {}))


def _check(traces: Sequence[Mapping[str, Any]], layout: Mapping[str, Any]) -> None:
    for trace in traces:
        if trace["type"] not in FLAT + SOLID:
            raise ValueError(
                f'cannot draw a trace of type {trace["type"]!r}: save it with engine="browser"'
            )
    numbered = ("xaxis", "yaxis", "scene", "coloraxis")
    flat = {k: v for k, v in layout.items() if not k.rstrip("0123456789").startswith(numbered)}
    units.known("layout", flat, f"{_LAYOUT} {_SCREEN}")
    ink = units.color((layout.get("font") or {}).get("color", "#262730"))
    if 0.299 * ink[0] + 0.587 * ink[1] + 0.114 * ink[2] > 0.6:
        raise ValueError(
            "the figure is dressed for dark ground: dress it for light ground to print"
        )


def _way(trace: Mapping[str, Any], layout: Mapping[str, Any]) -> str:
    template = ((layout.get("template") or {}).get("layout") or {}).get("colorway")
    colors = layout.get("colorway") or template or units.COLORWAY
    return str(colors[trace["_turn"] % len(colors)])


def _settings(name: str, layout: Mapping[str, Any]) -> Mapping[str, Any]:
    return layout.get(f"{name[0]}axis{name[1:]}") or {}


def _data(traces: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    """All values along an axis, traces in order."""
    which = name[0]
    found = [t[which] for t in traces if t.get(f"{which}axis", which) == name]
    return [values for values in found if values is not None and len(values)]


def _flat(sheet: Sheet, traces: Sequence[dict[str, Any]], layout: Mapping[str, Any]) -> None:
    """All panels with two axes."""
    pairs = dict.fromkeys((t.get("xaxis", "x"), t.get("yaxis", "y")) for t in traces)
    if not traces and not any(k.startswith("scene") for k in layout):
        pairs = {("x", "y"): None}
    scales = {}
    for name in dict.fromkeys(n for pair in pairs for n in pair):
        along = [t for t in traces if t.get(name[0]) is not None]
        scales[name] = axes.Scale(name, _settings(name, layout), _data(along, name))
    for x, y in pairs:
        panel = sheet.panel(scales[x], scales[y])
        of = [t for t in traces if (t.get("xaxis", "x"), t.get("yaxis", "y")) == (x, y)]
        _panel(sheet, panel, of, layout)
    spans = _spans(sheet, scales)
    for panel in sheet.panels:
        for which, scale, other in (("x", panel.x, panel.y), ("y", panel.y, panel.x)):
            anchor = scale.set.get("anchor", other.name)
            first = next(p for p in sheet.panels if scale.name in (p.x.name, p.y.name))
            shown = anchor == other.name or (anchor not in scales and panel is first)
            axes.dress(panel.ax, which, scale, shown, spans.get(scale.name))
            if scale.set.get("scaleanchor"):
                box: Any = "box" if scale.set.get("constrain") == "domain" else "datalim"
                panel.ax.set_aspect(float(scale.set.get("scaleratio", 1)), adjustable=box)


def _panel(
    sheet: Sheet, panel: Panel, traces: Sequence[dict[str, Any]], layout: Mapping[str, Any]
) -> None:
    points = any(t.get("mode", "lines+markers") != "lines" for t in traces if _has_points(t))
    panel.cells = any(t["type"] in ("bar", "histogram", "heatmap") for t in traces)
    solid = all(t["type"] in ("heatmap", "contour", "image") or (t.get("mode") == "markers"
                and t["type"] == "scatter") for t in traces)  # fmt: skip
    panel.ax.margins(x=0.05 if points and not solid else 0 if not points else 0.05, y=0.06)
    before: tuple | None = None
    columns: list[tuple[dict[str, Any], marks.Place]] = []
    for turn, trace in enumerate(traces):
        order = 2 + 0.01 * turn + float(trace.get("zorder", 0))
        own = {k: v for k, v in trace.items() if k != "_turn"}
        place = marks.Place(panel.ax, panel.x, panel.y, _way(trace, layout), order)
        kind = trace["type"]
        if kind in ("scatter", "scattergl"):
            sheet.handles[trace["_turn"]], before = marks.scatter(own, place, before)
        elif kind == "heatmap":
            grids.heatmap(own, place, layout)
        elif kind == "contour":
            grids.contour(own, place, layout)
        elif kind == "image":
            grids.image(own, place)
        else:
            columns.append((trace, place))
    if columns:
        own_bars = [{k: v for k, v in t.items() if k != "_turn"} for t, _ in columns]
        bars = [marks.histogram(t) if t["type"] == "histogram" else t for t in own_bars]
        made = marks.bars(bars, [place for _, place in columns], layout)
        sheet.handles |= {t["_turn"]: [h] for (t, _), h in zip(columns, made, strict=True)}


def _has_points(trace: Mapping[str, Any]) -> bool:
    """Whether it is a scatter trace that shows something: some stand in the legend only."""
    ys = trace.get("y")
    return "scatter" in trace["type"] and ys is not None and any(y is not None for y in ys)


def _spans(sheet: Sheet, scales: Mapping[str, axes.Scale]) -> dict[str, tuple[float, float]]:
    """The range of every axis that has none, over all panels that share it or match it."""

    def root(name: str) -> str:
        match = scales[name].set.get("matches")
        return root(str(match)) if match in scales and match != name else name

    ends: dict[str, list[tuple[float, float]]] = {}
    for panel in sheet.panels:
        for which, scale in (("x", panel.x), ("y", panel.y)):
            found = scale.limits() or getattr(panel.ax, f"get_{which}lim")()
            if scale.kind == "category" and scale.limits() is None and panel.cells:
                found = (-0.5, len(scale.categories) - 0.5)
            ends.setdefault(root(scale.name), []).append(found)
    joined = {name: (min(map(min, e)), max(map(max, e))) for name, e in ends.items()}
    shared = {root(n) for n in scales if root(n) != n}
    many = {n for n in scales if sum(n in (p.x.name, p.y.name) for p in sheet.panels) > 1}
    rows = {n for n, scale in scales.items() if scale.kind == "category"}
    return {n: joined[root(n)] for n in scales if root(n) in shared or n in many | rows}


def _spaces(sheet: Sheet, traces: Sequence[dict[str, Any]], layout: Mapping[str, Any]) -> None:
    """All panels with three axes."""
    for name in dict.fromkeys(t.get("scene", "scene") for t in traces):
        settings = layout.get(name) or {}
        ax = grids.space(sheet.figure, settings, name)
        sheet.solids.append((ax, settings.get("domain") or {}))
        for trace in traces:
            if trace.get("scene", "scene") == name:
                own = {k: v for k, v in trace.items() if k != "_turn"}
                handle = grids.solid(own, ax, _way(trace, layout))
                sheet.handles[trace["_turn"]] = [handle]
        grids.dress_space(ax, settings)
