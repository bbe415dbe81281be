"""A panel figure's parts under the names and in the places that they have in a composed figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from grace_geom.plots.cells import PlacedFigure, Span

BACK = 1.2
"""How much farther a camera stands in a panel than in a figure of its own."""
_LINKS = ("anchor", "scaleanchor", "matches", "overlaying")


@dataclass
class Counters:
    """How many axes of each kind a composed figure has so far."""

    taken: dict[str, int] = field(default_factory=dict)

    def new(self, kind: str) -> str:
        """The next name: ``x``, ``x2``, ...; ``scene``, ``scene2``, ..."""
        self.taken[kind] = n = self.taken.get(kind, 0) + 1
        return kind if n == 1 else f"{kind}{n}"


@dataclass(frozen=True)
class Moved:
    """What a cell adds to a composed figure.

    Attributes:
        traces: With their axes or scenes.
        layout: Axes, scenes and colour axes.
        shapes, notes: With their references.
        pair: Name of its x and y axes where it has one pair.
    """

    traces: list[dict[str, Any]]
    layout: dict[str, Any]
    shapes: list[dict[str, Any]]
    notes: list[dict[str, Any]]
    pair: tuple[str, str] | None


def move(cell: PlacedFigure, counters: Counters) -> Moved:
    """Rename and place everything of a cell.

    Args:
        cell: With its place.
        counters: Names that are taken; those of the cell are added.

    Raises:
        ValueError: It holds pictures: their place is not known.
    """
    if cell.layout.get("images"):
        raise ValueError("cannot compose a panel with layout.images")
    pairs = _pairs(cell)
    names = {name: counters.new(name[0]) for pair in pairs for name in pair}
    names |= {n: counters.new("scene") for n in _scenes(cell)}
    names |= {n: counters.new("coloraxis") for n in cell.layout if n.startswith("coloraxis")}
    layout: dict[str, Any] = {}
    for pair in dict.fromkeys(pairs):
        for name, other in (pair, pair[::-1]):
            settings = cell.layout.get(f"{name[0]}axis{name[1:]}") or {}
            layout.setdefault(_key(names[name]), _axis(settings, name, other, names, cell))
    for name in _scenes(cell):
        settings = dict(cell.layout.get(name) or {})
        domain = settings.get("domain") or {}
        settings["domain"] = {w: _domain(domain.get(w, (0, 1)), getattr(cell, w)) for w in "xy"}
        settings["camera"] = _stepped_back(settings.get("camera") or {})
        layout[names[name]] = settings
    layout |= {names[n]: v for n, v in cell.layout.items() if n.startswith("coloraxis")}
    alone = len(set(pairs)) == 1
    return Moved(
        [_trace(trace, names, cell) for trace in cell.traces],
        layout,
        [_marked(s, ("x0", "x1", "y0", "y1"), names, cell, alone)
         for s in cell.layout.get("shapes", ())],
        [_marked(a, ("x", "y"), names, cell, alone) for a in cell.layout.get("annotations", ())],
        (names[pairs[0][0]], names[pairs[0][1]]) if alone else None,
    )  # fmt: skip


def _stepped_back(camera: Mapping[str, Any]) -> dict[str, Any]:
    """A camera that sees the titles of the axes, too: a scene is cut at its domain. Print has no
    distance, only a direction.
    """
    eye = {"x": 1.25, "y": 1.25, "z": 1.25} | dict(camera.get("eye") or {})
    return dict(camera) | {"eye": {which: BACK * float(at) for which, at in eye.items()}}


def _pairs(cell: PlacedFigure) -> list[tuple[str, str]]:
    flat = [t for t in cell.traces if t["type"] not in ("surface", "scatter3d")]
    return list(dict.fromkeys((t.get("xaxis", "x"), t.get("yaxis", "y")) for t in flat))


def _scenes(cell: PlacedFigure) -> list[str]:
    solid = [t for t in cell.traces if t["type"] in ("surface", "scatter3d")]
    return list(dict.fromkeys(t.get("scene", "scene") for t in solid))


def _key(name: str) -> str:
    """``x2`` -> ``xaxis2``."""
    return f"{name[0]}axis{name[1:]}"


def _within(span: Sequence[float], whole: Span) -> Span:
    low, high = (whole[0] + float(end) * (whole[1] - whole[0]) for end in span)
    return low, high


def _domain(span: Sequence[float], whole: Span) -> list[float]:
    """Within a cell, and in [0, 1] though sums are rounded, as plotly takes no other."""
    return [min(max(end, 0.0), 1.0) for end in _within(span, whole)]


def _axis(
    settings: Mapping[str, Any], name: str, other: str, names: Mapping[str, str], cell: PlacedFigure
) -> dict[str, Any]:
    found = {"anchor": other} | dict(settings)
    if (found.get("title") or {}).get("text"):
        found["title"] = {"standoff": 6} | found["title"]
    for link in _LINKS:
        if link in found:
            found[link] = names.get(found[link], found[link])
    if "overlaying" not in found:
        found["domain"] = _domain(found.get("domain") or (0, 1), getattr(cell, name[0]))
    return found


def _trace(
    trace: Mapping[str, Any], names: Mapping[str, str], cell: PlacedFigure
) -> dict[str, Any]:
    found = dict(trace)
    if trace["type"] in ("surface", "scatter3d"):
        found["scene"] = names[trace.get("scene", "scene")]
    else:
        found |= {f"{w}axis": names[trace.get(f"{w}axis", w)] for w in "xy"}
    if trace.get("coloraxis"):
        found["coloraxis"] = names[trace["coloraxis"]]
    elif trace in cell.bars:
        low, high = cell.y
        found["colorbar"] = dict(trace.get("colorbar") or {}) | {
            "x": cell.x[1], "xanchor": "left", "xpad": 8, "ypad": 0, "lenmode": "fraction",
            "y": (low + high) / 2, "yanchor": "middle", "len": high - low,
        }  # fmt: skip
    return found


def _marked(
    mark: Mapping[str, Any],
    keys: Sequence[str],
    names: Mapping[str, str],
    cell: PlacedFigure,
    alone: bool,
) -> dict[str, Any]:
    """A shape or an annotation; what stands on the paper stands on the panel."""
    found = dict(mark)
    for which in "xy":
        name, space, rest = str(mark.get(f"{which}ref", which)).partition(" ")
        if name != "paper":
            found[f"{which}ref"] = names[name] + space + rest
        elif alone:
            found[f"{which}ref"] = f"{names[which]} domain"
        else:
            for key in (key for key in keys if key[0] == which):
                found[key] = _within([mark[key]] * 2, getattr(cell, which))[0]
    return found
