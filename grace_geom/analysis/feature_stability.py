"""Tables 2 and 9 and Fig. 2a: how the features of a checkpoint move between ID, OOD and adversarial
images.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from matplotlib.figure import Figure

from grace_geom import figures
from grace_geom.analysis.feature_analysis import (
    LID_BIAS,
    FeatureOptions,
    cell,
    distributions,
    in_order,
    measures,
)
from grace_geom.analysis.features.stability import ESTIMATORS, K_SWEEP, stability
from grace_geom.analysis.features.survey import (
    attack,
    attacked_features,
    clean_features,
    weight_perturbed,
)
from grace_geom.analysis.numbers import Footnotes
from grace_geom.analysis.run import Part, Shown
from grace_geom.analysis.subject import Subject
from grace_geom.distributed import first
from grace_geom.methods.lora import ATTENTION_AND_MLP, target_matrices
from grace_geom.tables import MISSING, Cell, Table

SET_COLORS = ("#0072B2", "#E69F00", "#009E73", "#56B4E9", "#8C6D31", "#7A5195")
ADV_COLOR = "#D55E00"
SHOWN_POINTS = 400


@dataclass(frozen=True)
class StabilityOptions(FeatureOptions):
    """Options of ``feature_stability.py``."""


def measure_stability(subject: Subject, options: StabilityOptions, state: Path) -> Part:
    """Clean, OOD, attacked and weight-perturbed features of one checkpoint, and all numbers on
    them.
    """
    plan, models = options.plan(subject, state.parent), {subject.label: subject.model}
    target_matrices(subject.model, ATTENTION_AND_MLP)  # refuses before the attack
    id_set, ood = distributions(subject)
    logits = subject.logits(id_set)
    sets = clean_features(models, id_set, ood, plan)[subject.label]
    x_adv = attack(subject.model, logits, id_set, plan)
    sets["adv"] = attacked_features(models, x_adv, id_set, plan)[subject.label]
    perturbed = weight_perturbed(subject.model, logits, x_adv, id_set, plan)
    if not first():  # the features are in the first process, and so are the numbers made of them
        return Part()
    found = stability(
        sets, len(id_set.class_names), perturbed,
        replicates=options.replicates, seed=options.seed,
    )  # fmt: skip
    arrays = dict(found.arrays)
    arrays["remarks"] = np.array(
        [f"{where}: {text}" for where, text in found.remarks.items()], dtype=np.str_
    )
    arrays["sets"] = np.array(list(sets), dtype=np.str_)
    arrays["class_names"] = np.array(id_set.class_names, dtype=np.str_)
    arrays["n"] = np.array([len(sets[name]) for name in sets])
    return Part(measures(found.numbers, ESTIMATORS), arrays)


def show_stability(parts: dict[str, Part], options: StabilityOptions) -> Shown:
    """Tables 2 and 9, the principal components, and the per-image distributions."""
    sets = in_order([name for part in parts.values() for name in part.arrays["sets"].tolist()])
    notes = [
        options.sample_text(parts),
        f"adv: {options.attack_text()}",
        *(
            f"{label}, {remark}"
            for label, part in parts.items()
            for remark in part.arrays["remarks"].tolist()
        ),
    ]
    moved = [name for name in sets if name != "id"]
    return Shown(
        [
            _table(
                "Stability of unit features against ID (Table 2)",
                parts,
                moved,
                notes,
                [
                    ("centroid_cosine", "cos(μ)", 3),
                    ("delta_lid", "ΔLID", 2),
                    ("delta_two_nn", "ΔTwoNN", 2),
                    ("lemma_centroid_unbiased", "|Δμ|²", 4),
                    ("lemma_covariance", "|ΔΣ|", 4),
                ],
            ),
            _table(
                "Dimension and scatter",
                parts,
                sets,
                [options.bias_text("LID and TwoNN", LID_BIAS)],
                [
                    ("lid", "LID", 2),
                    ("two_nn", "TwoNN", 2),
                    ("scatter_within", "within", 3),
                    ("scatter_between", "between", 3),
                    ("separation", "ratio", 2),
                ],
            ),
            _displacements(parts, moved, options),
        ],
        _components(parts, sets),
        _page(parts, sets),
        {
            "fig2a": _clouds(parts, sets),
            "histograms": _histograms(parts),
            "lid": _sweeps(parts, sets),
        },
    )


def _table(
    title: str,
    parts: dict[str, Part],
    sets: list[str],
    notes: list[str],
    columns: list[tuple[str, str, int]],
) -> Table:
    feet = Footnotes()
    rows: list[list[Cell | str]] = [
        [
            label,
            name,
            *(_cell(part, f"{key}/{name}", name, digits, feet) for key, _, digits in columns),
        ]
        for label, part in parts.items()
        for name in sets
    ]
    heads = ["checkpoint", "set", *(head for _, head, _ in columns)]
    return Table(heads, rows, 2, title, [*feet.notes, *notes])


def _cell(part: Part, key: str, name: str, digits: int, feet: Footnotes) -> Cell:
    """A number on one set, or why there is none."""
    if name not in part.arrays["sets"].tolist():
        return feet.dash(f"{name} is not among this checkpoint's sets")
    why = _remark(part, name) or _remark(part, "id") or "too few images, or no class in common"
    return feet.cell(part.values.get(key), lambda m: cell(m, digits), why, why)


def _remark(part: Part, name: str) -> str:
    """What was said of a set."""
    said = [text for text in part.arrays["remarks"].tolist() if text.startswith(f"{name}: ")]
    return said[0] if said else ""


def _displacements(parts: dict[str, Part], moved: list[str], options: StabilityOptions) -> Table:
    keys = {
        "gram_volume": "Gram volume", "cos_id_adv": "cos id,adv", "cos_id_awp": "cos id,AWP",
        "cos_adv_awp": "cos adv,AWP", "shift_adv": "|Δf| adv", "shift_awp": "|Δf| AWP",
        "shift_awp_clean": "|Δf| AWP clean", "centroid_shift_awp_clean": "|Δμ| AWP clean",
        "centroid_shift/adv": "|Δμ| adv",
    }  # fmt: skip
    ood, feet = [name for name in moved if name != "adv"], Footnotes()
    rows: list[list[Cell | str]] = [
        [label, *(_cell(part, key, "adv", 3, feet) for key in keys),
         *(_cell(part, f"centroid_shift/{name}", name, 3, feet) for name in ood)]
        for label, part in parts.items()
    ]  # fmt: skip
    notes = [
        *feet.notes,
        f"AWP: rank {options.rank} in every attention and MLP matrix, |Δ| = {options.rho:g} |W|, "
        f"{options.awp_batch} images each; an OOD shift is the mean |Δμ| of the classes",
    ]
    heads = ["checkpoint", *keys.values(), *(f"|Δμ| {name}" for name in ood)]
    return Table(
        heads,
        rows,
        1,
        "Displacement under attack, weight perturbation and OOD shift (Table 9)",
        notes,
    )


def _colors(sets: list[str]) -> dict[str, str]:
    others = [name for name in sets if name != "adv"]
    return {name: SET_COLORS[i % len(SET_COLORS)] for i, name in enumerate(others)} | {
        "adv": ADV_COLOR
    }


def _components(parts: dict[str, Part], sets: list[str]) -> Figure:
    """A row a checkpoint, a panel a distribution over the ID features in grey: same axes within a
    checkpoint.
    """
    moved = [name for name in sets if name != "id"]
    height = 1.75 * len(parts) + 0.3
    figure, axes = figures.new(
        figures.PAGE, height, len(parts), len(moved), sharex="row", sharey="row"
    )
    colors = _colors(sets)
    for row, (label, part) in zip(axes, parts.items(), strict=True):
        share = 100 * part.arrays.get("pca_share", np.full(3, np.nan))
        for ax, name in zip(row, moved, strict=True):
            for which, color, size in (("id", "0.75", 3), (name, colors[name], 3)):
                points = part.arrays.get(f"pca/{which}")
                if points is not None:
                    ax.scatter(
                        *points[:SHOWN_POINTS, :2].T,
                        s=size,
                        color=color,
                        linewidths=0,
                        rasterized=True,
                    )
            value = part.values.get(f"centroid_cosine/{name}")
            cosine = math.nan if value is None else value.value
            words = f"cos(μ) {cosine:.2f}" if math.isfinite(cosine) else MISSING
            ax.set_title(f"{name}: {words}")
            ax.set_xlabel(f"PC 1{_share(share[0])}")
            ax.grid(False)
            ax.locator_params(nbins=4)
        row[0].set_ylabel(f"{label}\nPC 2{_share(share[1])}")
    figure.supxlabel(
        "grey: ID images; colour: the named set, on the principal axes of the ID features",
        fontsize=7,
    )
    return figure


def _share(percent: float) -> str:
    return f" ({percent:.0f} %)" if math.isfinite(percent) else ""


def _clouds(parts: dict[str, Part], sets: list[str]) -> Figure:
    """Fig. 2a: ID, all OOD sets together and adversarial features on three principal axes of ID;
    one scale for all.
    """
    shown = {
        "ID": ["id"],
        "OOD": [name for name in sets if name not in ("id", "adv")],
        "Adv": ["adv"],
    }
    colors = {"ID": "0.75", "OOD": SET_COLORS[0], "Adv": ADV_COLOR}
    rows = -(-len(parts) // 4)
    columns = -(-len(parts) // rows)
    in_order = {
        "projection": "3d",
        "computed_zorder": False,
    }  # by depth, whole clouds would hide each other
    figure, axes = figures.new(
        figures.PAGE,
        figures.PAGE / max(columns, 2) * rows + 0.2,
        rows,
        columns,
        subplot_kw=in_order,
    )
    clouds = {
        label: {
            kind: _thinned([part.arrays[f"pca/{n}"] for n in names if f"pca/{n}" in part.arrays])
            for kind, names in shown.items()
        }
        for label, part in parts.items()
    }
    sizes = [np.abs(x).max(initial=0.0) for cloud in clouds.values() for x in cloud.values()]
    reach = max(sizes) or 1.0  # nothing is drawn, and axes have a length
    for ax in axes.flat[len(parts) :]:
        ax.set_axis_off()
    for ax, (label, cloud) in zip(axes.flat, clouds.items(), strict=False):
        for kind, points in cloud.items():
            size = 9 if kind == "ID" else 2.5  # the ground that the others are seen against
            ax.scatter(
                *points.T,
                s=size,
                color=colors[kind],
                linewidths=0,
                alpha=0.7,
                depthshade=False,
                label=kind,
            )
        share = 100 * np.sum(parts[label].arrays.get("pca_share", np.nan))
        words = f"{share:.0f} % of ID variance" if math.isfinite(share) else "no features to show"
        ax.text2D(0.5, 1.0, f"{label}\n{words}", transform=ax.transAxes, ha="center", va="top")
        ax.set_box_aspect(None, zoom=1.25)
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), zlim=(-reach, reach))
        for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
            axis.set_ticklabels([])
            axis.set_pane_color("white")
        ax.set_xlabel("PC 1", labelpad=-12)
        ax.set_ylabel("PC 2", labelpad=-12)
        ax.set_zlabel("PC 3", labelpad=-12)
        ax.view_init(elev=20, azim=-60)
    handles, names = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), markerscale=2)
    return figure


def _thinned(clouds: list[np.ndarray]) -> np.ndarray:
    """At most ``SHOWN_POINTS`` of several clouds, evenly."""
    if not clouds:
        return np.zeros((0, 3))
    points = np.concatenate(clouds)
    return points[np.linspace(0, len(points) - 1, min(SHOWN_POINTS, len(points))).astype(int)]


def _histograms(parts: dict[str, Part]) -> Figure:
    """Per-image Gram volume and cosines as cumulative shares: no bins to choose, tails visible.

    Weight perturbation turns features by little: that cosine is shown by its distance to 1, on a
    log axis.
    """
    keys = {
        "gram_volume": "Gram volume",
        "cos_id_adv": "cos(id, adv)",
        "cos_adv_awp": "1 − cos(adv, AWP)",
    }
    figure, axes = figures.new(figures.PAGE, 2.2, 1, len(keys), sharey=True)
    looks = figures.looks(list(parts))
    for ax, (key, title) in zip(axes[0], keys.items(), strict=True):
        for label, part in parts.items():
            if key in part.arrays:
                x = part.arrays[key]
                x = np.sort(
                    np.clip(1 - x, 1e-7, None) if key == "cos_adv_awp" else x
                )  # float32 keeps 7 digits
                ax.plot(x, np.arange(1, len(x) + 1) / len(x), label=label, **looks[label].stroke())
        ax.set_xlabel(title)
    figures.logarithmic(axes[0, -1], x=True)
    axes[0, 0].set_ylabel("share of images below")
    figures.legend_above(figure, axes[0, 0])
    return figure


def _sweeps(parts: dict[str, Part], sets: list[str]) -> Figure:
    figure, axes = figures.new(figures.PAGE, 2.2, 1, len(sets), sharey=True, sharex=True)
    looks = figures.looks(list(parts))
    for ax, name in zip(axes[0], sets, strict=True):
        for label, part in parts.items():
            if f"lid_sweep/{name}" in part.arrays:
                ks, (low, high) = part.arrays["lid_k"], part.arrays[f"lid_sweep_interval/{name}"]
                ax.plot(ks, part.arrays[f"lid_sweep/{name}"], label=label, **looks[label].line())
                ax.fill_between(ks, low, high, color=looks[label].color, alpha=0.15, linewidth=0)
        ax.set_xscale("log")
        ax.set_xticks(K_SWEEP, [str(k) for k in K_SWEEP])
        ax.minorticks_off()
        ax.set_title(name)
        ax.set_xlabel("neighbours k")
    axes[0, 0].set_ylabel("LID (MLE)")
    figures.legend_above(figure, axes[0, 0])
    return figure


def _page(parts: dict[str, Part], sets: list[str]) -> Any:
    """Fig. 2a, to be turned by hand: three principal components, one scene a checkpoint."""
    page, colors = go.Figure(), _colors(sets)
    width = 1 / len(parts)
    for i, (label, part) in enumerate(parts.items()):
        scene = f"scene{i + 1}" if i else "scene"
        names = part.arrays["class_names"]
        for name in sets:
            if f"pca/{name}" not in part.arrays:
                continue
            points, labels = (
                part.arrays[f"pca/{name}"][:SHOWN_POINTS],
                part.arrays[f"pca_label/{name}"][:SHOWN_POINTS],
            )
            page.add_scatter3d(
                x=points[:, 0],
                y=points[:, 1],
                z=points[:, 2],
                mode="markers",
                name=name,
                legendgroup=name,
                showlegend=i == 0,
                scene=scene,
                marker={"size": 2.5, "color": colors[name]},
                text=[str(names[y]) if y >= 0 else "class that ID lacks" for y in labels],
            )
        axes = {f"{axis}axis_title": f"PC {k + 1}" for k, axis in enumerate("xyz")}
        page.update_layout({scene: {"domain": {"x": [i * width, (i + 1) * width]}, **axes}})
        page.add_annotation(
            text=label, x=(i + 0.5) * width, y=1.05, xref="paper", yref="paper", showarrow=False
        )
    return page.update_layout(template="plotly_white", legend_title="set", margin={"t": 60})
