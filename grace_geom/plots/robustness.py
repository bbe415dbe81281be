"""Robustness against the radius, examples, margins and transfer as figures: plain functions of
findings.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from grace_geom.plots import strips
from grace_geom.plots.compose import pages
from grace_geom.plots.legend import Legend
from grace_geom.plots.maps import heat
from grace_geom.plots.palette import Ground
from grace_geom.plots.panels import Curve, Point, below, overlay
from grace_geom.plots.sample import sample
from grace_geom.plots.style import plain_html
from grace_geom.plots.variants import in_quotes
from grace_geom.quantities import radius
from grace_geom.records import Finding, wilson
from grace_geom.records.estimate import Z95
from grace_geom.records.printed import Figure

EXAMPLES = 4
"""Pictures in a row."""


def attacks(found: Sequence[Finding]) -> list[str]:
    """Attacks of the curves, in the order in which they were asked for."""
    return list(dict.fromkeys(str(a) for f in found for a in f.result.settings.get("attacks", [])))


def curve(f: Finding, attack: str) -> Curve | None:
    """Accuracy in percent against ε in 1/255, the clean accuracy at 0."""
    radii = {0.0: f.value("clean")} | {
        _eps(name): f.value(f"{attack}/{name}") for name in f.names(attack)
    }
    known = sorted((eps, m) for eps, m in radii.items() if m is not None)
    if len(known) < 2:
        return None
    y, low, high = (
        [100 * (m.value if end is None else end) for _, m in known for end in (getattr(m, side),)]
        for side in ("value", "low", "high")
    )
    return Curve([eps for eps, _ in known], y, low, high)


def _eps(name: str) -> float:
    return float(name.partition("/")[0])


def curves(found: Sequence[Finding], legend: Legend) -> dict[str, go.Figure]:
    """A panel an attack, a line a run with its band, and a ring where half of the clean accuracy is
    left, see :func:`half_life`.
    """
    drawn = {}
    for attack in attacks(found):
        lines = {f.run: c for f in found if (c := curve(f, attack)) is not None}
        if lines:
            most = max(float(c.x[-1]) for c in lines.values())
            x, y = (  # with room for whole markers at both ends
                {"title": "ε in 1/255", "range": [-0.04 * most, 1.04 * most]},
                {"title": "Accuracy (%)", "range": [-4, 104]},
            )
            figure = overlay(lines, legend, x, y, height=340)
            for f in (f for f in found if f.run in lines):
                _ring(figure, f, attack, legend)
            drawn[attack_name(attack)] = figure
    return drawn


def gaps(found: Sequence[Finding], legend: Legend, base: str, attack: str) -> dict[str, go.Figure]:
    """Accuracy less that of one run against the radius, in points, a line for each other run: what
    the same images have in common cancels, so that close runs can be told apart. Empty where single
    images are not on record.

    The bands are 95 % intervals of paired differences, of Wald's form with half an image added to
    each cell (Agresti and Min, Statistics in Medicine 24, 2005).

    Args:
        found: Findings; those on other images than the base's are left out.
        legend: Name and look of each run.
        base: The run that others are compared with.
        attack: Of the curves.
    """
    own = next((f for f in found if f.run == base), None)
    falls = None if own is None else own.array(f"falls/{attack}")
    if own is None or falls is None:
        return {}
    radii = [0.0, *sorted(float(r) for r in own.result.settings.get("radii", []))]
    lines = {}
    for f in found:
        other = f.array(f"falls/{attack}")
        same = other is not None and len(other) == len(falls) and f.images == own.images
        if f.run == base or not same:
            continue
        ends = [paired_gap(_stands(other, r), _stands(falls, r)) for r in radii]
        y, low, high = 100 * np.array(ends).T
        lines[f.run] = Curve([255 * r for r in radii], y, low, high)
    if not lines:
        return {}
    most = 255 * radii[-1]
    x = {"title": "ε in 1/255", "range": [-0.04 * most, 1.04 * most]}
    y_axis = {"title": "Gap in accuracy (points)"}
    figure = overlay(lines, legend, x, y_axis, height=340)
    figure.add_hline(y=0, line={"color": legend.ground.muted, "width": 1, "dash": "dot"})
    return {f"{attack_name(attack)}, less {in_quotes(legend.names[base])}": figure}


def _stands(falls: np.ndarray, eps: float) -> np.ndarray:
    """Which images are right at every radius up to ``eps``."""
    return np.asarray(falls) > eps * 1.0001


def paired_gap(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """Share of images right in ``a`` less that in ``b``, with its 95 % interval, see :func:`gaps`.

    Args:
        a, b: ``(n,)`` whether each of the same images is right.
    """
    n, only_a, only_b = len(a), int((a & ~b).sum()), int((b & ~a).sum())
    one, other, of = only_a + 0.5, only_b + 0.5, n + 2
    middle = (one - other) / of
    half = Z95 * math.sqrt(((one + other) / of - middle**2) / of)
    return (only_a - only_b) / n, middle - half, middle + half


def attack_name(attack: str) -> str:
    """``apgd-ce`` -> ``APGD-CE``."""
    return attack.upper()


def strongest(found: Sequence[Finding]) -> str:
    """The attack of the curves that leaves the lowest accuracy, mean over runs and radii; empty
    where no curve was measured.
    """
    left: dict[str, list[float]] = {}
    for attack in attacks(found):
        for c in (c for f in found if (c := curve(f, attack)) is not None):
            left.setdefault(attack, []).append(float(np.mean(c.y[1:])))
    known = {attack: np.mean(y) for attack, y in left.items() if np.isfinite(y).all()}
    return min(known, key=lambda attack: known[attack]) if known else ""


def half_life(f: Finding, attack: str) -> Point | None:
    """The radius, in 1/255, at which half of the clean accuracy is left, between measured radii on
    a straight line; infinite where more than half is left at the largest one. The interval is where
    the ends of the accuracies' intervals cross the same level. ``None`` without a curve.
    """
    c = curve(f, attack)
    if c is None or c.low is None or c.high is None or not np.isfinite(c.y).all():
        return None
    level = float(c.y[0]) / 2
    return Point(*(_crossing(np.asarray(c.x), np.asarray(y), level) for y in (c.y, c.low, c.high)))


def _ring(figure: go.Figure, f: Finding, attack: str, legend: Legend) -> None:
    half, clean = half_life(f, attack), f.value("clean")
    if half is None or clean is None or not np.isfinite(half.value):
        return
    name = plain_html(legend.names[f.run])
    figure.add_scatter(
        x=[half.value], y=[50 * clean.value], mode="markers", name=name, legendgroup=f.run,
        marker={"symbol": "circle-open", "size": 12, "color": legend.looks[f.run].color,
                "line": {"width": 1.5}},
        customdata=[[half.low, half.high]], showlegend=False,
        hovertemplate="half of the clean accuracy at %{x:.2g}/255 [%{customdata[0]:.2g}, "
        "%{customdata[1]:.2g}]",
    )  # fmt: skip


def _crossing(x: np.ndarray, y: np.ndarray, level: float) -> float:
    """Where a falling line first reaches a level; infinite where it does not."""
    there = np.flatnonzero(y <= level)
    if not len(there):
        return float("inf")
    i = int(there[0])
    if i == 0 or y[i] == y[i - 1]:
        return float(x[i])
    return float(x[i - 1] + (y[i - 1] - level) / (y[i - 1] - y[i]) * (x[i] - x[i - 1]))


def margins(found: Sequence[Finding], legend: Legend) -> go.Figure | None:
    """Clean margins as cumulative shares."""
    known = {f.run: a for f in found if (a := f.array("margin")) is not None}
    figure = below(known, legend, {"title": "Logit margin: right class less the best other"}, 340)
    if figure is None:
        return None
    return figure.add_vline(x=0, line={"color": legend.ground.muted, "width": 1, "dash": "dot"})


def transfer(found: Sequence[Finding], legend: Legend) -> go.Figure | None:
    """Accuracy of every run (columns) on the images found at every run (rows), in percent."""
    labels = {f.label: f.run for f in found}
    looking = list(dict.fromkeys(name for f in found for name in f.names("transfer")))
    looking = [name for name in looking if name in labels] or looking
    if not looking or not found:
        return None
    grid = np.full((len(found), len(looking)), np.nan)
    ends = np.full((2, *grid.shape), np.nan)
    for i, f in enumerate(found):
        for j, name in enumerate(looking):
            if (m := f.value(f"transfer/{name}")) is not None:
                grid[i, j] = 100 * m.value
                ends[:, i, j] = [np.nan if e is None else 100 * e for e in (m.low, m.high)]
    columns = [legend.names[labels[name]] if name in labels else name for name in looking]
    figure = heat(
        grid,
        columns,
        [legend.names[f.run] for f in found],
        (0, 100),
        "Accuracy (%)",
        legend.ground,
        ("Seen by", "Images found at"),
        interval=ends,
        square=False,
        height=140 + 40 * len(found),
    )
    _write_cells(figure, grid, ends)
    return figure.update_yaxes(autorange="reversed", dtick=1).update_xaxes(dtick=1)


def _write_cells(figure: go.Figure, grid: np.ndarray, ends: np.ndarray) -> None:
    """Write the percent of each cell with its interval, in black or white, whichever is read better
    on its colour.

    Args:
        figure: With the cells.
        grid: ``(rows, columns)`` percent.
        ends: ``(2, rows, columns)`` of the intervals, NaN where there is none.
    """
    cells = figure.data[0]
    at = np.argwhere(np.isfinite(grid))
    shares = [float(grid[i, j]) / 100 for i, j in at]
    behind = sample_colorscale("Viridis", shares, colortype="tuple")
    for color, wanted in (("#111111", True), ("#ffffff", False)):
        here = [(i, j) for (i, j), rgb in zip(at, behind, strict=True) if _pale(rgb) == wanted]
        if here:
            figure.add_scatter(
                x=[cells.x[j] for _, j in here], y=[cells.y[i] for i, _ in here], mode="text",
                text=[_cell(grid[i, j], *ends[:, i, j]) for i, j in here], hoverinfo="skip",
                textfont={"size": 12, "color": color}, showlegend=False,
            )  # fmt: skip


def _cell(value: float, low: float, high: float) -> str:
    """A percent and below it half of its interval, or the ends of one that is lopsided."""
    whole = Figure(value, low, high, digits=0)
    if not np.isfinite([low, high]).all():
        return whole.number()
    number, _, ends = whole.short().partition(" ")
    ends = ends.strip("[]").replace(", ", "\u2013")
    return f"{number}<br><span style='font-size:10px'>{ends}</span>"


def _pale(rgb: tuple[float, float, float]) -> bool:
    """Whether black has more contrast with a colour than white has, by its luminance (WCAG)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return bool(np.dot([0.2126, 0.7152, 0.0722], linear) > 0.179)


