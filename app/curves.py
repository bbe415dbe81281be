"""Training records, ranks and curvature as figures: plain functions of records, tested without Streamlit."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from app.look import Ground, dress, look, plain_html
from app.store import Finding, series

TITLES = {
    "loss": "Total loss", "loss_task": "Task loss: cross-entropy on clean images",
    "loss_lar": "LAR-AWP loss: on attacked images at perturbed weights", "loss_gv": "Gram-volume loss",
    "loss_adv": "Adversarial loss: cross-entropy on attacked images", "gram_volume": "Gram volume",
    "train_acc": "Training accuracy", "train_acc_adv": "Training accuracy under attack",
    "train_acc_awp": "Training accuracy, attacked, at perturbed weights", "val_acc": "Held-out accuracy",
    "val_acc_pgd": "Held-out accuracy under PGD", "lr": "Learning rate", "grad_norm": "Gradient norm",
    "images_per_s": "Images a second", "cos_id_adv": "Cosine of clean and attacked features",
    "cos_id_awp": "Cosine of clean and perturbed-weight features",
    "cos_adv_awp": "Cosine of attacked and perturbed-weight features",
}  # fmt: skip
GROUPS = {
    "Loss": r"loss$|loss_", "Accuracy": r"(train|val)_acc", "Feature geometry": r"cos_|gram_",
    "Optimiser and speed": r"lr$|grad_norm|images_per_s",
}  # fmt: skip


def groups(records: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[str]]:
    """The logged numbers by heading, in a fixed order; what is no series of its own (n, seconds) is left out."""
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
    records: Mapping[str, Sequence[Mapping[str, Any]]], names: Mapping[str, str], key: str, ground: Ground
) -> go.Figure | None:
    """One logged number against the step, one line a run."""
    figure = go.Figure()
    for run, rows in records.items():
        steps, values = series(rows, key)
        if not steps:
            continue
        style = look(run, ground)
        figure.add_scatter(
            x=steps, y=values, name=plain_html(names[run]), mode="lines" if len(steps) > 40 else "lines+markers",
            line={"color": style.color, "dash": style.dash, "width": 1.8},
            marker={"symbol": style.marker, "size": 7, "color": style.color}, hovertemplate="step %{x}: %{y:.4g}",
        )  # fmt: skip
    if not figure.data:
        return None
    numbers = {"tickformat": ".1%"} if "acc" in key else {"exponentformat": "power"}
    yaxis = {"title": _short(key), "range": _room([y for line in figure.data for y in line.y], key), **numbers}
    last = max(max(line.x) for line in figure.data)
    xaxis = {"title": "Step", "range": [0, 1.04 * last] if last else [-0.5, 1]}
    return dress(figure, ground, 300, xaxis=xaxis, yaxis=yaxis, showlegend=True)


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
    return words if len(words) < 34 else key


def short_weight(name: str) -> str:
    """``visual.transformer.resblocks.3.attn.in_proj_weight`` -> ``3 attn.in_proj``."""
    name = re.sub(r"^(visual\.)?(transformer\.resblocks\.|trunk\.blocks\.)?", "", name)
    return re.sub(r"^(\d+)\.", r"\1 ", re.sub(r"[._]weight$", "", name))


def curriculum(rows: Sequence[Mapping[str, Any]]) -> tuple[list[int], list[str], dict[str, np.ndarray]]:
    """Refresh steps ``(t,)``, matrices ``(m,)`` in the network's order, ``(m, t)`` of rank and score (NaN: none)."""
    steps = [int(row["step"]) for row in rows if isinstance(row.get("matrices"), dict)]
    tables = [row["matrices"] for row in rows if isinstance(row.get("matrices"), dict)]
    matrices = list(dict.fromkeys(name for table in tables for name in table))
    grids = {
        key: np.array([[_number(table.get(name), key) for table in tables] for name in matrices], float)
        for key in ("rank", "score")
    }
    return steps, matrices, grids


def _number(entry: Any, key: str) -> float:
    value = entry.get(key) if isinstance(entry, dict) else None
    return float(value) if isinstance(value, (int, float)) else float("nan")


def heat(
    grid: np.ndarray, steps: Sequence[int], matrices: Sequence[str], span: tuple[float, float], title: str,
    ground: Ground, log: bool = False,
) -> go.Figure:
    """Matrices down, refreshes across; ``span`` is shared by the figures that stand side by side.

    Args:
        grid: ``(matrices, steps)``; over 256 refreshes are averaged in blocks.
        steps: Of the refreshes.
        matrices: Names.
        span: Ends of the colour scale, of the logarithm where ``log``.
        title: Of the colour bar.
        ground: Light or dark.
        log: Colour the logarithm to base 10.
    """  # fmt: skip
    if grid.shape[1] > 256:
        parts = np.array_split(np.arange(grid.shape[1]), 256)
        grid = np.stack([np.nanmean(grid[:, part], axis=1) for part in parts], axis=1)
        steps = [steps[int(part[0])] for part in parts]
    with np.errstate(divide="ignore"):
        shown = np.log10(grid) if log else grid
    names = [plain_html(short_weight(m)) for m in matrices]
    bar: dict[str, Any] = {"title": {"text": title, "side": "right"}, "thickness": 12, "outlinewidth": 0}
    bar |= _log_ticks(span) if log else {"dtick": 1} if span[1] <= 10 else {}
    figure = go.Figure(
        go.Heatmap(
            z=np.where(np.isfinite(shown), shown, np.nan), x=[str(s) for s in steps], y=names, zmin=span[0],
            zmax=span[1], colorscale="Viridis", colorbar=bar, customdata=grid,
            hovertemplate="%{y}, step %{x}: %{customdata:.4g}<extra></extra>",
        )
    )  # fmt: skip
    return dress(
        figure, ground, 120 + 18 * len(names), xaxis={"title": "Step of the refresh", "type": "category", "nticks": 12},
        yaxis={"autorange": "reversed", "type": "category", "dtick": 1, "ticks": ""},
    )  # fmt: skip


