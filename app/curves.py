"""Training records, ranks and curvature as figures: plain functions of records, tested without
Streamlit.
"""

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from app.logs import number
from app.look import Ground, dress, look, plain_html
from app.panels import Curve, heat, log_axis, log_ticks, overlay
from app.store import Finding, series

TITLES = {
    "loss": "Total loss",
    "loss_task": "Task loss: cross-entropy on clean images",
    "loss_lar": "LAR-AWP loss: on attacked images at perturbed weights",
    "loss_gv": "Gram-volume loss",
    "loss_adv": "Adversarial loss: cross-entropy on attacked images",
    "gram_volume": "Gram volume",
    "train_acc": "Training accuracy",
    "train_acc_adv": "Training accuracy under attack",
    "train_acc_awp": "Training accuracy, attacked, at perturbed weights",
    "val_acc": "Held-out accuracy",
    "val_acc_pgd": "Held-out accuracy under PGD",
    "lr": "Learning rate",
    "grad_norm": "Gradient norm",
    "images_per_s": "Images a second",
    "cos_id_adv": "Cosine of clean and attacked features",
    "cos_id_awp": "Cosine of clean and perturbed-weight features",
    "cos_adv_awp": "Cosine of attacked and perturbed-weight features",
}
GROUPS = {
    "Loss": r"loss$|loss_", "Accuracy": r"(train|val)_acc", "Feature geometry": r"cos_|gram_",
    "Optimiser and speed": r"lr$|grad_norm|images_per_s",
}  # fmt: skip


def groups(records: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[str]]:
    """The logged numbers by heading, in a fixed order; what is no series of its own (n, seconds) is
    left out.
    """
    keys = dict.fromkeys(key for rows in records.values() for row in rows for key in row)
    found = {}
    for title, pattern in GROUPS.items():
        known = [key for key in TITLES if key in keys and re.match(pattern, key)]
        other = [key for key in keys if key not in TITLES and re.match(pattern, key)]
        if known or other:
            found[title] = known + other
    return found


def title(key: str) -> str:
    """What a logged number is called."""
    return TITLES.get(key, key)


def training(
    records: Mapping[str, Sequence[Mapping[str, Any]]],
    names: Mapping[str, str],
    key: str,
    ground: Ground,
) -> go.Figure | None:
    """One logged number against the step, one line a run."""
    figure = go.Figure()
    for run, rows in records.items():
        steps, values = series(rows, key)
        if not steps:
            continue
        style = look(run, ground)
        figure.add_scatter(
            x=steps,
            y=values,
            name=plain_html(names[run]),
            mode="lines" if len(steps) > 40 else "lines+markers",
            line={"color": style.color, "dash": style.dash, "width": 1.8},
            marker={"symbol": style.marker, "size": 7, "color": style.color},
            hovertemplate=f"{plain_html(key)}, step %{{x}}: %{{y:.4g}}",
        )
    if not figure.data:
        return None
    numbers = {"tickformat": ".1%"} if "acc" in key else {"exponentformat": "power"}
    yaxis = {
        "title": _short(key),
        "range": _room([y for line in figure.data for y in line.y], key),
        **numbers,
    }
    last = max(max(line.x) for line in figure.data)
    xaxis = {"title": "Step", "range": [0, 1.04 * last] if last else [-0.5, 1]}
    return dress(figure, ground, 270, xaxis=xaxis, yaxis=yaxis, showlegend=False)


def _room(values: Sequence[float], key: str) -> list[float] | None:
    """A range that holds all values and goes no further than they can."""
    finite = [v for v in values if np.isfinite(v)]
    if not finite:
        return None
    low, high = min(finite), max(finite)
    room = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    least = -1.0 if key.startswith("cos_") else 0.0
    most = 1.0 if "acc" in key or key.startswith("cos_") else np.inf
    margin = 0.01 * (high - low or 1.0)  # a line at its bound is not cut in half
    return [max(low - room, min(least, low) - margin), min(high + room, max(most, high) + margin)]


def _short(key: str) -> str:
    words = title(key).split(":")[0]
    return "<br>".join(textwrap.wrap(words, 30, break_on_hyphens=False))