def drops(f: Finding, attack: str, eps: float) -> dict[str, Point]:
    """Share of each class's images, in percent, that are right without attack and wrong within
    ``eps``.

    A proportion, with Wilson's 95 % interval; classes without images are left out.
    """
    falls, labels, names = f.array(f"falls/{attack}"), f.array("labels"), f.array("class_names")
    if falls is None or labels is None or names is None:
        return {}
    turned = (falls > 0) & (falls <= eps * 1.0001)
    found = {}
    for i, name in enumerate(names.tolist()):
        of = turned[labels == i]
        if len(of):
            low, high = wilson(int(of.sum()), len(of))
            found[str(name)] = Point(100 * float(of.mean()), 100 * low, 100 * high)
    return found


def hit_most(drops: Mapping[str, Mapping[str, Point]]) -> list[str]:
    """Classes by what they lose, mean over runs, the most first."""
    lost: dict[str, list[float]] = {}
    for known in drops.values():
        for name, p in known.items():
            lost.setdefault(name, []).append(p.value)
    return sorted(lost, key=lambda name: -float(np.mean(lost[name])))


def examples(f: Finding) -> list[tuple[np.ndarray, str, str]]:
    """Triples (clean | perturbation, magnified around grey | attacked) as ``(H, W, 3)`` uint8,
    both predictions."""
    clean, adv, delta = (f.array(f"example_{part}") for part in ("clean", "adv", "delta"))
    before, after = f.array("example_before"), f.array("example_after")
    if any(part is None for part in (clean, adv, delta, before, after)):
        return []
    found = []
    for x, x_adv, d, a, b in zip(clean, adv, delta, before, after, strict=True):
        found.append((strips.beside([x, strips.magnified(d), x_adv]), str(a), str(b)))
    return found


