"""Annotations, shapes and pictures of a layout as matplotlib's artists."""

from collections.abc import Mapping
from typing import Any

from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse, Rectangle
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from grace_geom.plots import units
from grace_geom.plots.grids import picture
from grace_geom.plots.sheet import Panel, Sheet
from grace_geom.plots.texts import inline

_ANNOTATION = """text x y xref yref showarrow ax ay axref ayref xanchor yanchor xshift yshift font
bgcolor bordercolor borderwidth borderpad textangle align opacity arrowcolor arrowwidth arrowhead
arrowsize visible standoff startarrowhead name hovertext captureevents"""
_SHAPE = "type x0 x1 y0 y1 xref yref line fillcolor opacity layer visible name editable"


def draw(sheet: Sheet, layout: Mapping[str, Any]) -> None:
    """Everything that the layout lays over or under the panels."""
    for shape in layout.get("shapes") or []:
        if shape.get("visible", True):
            _shape(sheet, shape)
    for note in layout.get("annotations") or []:
        if note.get("visible", True):
            _annotation(sheet, note)
    for image in layout.get("images") or []:
        if image.get("visible", True):
            _image(sheet, image)


def _ref(mark: Mapping[str, Any], which: str) -> str:
    return str(mark.get(f"{which}ref", which))


def _panel(sheet: Sheet, mark: Mapping[str, Any]) -> Panel | None:
    """The panel that a mark belongs to, or ``None`` for the sheet."""
    names = [_ref(mark, w).removesuffix(" domain") for w in "xy"]
    wanted = [name for name in names if name != "paper"]
    if not wanted:
        return None
    fits = [p for p in sheet.panels if all(name in (p.x.name, p.y.name) for name in wanted)]
    if not fits:
        raise ValueError(
            f"cannot draw a mark on the axes {' and '.join(wanted)}: no trace has them"
        )
    return fits[0]


def _transform(sheet: Sheet, mark: Mapping[str, Any], panel: Panel | None) -> Any:
    ways = []
    for which in "xy":
        ref = _ref(mark, which)
        if ref == "paper" or panel is None:
            ways.append(sheet.paper)
        else:
            ways.append(panel.ax.transAxes if ref.endswith(" domain") else panel.ax.transData)
    return blended_transform_factory(*ways)


def _at(mark: Mapping[str, Any], key: str, panel: Panel | None, powers: bool = False) -> float:
    """A place in what its transform takes; annotations give logarithms on logarithmic axes."""
    value, ref = mark[key], _ref(mark, key[0])
    if ref == "paper" or ref.endswith(" domain") or panel is None:
        return float(value)
    scale = panel.x if key[0] == "x" else panel.y
    if powers and scale.kind == "log":
        return float(10 ** float(value))
    return float(scale.at([value])[0])


def _shape(sheet: Sheet, shape: Mapping[str, Any]) -> None:
    kind, line = shape.get("type", "rect"), shape.get("line") or {}
    units.known("shape", shape, _SHAPE)
    units.known("shape.line", line, "color width dash")
    if kind not in ("line", "rect", "circle"):
        raise ValueError(f"cannot draw a shape of type {kind!r}")
    panel = _panel(sheet, shape)
    x0, x1 = (_at(shape, key, panel) for key in ("x0", "x1"))
    y0, y1 = (_at(shape, key, panel) for key in ("y0", "y1"))
    opacity, width = float(shape.get("opacity", 1)), units.points(line.get("width", 2))
    ink = units.color(line.get("color", "#444444"), opacity)
    fill = units.color(shape.get("fillcolor") or (0, 0, 0, 0), opacity)
    look: dict[str, Any] = {
        "transform": _transform(sheet, shape, panel), "linewidth": width,
        "zorder": 0.6 if shape.get("layer", "above") == "below" else 3.5,
        "linestyle": units.dash(line.get("dash"), width),
    }  # fmt: skip
    artist: Any
    if kind == "line":
        artist = Line2D([x0, x1], [y0, y1], color=ink, **look)
    elif kind == "rect":
        artist = Rectangle((x0, y0), x1 - x0, y1 - y0, facecolor=fill,
                           edgecolor=ink if width else "none", **look)  # fmt: skip
    else:
        artist = Ellipse(((x0 + x1) / 2, (y0 + y1) / 2), abs(x1 - x0), abs(y1 - y0), facecolor=fill,
                         edgecolor=ink if width else "none", **look)  # fmt: skip
    if panel is None:
        sheet.figure.add_artist(artist)
        return
    panel.ax.add_artist(artist)
    refs = [_ref(shape, w) for w in "xy"]
    if "paper" not in refs or len(sheet.panels) == 1:
        artist.set_clip_path(panel.ax.patch)
    else:
        artist.set_clip_on(False)


