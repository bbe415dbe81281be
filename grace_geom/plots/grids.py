"""Traces of grids as matplotlib's artists: heat maps, contours, pictures, surfaces, colour bars."""

import base64
import io
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap, Normalize
from matplotlib.figure import Figure
from PIL import Image

from grace_geom.plots import units
from grace_geom.plots.axes import Scale
from grace_geom.plots.marks import SCREEN, Place
from grace_geom.plots.texts import inline

_COLORS = "colorscale reversescale autocolorscale showscale colorbar zauto zmin zmax zmid coloraxis"
_HEAT = "x y z x0 dx y0 dy xtype ytype text texttemplate textfont opacity zsmooth hoverongaps"


def colors(
    trace: Mapping[str, Any], layout: Mapping[str, Any], z: np.ndarray, low: str, high: str
) -> tuple[Any, Normalize, Mapping[str, Any] | None]:
    """The colour map of a trace, its ends, and the settings of its colour bar (``None``: no bar).

    Args:
        trace: The trace, or the marker of one.
        layout: Of the figure, for a shared ``coloraxis``.
        z: What is coloured.
        low, high: Names of the ends: ``zmin`` and ``zmax``, ``cmin`` and ``cmax``.
    """
    given = trace
    if trace.get("coloraxis"):
        given = layout.get(trace["coloraxis"]) or {}
        low, high = "cmin", "cmax"
        units.known(trace["coloraxis"], given,
                    "colorscale reversescale showscale colorbar cmin cmax cauto")  # fmt: skip
    if given.get("zmid") is not None or given.get("cmid") is not None:
        raise ValueError(f"cannot draw {trace.get('type')}.zmid: give zmin and zmax")
    finite = z[np.isfinite(z)]
    ends = [float(given[name]) if given.get(name) is not None
            else float(pick(finite)) if finite.size else 0.0
            for name, pick in ((low, np.min), (high, np.max))]  # fmt: skip
    norm = Normalize(ends[0], ends[1] if ends[1] > ends[0] else ends[0] + 1)
    bar = (given.get("colorbar") or {}) if given.get("showscale", True) else None
    return units.colormap(given.get("colorscale"), bool(given.get("reversescale"))), norm, bar


def _edges(trace: Mapping[str, Any], which: str, scale: Scale, n: int) -> np.ndarray:
    """``(n + 1,)`` borders of cells from their middles, or as they are given."""
    if trace.get(which) is None:
        start, step = float(trace.get(f"{which}0", 0)), float(trace.get(f"d{which}", 1))
        return start + step * (np.arange(n + 1) - 0.5)
    at = scale.at(trace[which])
    if len(at) == n + 1:
        return at
    if len(at) != n:
        raise ValueError(f"a heat map of {n} cells along {which} has {len(at)} places")
    if scale.kind == "log":
        at = np.log10(at)
    between = (at[1:] + at[:-1]) / 2
    first = at[0] - ((at[1] - at[0]) / 2 if n > 1 else 0.5)
    last = at[-1] + ((at[-1] - at[-2]) / 2 if n > 1 else 0.5)
    edges = np.r_[first, between, last]
    return 10**edges if scale.kind == "log" else edges