def strip(f: Finding, ground: Ground) -> go.Figure | None:
    """The pictures of :func:`examples` of one run side by side, both predictions below each;
    ``None`` where there are none.
    """
    shown = [(pixels, f"{before} → {after}") for pixels, before, after in examples(f)]
    return strips.strip(shown, ground, EXAMPLES)


def figures(found: Sequence[Finding], legend: Legend) -> dict[str, go.Figure]:
    """Of ``robustness_curve``: accuracy against the radius, margins, images that the attack turned,
    and, of several runs, transfer between them.
    """
    s = found[0].result.settings
    note, at = sample(found), f"ε = {radius(float(s.get('eps', 0)))}"
    steps = f"ℓ∞, {s.get('steps')} steps"
    shown = [{legend.names[f.run]: strip(f, legend.ground)} for f in found]
    margin, seen = margins(found, legend), transfer(found, legend)
    rows: dict[str, tuple[str, list[dict[str, go.Figure | None]], str]] = {
        "": ("Accuracy against the radius of the attack", [{**curves(found, legend)}],
             f"{note}, {steps}; bands: Wilson 95 % intervals; rings: half of the clean accuracy"),
        "margins": ("Margins on clean images", [{"": margin}],
                    f"{note}; bands hold the whole line at 95 % (DKW)"),
        "examples": ("Images that the attack turned", shown,
                     f"{note}; clean, perturbation × {strips.MAGNIFIED} on grey, attacked: PGD, {at}, "
                     f"{steps}; below, what they are taken for"),
        "transfer": ("Who is fooled by whose images", [{"": seen if len(found) > 1 else None}],
                     f"{note}; accuracy in percent on images found by PGD, {at}, {steps}; \u00b1 half of Wilson's "
             "95 % interval, lopsided ones in full"),
    }  # fmt: skip
    return pages(rows, legend)