def _anchor(note: Mapping[str, Any], which: str, free: bool) -> str:
    names = ("left", "center", "right") if which == "x" else ("bottom", "middle", "top")
    asked = note.get(f"{which}anchor", "auto")
    if asked == "auto":
        at = note[which] if free and not note.get("showarrow", True) else 0.5
        asked = names[0] if at <= 1 / 3 else names[2] if at >= 2 / 3 else names[1]
    return "center" if asked == "middle" else str(asked)


def _annotation(sheet: Sheet, note: Mapping[str, Any]) -> None:
    units.known("annotation", note, _ANNOTATION)
    panel, font = _panel(sheet, note), note.get("font") or {}
    at = _at(note, "x", panel, powers=True), _at(note, "y", panel, powers=True)
    shift = [units.points(note.get(f"{w}shift", 0)) / 72 for w in "xy"]
    trans = _transform(sheet, note, panel)
    trans = trans + ScaledTranslation(shift[0], shift[1], sheet.figure.dpi_scale_trans)
    look: dict[str, Any] = {
        "ha": _anchor(note, "x", _ref(note, "x") == "paper"),
        "va": _anchor(note, "y", _ref(note, "y") == "paper"),
        "fontsize": units.font_size(font), "rotation": -float(note.get("textangle", 0)),
        "color": units.color(font.get("color", "#262730"), float(note.get("opacity", 1))),
        "multialignment": note.get("align", "center"), "zorder": 4,
    }  # fmt: skip
    if note.get("bgcolor") or note.get("bordercolor"):
        look["bbox"] = {
            "facecolor": units.color(note.get("bgcolor") or (0, 0, 0, 0)),
            "edgecolor": units.color(note.get("bordercolor") or (0, 0, 0, 0)),
            "linewidth": units.points(note.get("borderwidth", 1)),
            "pad": units.points(note.get("borderpad", 1)),
        }  # fmt: skip
    words = inline(note["text"]) if note.get("text") else ""
    if note.get("showarrow", True):
        _arrow(sheet, note, panel, words, at, trans, look)
    elif panel is None:
        text = sheet.figure.text(*at, words, transform=trans, **look)
        if at[1] == 0 and shift[1] < 0 and look["va"] == "top":
            sheet.foot(text, trans)
        else:
            sheet.outside.append(text)
    else:
        panel.ax.text(*at, words, transform=trans, **look)


def _arrow(
    sheet: Sheet, note: Mapping[str, Any], panel: Panel | None, words: str,
    at: tuple[float, float], trans: Any, look: dict[str, Any],
) -> None:  # fmt: skip
    for which in "xy":
        if note.get(f"a{which}ref", "pixel") != "pixel":
            raise ValueError(f"cannot draw annotation.a{which}ref {note[f'a{which}ref']!r}")
    ink = units.color(note.get("arrowcolor") or (note.get("font") or {}).get("color", "#444444"))
    owner = (panel or sheet.panels[0]).ax
    artist = owner.annotate(
        words, at, xycoords=trans, textcoords="offset points", annotation_clip=False,
        xytext=(units.points(note.get("ax", -10)), -units.points(note.get("ay", -30))),
        arrowprops={"arrowstyle": "->" if note.get("arrowhead", 1) else "-", "color": ink,
                    "linewidth": units.points(note.get("arrowwidth", 1.5)), "shrinkA": 0,
                    "shrinkB": units.points(note.get("standoff", 0)), "mutation_scale": 6},
        **look,
    )  # fmt: skip
    sheet.outside.append(artist)


def _image(sheet: Sheet, image: Mapping[str, Any]) -> None:
    units.known(
        "image",
        image,
        "source x y xref yref sizex sizey sizing xanchor yanchor opacity layer visible name",
    )
    mark = {"xref": "paper", "yref": "paper"} | dict(image)
    panel = _panel(sheet, mark)
    pixels = picture(image["source"])
    wide, high = float(image.get("sizex", 0)), float(image.get("sizey", 0))
    x, y = _at(mark, "x", panel), _at(mark, "y", panel)
    left = x - {"left": 0.0, "center": 0.5, "right": 1.0}[image.get("xanchor", "left")] * wide
    top = y + {"top": 0.0, "middle": 0.5, "bottom": 1.0}[image.get("yanchor", "top")] * high
    if image.get("sizing", "contain") != "stretch":
        raise ValueError("cannot draw an image of another sizing than 'stretch'")
    owner = (panel or sheet.panels[0]).ax
    limits = owner.get_xlim(), owner.get_ylim()
    owner.imshow(pixels, extent=(left, left + wide, top - high, top), aspect=owner.get_aspect(),
                 transform=_transform(sheet, mark, panel), interpolation="nearest",
                 alpha=image.get("opacity"), clip_on=panel is not None,
                 zorder=0.5 if image.get("layer") == "below" else 3)  # fmt: skip
    owner.set(xlim=limits[0], ylim=limits[1])