def heatmap(
    trace: Mapping[str, Any], place: Place, layout: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """Coloured cells, with their words, and the colour bar beside them."""
    units.known("heatmap", trace, f"{SCREEN} {_COLORS} {_HEAT}")
    if trace.get("zsmooth") not in (None, False):
        raise ValueError(f"cannot draw heatmap.zsmooth {trace['zsmooth']!r}")
    z = units.numbers(trace["z"])
    cmap, norm, bar = colors(trace, layout, z, "zmin", "zmax")
    mesh = place.ax.pcolormesh(
        _edges(trace, "x", place.x, z.shape[1]), _edges(trace, "y", place.y, z.shape[0]),
        np.ma.masked_invalid(z), cmap=cmap, norm=norm, alpha=trace.get("opacity"),
        rasterized=z.size > 4096, zorder=place.order, linewidth=0,
    )  # fmt: skip
    if trace.get("texttemplate"):
        _cell_words(trace, place, z, mesh)
    if bar is not None:
        colorbar(place.ax.figure, place.ax, mesh, bar)
    return bar


def _cell_words(trace: Mapping[str, Any], place: Place, z: np.ndarray, mesh: Any) -> None:
    font = trace.get("textfont") or {}
    xs, ys = (_edges(trace, w, s, n) for w, s, n in
              (("x", place.x, z.shape[1]), ("y", place.y, z.shape[0])))  # fmt: skip
    for (i, j), value in np.ndenumerate(z):
        if not np.isfinite(value):
            continue
        fields = {"z": value, "text": trace["text"][i][j] if "text" in trace else ""}
        red, green, blue = mesh.cmap(mesh.norm(value))[:3]
        pale = 0.299 * red + 0.587 * green + 0.114 * blue > 0.55
        place.ax.text(
            (xs[j] + xs[j + 1]) / 2, (ys[i] + ys[i + 1]) / 2,
            inline(_template(trace["texttemplate"], fields)), ha="center", va="center",
            fontsize=units.font_size(font), zorder=place.order + 0.5, clip_on=True,
            color=units.color(font.get("color", "#262730" if pale else "white")),
        )  # fmt: skip


def _template(template: str, fields: Mapping[str, Any]) -> str:
    def filled(found: re.Match[str]) -> str:
        name, spec = found[1], found[2] or ""
        if name not in fields or not re.fullmatch(r"(,?(\.\d+)?[fge%])?", spec):
            raise ValueError(f"cannot draw texttemplate {template!r}")
        return f"{fields[name]:{spec}}" if spec else f"{fields[name]}"

    return re.sub(r"%\{(\w+)(?::([^}]*))?\}", filled, template)


_CONTOUR = "x y z x0 dx y0 dy xtype ytype contours autocontour ncontours line opacity connectgaps"


def contour(
    trace: Mapping[str, Any], place: Place, layout: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """Level lines, and the bands between them in the colours that plotly gives them."""
    units.known("contour", trace, f"{SCREEN} {_COLORS} {_CONTOUR}")
    z, how, line = units.numbers(trace["z"]), trace.get("contours") or {}, trace.get("line") or {}
    units.known("contour.contours", how,
                "start end size coloring showlines showlabels labelfont type")  # fmt: skip
    units.known("contour.line", line, "color width dash smoothing")
    coloring = how.get("coloring", "fill")
    if coloring not in ("fill", "lines", "none") or how.get("type", "levels") != "levels":
        raise ValueError(f"cannot draw contour.contours.coloring {coloring!r}")
    if not {"start", "end", "size"} <= set(how):
        raise ValueError("cannot draw a contour without contours of start, end and size")
    cmap, norm, bar = colors(trace, layout, z, "zmin", "zmax")
    count = int(np.floor((how["end"] - how["start"]) / how["size"] + 1e-6)) + 1
    levels = how["start"] + how["size"] * np.arange(count)
    x, y = ((place.x if w == "x" else place.y).at(trace[w]) if trace.get(w) is not None
            else np.arange(n) for w, n in (("x", z.shape[1]), ("y", z.shape[0])))  # fmt: skip
    bands = ListedColormap(cmap(np.arange(count + 1) / count))
    inner = np.r_[levels[0] - how["size"], levels, levels[-1] + how["size"]]
    mappable = ScalarMappable(BoundaryNorm(inner, count + 1), bands)
    masked = np.ma.masked_invalid(z)
    if coloring == "fill":
        outer = np.r_[min(inner[0], np.nanmin(z)) - 1, levels, max(inner[-1], np.nanmax(z)) + 1]
        place.ax.contourf(x, y, masked, outer, colors=bands.colors, zorder=place.order,
                          alpha=trace.get("opacity"))  # fmt: skip
    if how.get("showlines", True) and line.get("width", 0.5) > 0:
        ink: dict[str, Any] = {"colors": [units.color(line.get("color", "#444444"))]}
        if coloring == "lines":
            ink = {"cmap": cmap, "norm": norm}
        drawn = place.ax.contour(x, y, masked, levels, zorder=place.order + 0.1, **ink,
                                 linewidths=max(0.3, units.points(line.get("width", 0.5))))  # fmt: skip
        if how.get("showlabels"):
            place.ax.clabel(drawn, fontsize=units.LEAST_FONT)
    if bar is not None and coloring != "none":
        colorbar(place.ax.figure, place.ax,
                 mappable if coloring == "fill" else ScalarMappable(norm, cmap), bar)  # fmt: skip
    return bar


_BAR = """title thickness thicknessmode outlinewidth outlinecolor tickvals ticktext tickmode dtick
tick0 nticks tickfont tickformat len lenmode x y xanchor yanchor xpad ypad ticks ticklen exponentformat
tickprefix ticksuffix bordercolor borderwidth bgcolor"""


def colorbar(figure: Any, ax: Any, mappable: Any, bar: Mapping[str, Any]) -> None:
    """A colour bar beside the axes that it belongs to, as high as their place: axes of equal scales
    may be lower."""
    units.known("colorbar", bar, _BAR)
    thick = units.points(bar.get("thickness", 12)) / 72

    def beside(_: Any, __: Any) -> Any:
        box, place = ax.get_position(), ax.get_position(original=True)
        wide, gap = thick / figure.get_figwidth(), 0.07 / figure.get_figwidth()
        return type(box).from_bounds(box.x1 + gap, place.y0, wide, place.height)

    cax = figure.add_axes((0.9, 0.1, 0.02, 0.8), label="colorbar", axes_locator=beside)
    drawn = figure.colorbar(mappable, cax=cax)
    drawn.outline.set_linewidth(units.points(bar.get("outlinewidth", 1)))
    drawn.minorticks_off()
    cax.tick_params(labelsize=units.font_size(bar.get("tickfont")), length=2, width=0.5)
    bar_scale = {k: v for k, v in bar.items() if k in ("tickvals", "ticktext", "tickformat")}
    if "tickvals" in bar:
        inside = [i for i, v in enumerate(bar["tickvals"])
                  if drawn.vmin - 1e-9 <= v <= drawn.vmax + 1e-9]  # fmt: skip
        texts = bar_scale.get("ticktext") or [f"{v:g}" for v in bar["tickvals"]]
        drawn.set_ticks(
            [bar["tickvals"][i] for i in inside], labels=[inline(texts[i]) for i in inside]
        )
    elif isinstance(bar.get("dtick"), int | float):
        drawn.locator = ticker.MultipleLocator(bar["dtick"], bar.get("tick0", 0))
        drawn.update_ticks()
    else:
        drawn.locator = ticker.MaxNLocator(bar.get("nticks") or 6, steps=[1, 2, 2.5, 5, 10])
        drawn.update_ticks()
    title = bar.get("title") or {}
    units.known("colorbar.title", title, "text side font")
    if title.get("text"):
        size = units.font_size(title.get("font"))
        if title.get("side", "top") == "right":
            cax.set_ylabel(inline(title["text"]), fontsize=size)
        else:
            cax.set_title(inline(title["text"]), fontsize=size, loc="left")


def picture(source: Any) -> np.ndarray:
    """Pixels ``(H, W, C)`` of a picture that the figure holds itself.

    Raises:
        ValueError: The picture lies behind an address.
    """
    if isinstance(source, Image.Image):
        return np.asarray(source.convert("RGBA"))
    if not str(source).startswith("data:image/"):
        raise ValueError("cannot draw a picture from an address: put its data into the figure")
    data = base64.b64decode(str(source).partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))


def image(trace: Mapping[str, Any], place: Place) -> None:
    """A trace of pixels, the first row above."""
    units.known("image", trace, f"{SCREEN} z source x0 dx y0 dy opacity colormodel zmin zmax")
    if trace.get("zmin") or trace.get("zmax"):
        raise ValueError("cannot draw image.zmin")
    pixels = picture(trace["source"]) if "source" in trace else np.asarray(trace["z"], np.uint8)
    height, width = pixels.shape[:2]
    left, step = float(trace.get("x0", 0)), float(trace.get("dx", 1))
    top, down = float(trace.get("y0", 0)), float(trace.get("dy", 1))
    place.ax.imshow(
        pixels, interpolation="nearest", alpha=trace.get("opacity"), zorder=place.order, aspect="auto",
        extent=(left - step / 2, left + step * (width - 0.5), top + down * (height - 0.5), top - down / 2),
    )  # fmt: skip


_SURFACE = """x y z surfacecolor cmin cmax cauto colorscale reversescale showscale colorbar opacity
contours"""
_SCATTER3D = "x y z mode marker line text opacity"
_SPHERE = 2.0
"""Points of a scene are about twice as large on a screen as their size says."""


def solid(trace: Mapping[str, Any], ax: Any, ink: str) -> Any:
    """A surface, or points and lines in space; a handle for the legend."""
    kind = str(trace["type"])
    units.known(kind, trace, f"{SCREEN} {_SURFACE if kind == 'surface' else _SCATTER3D}")
    if kind == "surface":
        z = units.numbers(trace["z"])
        shown = units.numbers(trace["surfacecolor"]) if "surfacecolor" in trace else z
        cmap, norm, bar = colors(trace, {}, shown, "cmin", "cmax")
        x = np.arange(z.shape[1]) if trace.get("x") is None else units.numbers(trace["x"])
        y = np.arange(z.shape[0]) if trace.get("y") is None else units.numbers(trace["y"])
        if x.ndim == 1:
            x, y = np.meshgrid(x, y)
        fine = [_refined(values) for values in (x, y, z, shown)]
        corners = [fine[3][i : i - 1 or None, j : j - 1 or None] for i in (0, 1) for j in (0, 1)]
        facets = cmap(
            norm(np.mean(corners, axis=0))
        )  # of one corner walls have the ground's colour
        ax.plot_surface(*fine[:3], facecolors=facets, rstride=1, cstride=1, shade=False,
                        alpha=trace.get("opacity"), **_mesh(trace.get("contours") or {}))  # fmt: skip
        if bar is not None:
            colorbar(ax.figure, ax, ScalarMappable(norm, cmap), bar)
        return None
    marker, line = trace.get("marker") or {}, trace.get("line") or {}
    units.known("scatter3d.marker", marker, "color size symbol opacity")
    units.known("scatter3d.line", line, "color width dash")
    at = [units.numbers(trace[w]) for w in "xyz"]
    color = units.color(
        marker.get("color", ink), float(trace.get("opacity", 1)) * float(marker.get("opacity", 1))
    )
    parts = set(trace.get("mode", "lines+markers").split("+"))
    if "text" in parts:
        raise ValueError("cannot draw scatter3d.text")
    drawn: Any = None
    if "lines" in parts:
        (drawn,) = ax.plot(*at, color=units.color(line.get("color", ink)),
                           linewidth=units.points(line.get("width", 2)))  # fmt: skip
    if "markers" in parts:
        form, _ = units.symbol(marker.get("symbol"))
        size = units.points(_SPHERE * marker.get("size", 8)) ** 2
        drawn = ax.scatter(*at, s=size, marker=form, color=[color], linewidths=0, depthshade=False)
    return drawn


FACETS = 30
"""Facets along a side of a surface, at least: each has one colour, and steps would hide heights."""


def _refined(values: np.ndarray) -> np.ndarray:
    """A grid with points between its own, on straight lines between neighbours."""
    for axis in (0, 1):
        n = values.shape[axis]
        times = max(1, -(-FACETS // max(n - 1, 1)))
        at = np.linspace(0, n - 1, times * (n - 1) + 1)
        values = np.apply_along_axis(
            lambda line, at=at, n=n: np.interp(at, np.arange(n), line), axis, values
        )
    return values


def _mesh(how: Mapping[str, Any]) -> dict[str, Any]:
    """The edges of a surface's cells, where a screen has lines of equal height: those would lie
    over what hides them.
    """
    units.known("surface.contours", how, "z")
    lines = how.get("z") or {}
    units.known("surface.contours.z", lines, "show color width start end size")
    if not lines.get("show"):
        return {"linewidth": 0, "antialiased": False}
    edge = units.color(lines.get("color", "#444444"), 0.3)
    return {"linewidth": 0.1, "edgecolor": edge, "antialiased": True}


def space(figure: Figure, settings: Mapping[str, Any], name: str) -> Any:
    """Axes for a scene, seen from where its camera stands."""
    units.known(
        name,
        settings,
        "xaxis yaxis zaxis aspectmode aspectratio camera domain bgcolor dragmode uirevision",
    )
    ax: Any = figure.add_subplot(projection="3d", label=name)
    camera = settings.get("camera") or {}
    units.known(f"{name}.camera", camera, "eye up center projection")
    eye = {"x": 1.25, "y": 1.25, "z": 1.25} | dict(camera.get("eye") or {})
    flat = float(np.hypot(eye["x"], eye["y"]))
    ax.view_init(np.degrees(np.arctan2(eye["z"], flat)), np.degrees(np.arctan2(eye["y"], eye["x"])))
    return ax


def dress_space(ax: Any, settings: Mapping[str, Any]) -> None:
    """Titles, ranges and proportions of a scene."""
    for which in "xyz":
        s = settings.get(f"{which}axis") or {}
        units.known(
            f"scene.{which}axis", s, "title range gridcolor color backgroundcolor nticks tickfont "
            "showticklabels showbackground showgrid zeroline zerolinecolor linecolor showspikes type",
        )  # fmt: skip
        if s.get("type", "linear") not in ("linear", "-"):
            raise ValueError(f"cannot draw scene.{which}axis.type {s['type']!r}")
        axis = getattr(ax, f"{which}axis")
        # Paper has room for the ticks that a panel on a screen hides.
        locator = ticker.MaxNLocator(s.get("nticks") or 5)
        axis.set_major_locator(locator)
        if s.get("range") is not None:
            getattr(ax, f"set_{which}lim")(*s["range"])
            axis.set_ticks(_inner(np.asarray(locator.tick_values(*s["range"])), *s["range"]))
        axis.pane.set_facecolor((1, 1, 1, 0))
        ink, line = (units.color(s.get(key, "#444444")) for key in ("color", "linecolor"))
        axis.line.set_color(line)
        axis.set_tick_params(
            labelsize=units.font_size(s.get("tickfont")), pad=-2, color=line, labelcolor=ink
        )
        title = s.get("title") or {}
        axis.set_label_text(inline(title.get("text") or ""), color=ink,
                            fontsize=units.font_size(title.get("font"), 13))  # fmt: skip
        axis.labelpad = -5.5 if which == "z" else -4  # upright, it stands beside its numbers
        axis.set_rotate_label(False)
        axis.label.set_rotation(0)
    mode, ratio = settings.get("aspectmode", "auto"), settings.get("aspectratio")
    if ratio and mode in ("manual", "auto"):
        ax.set_box_aspect([ratio[w] for w in "xyz"], zoom=1.15)
    elif mode == "data":
        sides = [float(np.ptp(getattr(ax, f"get_{w}lim")())) for w in "xyz"]
        ax.set_box_aspect(sides, zoom=1.08)  # a cloud's neighbours stand near, with their titles
    elif mode == "cube":
        ax.set_box_aspect([1, 1, 1], zoom=1.15)


def _inner(ticks: np.ndarray, low: float, high: float) -> np.ndarray:
    """Ticks that are not at the end of an axis, where two axes meet and their numbers do, too."""
    room = 0.06 * (high - low)
    return ticks[(ticks > low + room) & (ticks < high - room)]