def short_weight(name: str) -> str:
    """``visual.transformer.resblocks.3.attn.in_proj_weight`` -> ``3 attn.in_proj``."""
    name = re.sub(r"^(visual\.)?(transformer\.resblocks\.|trunk\.blocks\.)?", "", name)
    return re.sub(r"^(\d+)\.", r"\1 ", re.sub(r"[._]weight$", "", name))


def curriculum(
    rows: Sequence[Mapping[str, Any]],
) -> tuple[list[int], list[str], dict[str, np.ndarray]]:
    """Refresh steps ``(t,)``, matrices ``(m,)`` in the network's order, ``(m, t)`` of rank and
    score (NaN: none).
    """
    steps = [int(row["step"]) for row in rows if isinstance(row.get("matrices"), dict)]
    tables = [row["matrices"] for row in rows if isinstance(row.get("matrices"), dict)]
    matrices = list(dict.fromkeys(name for table in tables for name in table))
    grids = {
        key: np.array(
            [[_number(table.get(name), key) for table in tables] for name in matrices], float
        )
        for key in ("rank", "score")
    }
    return steps, matrices, grids


def _number(entry: Any, key: str) -> float:
    value = number(entry.get(key)) if isinstance(entry, dict) else None
    return float("nan") if value is None else value


def refreshes(
    grid: np.ndarray,
    steps: Sequence[int],
    matrices: Sequence[str],
    ends: tuple[float, float],
    title: str,
    ground: Ground,
    log: bool = False,
) -> go.Figure:
    """Matrices down, refreshes across; ``ends`` are shared by the figures that stand side by side.

    Args:
        grid: ``(matrices, steps)``.
        steps: Of the refreshes.
        matrices: Names.
        ends: Of the colour scale, of the logarithm where ``log``.
        title: Of the colour bar.
        ground: Light or dark.
        log: Colour the logarithm to base 10.
    """
    with np.errstate(divide="ignore"):
        shown = np.log10(grid) if log else grid
    bar = log_ticks(ends) if log else {"dtick": 1} if ends[1] <= 10 else {}
    figure = heat(
        grid,
        [str(s) for s in steps],
        [short_weight(m) for m in matrices],
        ends,
        title,
        ground,
        ("Step of the refresh", ""),
        square=False,
        height=120 + 18 * len(matrices),
        bar=bar,
        shown=shown,
    )
    figure.update_xaxes(nticks=12)
    return figure.update_yaxes(autorange="reversed", dtick=1)


def measures(
    found: Sequence[Finding], names: Mapping[str, str], key: str, title: str, ground: Ground
) -> go.Figure | None:
    """One number of an analysis, a row for each run, with its interval where it has one."""
    rows = [(f.run, m) for f in found if (m := f.value(key)) is not None and np.isfinite(m.value)]
    if not rows:
        return None
    figure = go.Figure()
    for i, (run, m) in enumerate(rows):
        style = look(run, ground)
        low, high = (m.value if end is None else end for end in (m.low, m.high))
        figure.add_scatter(
            x=[m.value],
            y=[i],
            mode="markers",
            name=plain_html(names[run]),
            showlegend=False,
            cliponaxis=False,
            marker={"color": style.color, "symbol": style.marker, "size": 10},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [high - m.value],
                "arrayminus": [m.value - low],
                "color": style.color,
                "thickness": 1.4,
                "width": 0,
            },
            hovertemplate=f"{plain_html(names[run])}: %{{x:.4g}} [{low:.4g}, "
            f"{high:.4g}]<extra></extra>",
        )
    return dress(
        figure,
        ground,
        90 + 30 * len(rows),
        xaxis={"title": title, "rangemode": "tozero"},
        yaxis={
            "tickvals": list(range(len(rows))),
            "ticktext": [plain_html(names[run]) for run, _ in rows],
            "ticks": "",
            "range": [len(rows) - 0.5, -0.5],
            "showgrid": False,
        },
    )