def _log_ticks(span: tuple[float, float]) -> dict[str, Any]:
    """Powers of ten, with 2 and 5 between them where there are few."""
    tens = range(int(np.floor(span[0])), int(np.ceil(span[1])) + 1)
    heads = (1,) if span[1] - span[0] > 3 else (1, 2, 5)
    ticks = [(np.log10(head) + ten, f"{head}·10<sup>{ten}</sup>") for ten in tens for head in heads]
    return {"tickvals": [t for t, _ in ticks], "ticktext": [name.removeprefix("1·") for _, name in ticks]}


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
            x=[m.value], y=[i], mode="markers", name=plain_html(names[run]), showlegend=False,
            marker={"color": style.color, "symbol": style.marker, "size": 10},
            error_x={
                "type": "data", "symmetric": False, "array": [high - m.value], "arrayminus": [m.value - low],
                "color": style.color, "thickness": 1.4, "width": 0,
            },
            hovertemplate=f"{plain_html(names[run])}: %{{x:.4g}} [{low:.4g}, {high:.4g}]<extra></extra>",
        )  # fmt: skip
    return dress(
        figure, ground, 90 + 30 * len(rows), xaxis={"title": title, "rangemode": "tozero"},
        yaxis={
            "tickvals": list(range(len(rows))), "ticktext": [plain_html(names[run]) for run, _ in rows], "ticks": "",
            "range": [len(rows) - 0.5, -0.5], "showgrid": False,
        },
    )  # fmt: skip


def density(found: Sequence[Finding], names: Mapping[str, str], ground: Ground) -> go.Figure | None:
    """Spectral densities over linear eigenvalues, logarithmic, nothing below a hundredth of one eigenvalue.

    The Lanczos nodes of all probes are smoothed with one Gaussian kernel, 1 % of the range of all runs wide.
    """
    drawn = [f for f in found if f.array("density_nodes") is not None and f.value("dim") is not None]
    if not drawn:
        return None
    nodes = {f.run: np.asarray(f.array("density_nodes"), float).ravel() for f in drawn}
    weights = {f.run: np.asarray(f.array("density_weights"), float) for f in drawn}
    used = np.concatenate([nodes[f.run][weights[f.run].ravel() > 0] for f in drawn])
    width = 0.01 * (float(used.max() - used.min()) or 1.0)
    grid = np.linspace(used.min() - 6 * width, used.max() + 6 * width, 1000)
    floor = min(1e-2 / drawn[0].value("dim").value / width, 1.0)
    figure = go.Figure()
    for f in drawn:
        kernel = np.exp(-0.5 * ((grid[:, None] - nodes[f.run]) / width) ** 2) / (width * np.sqrt(2 * np.pi))
        curve = kernel @ (weights[f.run].ravel() / len(weights[f.run]))
        style = look(f.run, ground)
        figure.add_scatter(
            x=grid, y=np.where(curve > floor, curve, np.nan), mode="lines", name=plain_html(names[f.run]),
            line={"color": style.color, "dash": style.dash, "width": 1.6}, hovertemplate="λ = %{x:.4g}: %{y:.2g}",
        )  # fmt: skip
    return dress(
        figure, ground, 380, xaxis={"title": "Eigenvalue λ"},
        yaxis={"title": "Density (share of weights per unit λ)", "type": "log", "exponentformat": "power", "dtick": 1},
        showlegend=True,
    )  # fmt: skip


def blocks(found: Sequence[Finding], names: Mapping[str, str], group: str, ground: Ground) -> go.Figure | None:
    """Mean curvature of each weight matrix, runs across, on one logarithmic colour scale; blank where not positive."""
    matrices = list(dict.fromkeys(name for f in found for name in f.names(group) if name.endswith("weight")))
    if not matrices:
        return None
    values = [[m.value if (m := f.value(f"{group}/{name}")) else np.nan for f in found] for name in matrices]
    grid = np.array(values, float)
    positive = grid[np.isfinite(grid) & (grid > 0)]
    if not positive.size:
        return None
    span = float(np.log10(positive.min())), float(np.log10(positive.max()))
    figure = heat(np.where(grid > 0, grid, np.nan), list(range(len(found))), matrices, span, "", ground, log=True)
    figure.data[0].update(
        x=[plain_html(names[f.run]) for f in found], hovertemplate="%{y}, %{x}: %{customdata:.4g}<extra></extra>"
    )
    return figure.update_xaxes(title="")
