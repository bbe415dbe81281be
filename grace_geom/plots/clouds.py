"""Images as points: features on principal axes (or a UMAP of them), plain functions of findings."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go

from grace_geom.plots.compose import pages
from grace_geom.plots.layers import brief, order, title
from grace_geom.plots.legend import Legend
from grace_geom.plots.palette import Ground, of_sets
from grace_geom.plots.panels import Point, point, span
from grace_geom.plots.sample import intervals
from grace_geom.plots.style import dressed, plain_html
from grace_geom.records import Finding

RUNS = 5
"""Columns of a page of small clouds at most."""
CAMERA = {
    "eye": {"x": 0.87, "y": 0.79, "z": 0.68}, "center": {"x": 0.04, "y": -0.04, "z": -0.04},
    "projection": {"type": "orthographic"},
}  # fmt: skip
"""Without perspective, so near that a cloud fills its panel beside the titles of the axes, and a
little to the left, where the title of the third one stands.
"""
SHIFT = "shift"
"""All shifted sets as one distribution."""
Traces = Sequence[Mapping[str, Any]]
Kind = Literal["pca", "umap"]
"""Coordinates of a cloud, as ``feature_stability`` calls its arrays."""
MOST_POINTS = 300
"""Of each distribution in a cloud: more cover each other."""


def sets_of(found: Sequence[Finding], group: str = "pca") -> list[str]:
    """Distributions with arrays ``GROUP/SET``."""
    return order([name for f in found for name in f.array_names(group)])


def clouds(
    found: Sequence[Finding], legend: Legend, sets: Sequence[str], solid: bool = False
) -> dict[str, go.Figure]:
    """Principal components of the ID features, a panel a run, a colour a distribution; 2-D, or 3-D
    where ``solid``. All panels have one scale: a run whose features have collapsed looks smaller.
    """
    every, ends = of_sets(sets_of(found), legend.ground), reach(found, sets)
    colors, drawn = {s: every[s] for s in sets}, {}
    for f in found:
        if (figure := cloud(f, colors, legend.ground, ends, solid)) is not None:
            name, shares = legend.names[f.run], _shares(f)
            drawn[f"{name} ({', '.join(shares)} %)" if solid else name] = figure
    return drawn


def pooled(drawn: Mapping[str, go.Figure], ground: Ground) -> dict[str, go.Figure]:
    """The same with the shifted sets as one distribution, in one colour: of ``m`` sets each
    ``m``-th image, so that no distribution has more points than another.

    Args:
        drawn: Of :func:`clouds`, which stay as they are.
        ground: Light or dark.
    """
    color, found = of_sets(("id", SHIFT, "adv"), ground)[SHIFT], dict[str, go.Figure]()
    apart = {plain_html(title(name)) for name in ("id", "adv")}
    for name, figure in drawn.items():
        found[name] = go.Figure(figure)
        shifted = [trace for trace in found[name].data if trace.name not in apart]
        for turn, trace in enumerate(shifted):
            few = slice(turn, None, len(shifted))
            axes = {key: trace[key][few] for key in ("x", "y", "z", "customdata")}
            texts = {"text": trace.text[few], "name": plain_html(title(SHIFT))}
            trace.update(axes | texts | {"marker": {"color": color}})
        found[name].update_traces(marker_size=3)
    return found


def _shares(f: Finding) -> list[str]:
    """Percent of the ID variance on each principal axis."""
    shares = f.array("pca_share")
    return [] if shares is None else [f"{100 * float(share):.0f}" for share in shares]


def reach(
    found: Sequence[Finding], sets: Sequence[str], kind: Kind = "pca"
) -> list[list[float] | None]:
    """From where to where the clouds of all runs go along each axis, with room for whole points."""
    shown = [p for f in found for s in sets if (p := _points(f, s, kind)) is not None]
    axes = range(min((p.shape[1] for p in shown), default=0))
    return [span([p[:, i] for p in shown], 0.06) for i in axes]


def cloud(
    f: Finding,
    colors: Mapping[str, str],
    ground: Ground,
    ends: Sequence[list[float] | None],
    solid: bool = False,
    height: int | None = None,
    kind: Kind = "pca",
    pictured: Mapping[str, Collection[int]] | None = None,
) -> go.Figure | None:
    """One panel of :func:`clouds`: points of some distributions of one run, the last on top.

    Args:
        f: Of ``feature_stability``.
        colors: Distribution -> colour; those that were not measured are left out.
        ground: Light or dark.
        ends: Ranges of the axes.
        solid: Three axes, not two.
        height: In pixels.
        kind: Principal axes, or UMAP.
        pictured: Distribution -> places in the source of images that have a picture: their points
            have a ring.
    """
    shares, traces = _shares(f), list[dict[str, Any]]()
    for name, color in colors.items():
        if (p := _points(f, name, kind)) is None:
            continue
        places = places_of(f, name)
        common: dict[str, Any] = {
            "type": "scatter3d" if solid else "scatter",
            "mode": "markers",
            "name": plain_html(title(name)),
            "text": _classes(f, name),
            "hovertemplate": "%{text}<extra>" + plain_html(title(name)) + "</extra>",
            "x": p[:, 0],
            "y": p[:, 1],
            "customdata": [[name, place] for place in places],
        }
        under = not solid and len(colors) == 2 and not traces  # larger, so that it is seen below
        marker = {"color": color, "opacity": 0.55 if under else 0.75}
        marker |= {"size": 2 if solid else 6 if under else 3.5}
        if solid:
            traces.append(common | {"z": p[:, 2], "marker": marker})
        else:
            traces.append(common | {"marker": marker, "cliponaxis": False})
            known = [i for i, place in enumerate(places) if place in (pictured or {}).get(name, ())]
            ring = marker | {"size": 5, "line": {"width": 1.5, "color": ground.text}}
            if known:
                traces.append(_ringed(common, known, ring))
    if not traces or not shares:
        return None
    if kind == "umap":
        shares = []
    # Titles of a scene stand near each other: there the shares are in the name of the panel.
    titles = [f"PC {i}" if solid else f"PC {i} ({s} %)" for i, s in enumerate(shares, 1)]
    titles = titles or ["UMAP 1", "UMAP 2"]
    axes = [{"title": {"text": text}, "range": end} for text, end in zip(titles, ends, strict=True)]
    if solid:
        return _solid(traces, axes, ground, f.run, height or 380)
    return _flat(traces, axes, ground, height or 330)


def _ringed(
    common: Mapping[str, Any], known: Sequence[int], marker: Mapping[str, Any]
) -> dict[str, Any]:
    """Some of the points of a trace once more, over the others."""
    few = {key: [common[key][i] for i in known] for key in ("x", "y", "text", "customdata")}
    return {**common, **few, "marker": marker, "cliponaxis": False, "showlegend": False}


def _shown(n: int) -> np.ndarray:
    """Which of ``n`` images stand in a cloud: all, or ``MOST_POINTS`` evenly."""
    return np.linspace(0, n - 1, min(n, MOST_POINTS)).astype(int)


def places_of(f: Finding, name: str) -> list[int]:
    """Of the points of a cloud, the place of each image in its source; -1 in older results."""
    places, points = f.array(f"pca_index/{name}"), f.array(f"pca/{name}")
    if places is None:
        return [-1] * len(_shown(len(points)))
    found: list[int] = places[_shown(len(places))].tolist()
    return found


def _points(f: Finding, name: str, kind: Kind = "pca") -> np.ndarray | None:
    points = f.array(f"{kind}/{name}")
    return None if points is None else np.asarray(points, float)[_shown(len(points))]


def _classes(f: Finding, name: str) -> list[str]:
    classes, labels = f.array("class_names"), f.array(f"pca_label/{name}")
    if classes is None or labels is None:
        return [""] * len(_shown(len(f.array(f"pca/{name}"))))
    return [
        plain_html(str(classes[int(y)])) if y >= 0 else "a class that ID lacks"
        for y in labels[_shown(len(labels))]
    ]


def _flat(
    traces: Traces, axes: Sequence[Mapping[str, Any]], ground: Ground, height: int
) -> go.Figure:
    common = {"constrain": "domain", "nticks": 6}
    x = {**axes[0], **common}
    y = {**axes[1], **common, "scaleanchor": "x", "constraintoward": "top"}
    return dressed(traces, ground, height, xaxis=x, yaxis=y, showlegend=False)


def _solid(
    traces: Traces, axes: Sequence[Mapping[str, Any]], ground: Ground, run: str, height: int
) -> go.Figure:
    look = {
        "gridcolor": ground.grid,
        "color": ground.text,
        "linecolor": ground.muted,
        "backgroundcolor": "rgba(0,0,0,0)",
        "nticks": 4,
        "tickfont": {"size": 10},
        "showticklabels": False,  # of a panel they would take half; all panels have one scale
    }
    axes = [{**axis, "title": {**axis["title"], "font": {"size": 11}}} for axis in axes]
    scene = {f"{name}axis": look | dict(axis) for name, axis in zip("xyz", axes, strict=True)}
    return dressed(
        traces,
        ground,
        height,
        showlegend=False,
        uirevision=f"cloud-{run}",
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        scene=scene | {"aspectmode": "data", "camera": CAMERA},
    )


def over_id(
    found: Sequence[Finding], legend: Legend, sets: Sequence[str], note: str
) -> dict[str, go.Figure]:
    """ID in grey and each distribution over it: a row a distribution, a column a run, the cosine of
    their class centroids above; more than ``RUNS`` runs on further pages, ``2``, ``3``, ...
    """
    title = "Each distribution over ID, in grey"
    how = f"{note}; in brackets: share of the ID variance on PC 1 and 2"
    how += "; numbers: mean cosine of class centroids to ID"
    if made := intervals(found, "centroid_cosine"):
        how += f", {made}"
    shown = [f for f in found if f.array("pca/id") is not None and _shares(f)]
    if len(shown) == 1:
        return pages({"": (title, _of_one(shown[0], legend, sets), how)}, legend)
    count = -(-len(shown) // RUNS)
    parts = [
        [shown[i] for i in part] for part in np.array_split(np.arange(len(shown)), max(count, 1))
    ]
    rows = {
        "" if i == 1 else str(i): (
            f"{title}, page {i} of {count}" if count > 1 else title,
            _grid(part, legend, sets, reach(found, sets)),
            how,
        )
        for i, part in enumerate(parts, 1)
    }
    return pages(rows, legend, RUNS)


def _of_one(f: Finding, legend: Legend, sets: Sequence[str]) -> list[dict[str, go.Figure | None]]:
    """One run: its distributions side by side."""
    colors, ends = of_sets(sets, legend.ground), reach([f], sets)
    return [
        {
            f"{legend.names[f.run]}, {brief(s)}: {cosine_of(f, s, digits_of([f], s))}": cloud(
                f, {name: colors[name] for name in ("id", s)}, legend.ground, ends, height=300
            )
            for s in sets
            if s != "id" and f.array(f"pca/{s}") is not None
        }
    ]


def _grid(
    found: Sequence[Finding],
    legend: Legend,
    sets: Sequence[str],
    ends: Sequence[list[float] | None],
) -> list[dict[str, go.Figure | None]]:
    """A row a distribution, a column a run; ticks and titles at the left and below only."""
    colors, drawn = of_sets(sets, legend.ground), []
    others = [s for s in sets if s != "id" and any(f.array(f"pca/{s}") is not None for f in found)]
    for s in others:
        digits = digits_of(found, s)
        row: dict[str, go.Figure | None] = {}
        for i, f in enumerate(found):
            both = {name: colors[name] for name in ("id", s)}
            figure = cloud(f, both, legend.ground, ends, height=215)
            if figure is None:
                continue
            x = "PC 1" if s == others[-1] else ""
            y = f"{brief(s)}<br>PC 2" if i == 0 else ""
            figure.update_traces(showlegend=False)  # rows and the title say what a colour is
            figure.update_xaxes(title_text=x, showticklabels=bool(x), nticks=4)
            figure.update_yaxes(title_text=y, showticklabels=bool(y), nticks=4)
            row[_headed(f, s, legend, s == others[0], digits) + " " * i] = figure
        drawn.append(row)
    return drawn


def _headed(f: Finding, name: str, legend: Legend, first: bool, digits: int) -> str:
    """What stands above a cloud of a grid: the cosine, in the first row below the run and the
    shares of its axes; all and the distribution on a narrow page, where rows are broken. Blanks
    behind it, which nobody sees, tell equal ones apart. Cosines of a row have the same ``digits``.
    """
    run, cosine = legend.names[f.run], cosine_of(f, name, digits)
    shares = f"({', '.join(_shares(f)[:2])} %)".replace(" ", "\N{NO-BREAK SPACE}")
    if legend.narrow:
        return f"{run} {shares}, {brief(name)}: {cosine}"
    return f"{run}\n{shares}\n{cosine}" if first else cosine


def digits_of(found: Sequence[Finding], name: str) -> int:
    """Digits of the cosines of a distribution, the same for all runs that are shown together: the
    fewest, from 2, at which of each run neither the cosine nor an end of its interval is 1, and the
    ends are not one number.
    """
    known = [point(f.value(f"centroid_cosine/{name}")) for f in found]
    return same_digits([p for p in known if p is not None])


def same_digits(cosines: Collection[Point]) -> int:
    """The same of cosines of any distribution."""
    return max(map(_digits, cosines), default=2)


def _digits(m: Point) -> int:
    low, high = m.value if m.low is None else m.low, m.value if m.high is None else m.high
    for digits in range(2, 6):
        said = [f"{x:.{digits}f}" for x in (low, m.value, high)]
        if (said[0] != said[2] or low == high) and float(said[2]) < 1:
            return digits
    return 2 if low == high else 6


def in_digits(m: Point, digits: int) -> str:
    """A cosine and its interval: ``0.64 [0.62, 0.67]``."""
    ends: list[float] = [] if m.low is None or m.high is None else [m.low, m.high]
    value, *both = (f"{x:.{digits}f}".replace("-", "\u2212") for x in (m.value, *ends))
    interval = ",\N{NO-BREAK SPACE}".join(both)
    between = " " if digits > 2 else "\N{NO-BREAK SPACE}"  # long ones may break before the interval
    return f"{value}{between}[{interval}]" if both else value


def cosine_of(f: Finding, name: str, digits: int) -> str:
    """The cosine of a distribution as :func:`in_digits` says it; in words where there is none.

    Args:
        f: Of ``feature_stability``.
        name: Of a distribution.
        digits: Of :func:`digits_of`.
    """
    m = point(f.value(f"centroid_cosine/{name}"))
    if m is None:
        return "not measured" if f.array(f"pca/{name}") is None else "no cosine"
    return in_digits(m, digits)


def named_cosine(f: Finding, name: str, digits: int) -> str:
    """``cosine 0.64 [0.62, 0.67]``, which may break; in words where there is none."""
    said = cosine_of(f, name, digits).replace("\N{NO-BREAK SPACE}", " ")
    return said if point(f.value(f"centroid_cosine/{name}")) is None else f"cosine {said}"