def density(found: Sequence[Finding], names: Mapping[str, str], ground: Ground) -> go.Figure | None:
    """Spectral densities over linear eigenvalues, logarithmic, nothing below a hundredth of one
    eigenvalue.

    The Lanczos nodes of all probes are smoothed with one Gaussian kernel, 1 % of the range of all
    runs wide.
    """
    drawn = [
        f for f in found if f.array("density_nodes") is not None and f.value("dim") is not None
    ]
    if not drawn:
        return None
    nodes = {f.run: np.asarray(f.array("density_nodes"), float).ravel() for f in drawn}
    weights = {f.run: np.asarray(f.array("density_weights"), float) for f in drawn}
    used = np.concatenate([nodes[f.run][weights[f.run].ravel() > 0] for f in drawn])
    used = used[np.isfinite(used)]
    if not used.size:
        return None
    width = 0.01 * (float(used.max() - used.min()) or 1.0)
    grid = np.linspace(used.min() - 6 * width, used.max() + 6 * width, 1000)
    dim = drawn[0].value("dim").value
    floor = min(1e-2 / dim / width, 1.0) if dim > 0 else 0.0
    figure = go.Figure()
    for f in drawn:
        known = np.isfinite(nodes[f.run]) & np.isfinite(weights[f.run].ravel())
        nodes[f.run] = np.where(known, nodes[f.run], 0.0)
        weights[f.run] = np.where(known.reshape(weights[f.run].shape), weights[f.run], 0.0)
        kernel = np.exp(-0.5 * ((grid[:, None] - nodes[f.run]) / width) ** 2) / (
            width * np.sqrt(2 * np.pi)
        )
        curve = kernel @ (weights[f.run].ravel() / len(weights[f.run]))
        style = look(f.run, ground)
        figure.add_scatter(
            x=grid,
            y=np.where(curve > floor, curve, np.nan),
            mode="lines",
            name=plain_html(names[f.run]),
            line={"color": style.color, "dash": style.dash, "width": 1.6},
            hovertemplate="λ = %{x:.4g}: %{y:.2g}",
        )
    _name_peaks(figure, drawn, names, ground, (float(grid[0]), float(grid[-1])))
    return dress(
        figure,
        ground,
        420,
        xaxis={"title": "Eigenvalue λ", "range": [float(grid[0]), float(grid[-1])]},
        yaxis={
            "title": "Density (share of weights per unit λ)",
            "type": "log",
            "exponentformat": "power",
            "dtick": 1,
        },
        showlegend=False,
    )


_LABEL = 0.022
"""Width of a letter as a share of a narrow plot, on a telephone."""


def _name_peaks(
    figure: go.Figure,
    found: Sequence[Finding],
    names: Mapping[str, str],
    ground: Ground,
    ends: tuple[float, float],
) -> None:
    """A line at each run's largest eigenvalue, named; names that would collide stand on other
    levels.

    A name stands left of its line, or right of it where it would leave the plot.
    """
    tops = sorted(
        (m.value, f.run)
        for f in found
        if (m := f.value("lambda_1")) is not None and np.isfinite(m.value)
    )
    levels: list[list[tuple[float, float]]] = []  # what the names on each level cover
    for top, run in reversed(tops):
        at, need = (top - ends[0]) / (ends[1] - ends[0]), _LABEL * (len(names[run]) + 6)
        left = at >= need
        begin, end = (at - need, at - 0.005) if left else (at + 0.005, at + need)
        free = (i for i, level in enumerate(levels) if all(end < a or b < begin for a, b in level))
        level = next(free, len(levels))
        levels[level:] = [*levels[level:]] or [[]]
        levels[level].append((begin, end))
        height = 0.98 - 0.065 * level
        color = look(run, ground).color
        figure.add_shape(
            type="line",
            x0=top,
            x1=top,
            y0=0,
            y1=height,
            yref="paper",
            line={"color": color, "width": 1, "dash": "dot"},
        )
        figure.add_annotation(
            x=top,
            y=height,
            yref="paper",
            text=f"{plain_html(names[run])} {top:.3g}",
            showarrow=False,
            xanchor="right" if left else "left",
            yanchor="middle",
            font={"color": color, "size": 12},
            xshift=-3 if left else 3,
            bgcolor=ground.paper,
        )


def kinds(names: Sequence[str]) -> tuple[list[str], list[str], dict[str, tuple[int, int]]]:
    """Weight matrices by kind and block: kinds, blocks (``-``: outside of every block), name ->
    (kind, block).
    """
    split = {name: re.fullmatch(r"(\d+) (.+)", short_weight(name)) for name in names}
    inside = [int(found[1]) for found in split.values() if found]
    blocks = [str(i) for i in range(max(inside) + 1)] if inside else []
    outside = any(found is None for found in split.values())
    columns = [*blocks, *(["-"] if outside else [])]
    rows = list(
        dict.fromkeys(found[2] if found else short_weight(name) for name, found in split.items())
    )
    rows.sort(key=lambda kind: not any(found and found[2] == kind for found in split.values()))
    place = {
        name: (rows.index(found[2]), int(found[1]))
        if found
        else (rows.index(short_weight(name)), len(blocks))
        for name, found in split.items()
    }
    return rows, columns, place


def by_block(
    found: Sequence[Finding], names: Mapping[str, str], group: str, ground: Ground
) -> dict[str, go.Figure]:
    """Kind of matrix down, block across, a panel a run, on one logarithmic colour scale; blank
    where not positive.
    """
    matrices = list(
        dict.fromkeys(n for f in found for n in f.names(group) if n.endswith(("weight", "proj")))
    )
    rows, columns, place = kinds(matrices)
    grids = {}
    for f in found:
        grid = np.full((len(rows), len(columns)), np.nan)
        for name, at in place.items():
            if (m := f.value(f"{group}/{name}")) is not None and m.value > 0:
                grid[at] = m.value
        grids[f.run] = grid
    every = np.concatenate([g.ravel() for g in grids.values()]) if grids else np.array([])
    every = every[np.isfinite(every)]
    if not every.size:
        return {}
    ends = float(np.log10(every.min())), float(np.log10(every.max()))
    bar = log_ticks(ends)
    drawn = {}
    for run, grid in grids.items():
        figure = heat(
            grid,
            columns,
            rows,
            ends,
            "",
            ground,
            ("Block (-: outside of the blocks)", ""),
            square=False,
            height=110 + 22 * len(rows),
            bar=bar,
            shown=np.log10(grid),
        )
        drawn[names[run]] = figure.update_yaxes(autorange="reversed", dtick=1)
    return drawn


FORMS = {
    "ball": ("‖ε‖ ≤ ρ (SAM)", False),
    "adaptive": ("‖ε / |θ|‖ ≤ ρ (adaptive)", False),
    "relative": ("‖ε‖ ≤ ρ ‖W‖ in each matrix (AWP)", False),
    "average": ("Gaussian, E‖ε‖² = ρ²", True),
}


def sharpness(
    found: Sequence[Finding], names: Mapping[str, str], loss: str, ground: Ground
) -> dict[str, go.Figure]:  # fmt: skip
    """Rise of a loss against the radius, a panel a form; logarithmic radii, and rises where all are
    positive.
    """
    drawn = {}
    for form, (title, _) in FORMS.items():
        arrays = {
            f.run: np.asarray(a, float)
            for f in found
            if (a := f.array(f"{loss}/{form}")) is not None and a.size
        }
        if not arrays:
            continue
        rises = np.concatenate([a[:, 1] for a in arrays.values()])
        lines = {
            run: Curve(
                a[:, 0],
                a[:, 1],
                *([a[:, 1] + s * 1.96 * a[:, 2] for s in (-1, 1)] if a.shape[1] > 2 else ()),
            )
            for run, a in arrays.items()
        }
        radii = sorted({float(r) for a in arrays.values() for r in a[:, 0]})
        x = {"title": "ρ", "type": "log", "tickvals": radii, "ticktext": [f"{r:g}" for r in radii]}
        y = {"title": "Rise of the loss", "exponentformat": "power"}
        if (rises > 0).all() and form != "average":
            y |= log_axis([rises])
        drawn[title] = overlay(lines, names, ground, x, y)
    return drawn
