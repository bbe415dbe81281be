"""How unevenly curvature fills directions and matrices, and features fill the space they have."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from grace_geom import figures
from grace_geom.analysis import pages
from grace_geom.analysis.curvature import (
    CurvatureOptions,
    curvature,
    eigenvalue_measures,
    is_matrix,
)
from grace_geom.analysis.feature_analysis import (
    LID_BIAS,
    FeatureOptions,
    cell,
    distributions,
    in_order,
    measures,
)
from grace_geom.analysis.features.anisotropy import ESTIMATORS, K, anisotropy
from grace_geom.analysis.features.survey import attack, attacked_features, clean_features
from grace_geom.analysis.numbers import Footnotes, absent, as_measure, union
from grace_geom.analysis.run import Part, Shown, progress, sample_text
from grace_geom.analysis.subject import Subject
from grace_geom.distributed import first
from grace_geom.errors import NotFiniteError, UserError
from grace_geom.evaluation.accuracy import reader_for
from grace_geom.geometry.concentration import over_directions, over_matrices
from grace_geom.records import Measure
from grace_geom.tables import Cell, Table

CURVATURE = {
    "lambda_1/mean": "λ_1/mean", "lambda_1/lambda_5": "λ_1/λ_5", "top_share": "top share of |H|_F²",
    "gini": "Gini", "effective_matrices": "effective matrices",
}  # fmt: skip
UNDEFINED = {
    "lambda_1/mean": "the trace is 0",
    "lambda_1/lambda_5": "it takes --top 5 eigenvalues, the fifth not 0",
    "top_share": "the Frobenius norm is 0",
    "gini": "no matrix with a positive trace is among the weights",
    "effective_matrices": "no matrix with a positive trace is among the weights",
}  # fmt: skip
FEATURES = {
    "participation_ratio": ("PR", 1), "iso_score": ("IsoScore", 3), "effective_rank": ("erank", 1),
    "effective_rank_centred": ("erank, centred", 1), "mean_cosine": ("mean cos", 3),
    "partition_isotropy": ("partition", 3), "uniformity": ("uniformity", 2), "lid": ("LID", 1),
    "alignment": ("alignment", 3), "modality_gap": ("modality gap", 3),
}  # fmt: skip


@dataclass(frozen=True)
class AnisotropyOptions(CurvatureOptions, FeatureOptions):
    """Both halves' options.

    Attributes:
        parts: Parts to measure: curvature, features, or both.
    """

    replicates: int = 100
    parts: tuple[str, ...] = field(
        default=("curvature", "features"), metadata={"group": "anisotropy"}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.parts:
            if name not in ("curvature", "features"):
                raise UserError(f"--parts: {name!r} is not known; valid: curvature, features")
        if not self.parts:
            raise UserError("--parts is empty: name curvature, features or both")


def measure(subject: Subject, options: AnisotropyOptions, state: Path) -> Part:
    """The chosen halves of one checkpoint."""
    values: dict[str, Measure] = {}
    arrays: dict[str, np.ndarray] = {}
    if "features" in options.parts:  # what they may refuse is known before the first product
        options.plan(subject, None)
        distributions(subject)
    if "curvature" in options.parts:
        try:
            _curvature(subject, options, state, values, arrays)
        except NotFiniteError as why:
            values |= {f"curvature/{key}": absent(str(why)) for key in CURVATURE}
    if "features" in options.parts:
        _features(subject, options, state, values, arrays)
    return Part(values, arrays)


def _curvature(
    subject: Subject,
    options: AnisotropyOptions,
    state: Path,
    values: dict[str, Measure],
    arrays: dict[str, np.ndarray],
) -> None:
    watch = progress(options.probes + 4 * (options.top + options.bottom))
    found = curvature(subject.objective(), options, state, watch)
    watch.close()
    names, dim = list(found.operator.weights), found.operator.dim
    top = found.pairs.values[: options.top]
    matrices = [i for i, name in enumerate(names) if is_matrix(name)]
    numbers = over_directions(top.tolist(), found.probed, dim)
    if matrices:
        numbers |= over_matrices(found.probed.samples[:, matrices])
    values |= {"curvature/dim": Measure(dim, estimator="weights that vary")}
    values |= {
        f"curvature/{k}": m for k, m in eigenvalue_measures(found.pairs, options.top).items()
    }
    values |= {f"curvature/{key}": as_measure(estimate) for key, estimate in numbers.items()}
    values["curvature/trace"] = as_measure(found.probed.trace)
    values["curvature/frobenius"] = as_measure(found.probed.frobenius)
    values["curvature/products"] = Measure(found.products, estimator="matrix-vector products")
    arrays["curvature/eigenvalues"] = found.pairs.values.numpy()
    arrays["curvature/matrices"] = np.array([names[i] for i in matrices], dtype=np.str_)
    arrays["curvature/traces"] = found.probed.samples[:, matrices].mean(dim=0).numpy()


def _features(
    subject: Subject,
    options: AnisotropyOptions,
    state: Path,
    values: dict[str, Measure],
    arrays: dict[str, np.ndarray],
) -> None:
    plan, models = options.plan(subject, state.parent), {subject.label: subject.model}
    id_set, ood = distributions(subject)
    sets = clean_features(models, id_set, ood, plan)[subject.label]
    x_adv = attack(subject.model, subject.logits(id_set), id_set, plan)
    sets["adv"] = attacked_features(models, x_adv, id_set, plan)[subject.label]
    if not first():  # the features are in the first process, and so are the numbers made of them
        return
    reader = reader_for(subject.model, id_set)
    texts = (
        None if reader.grouped else torch.nn.functional.normalize(reader.head_rows.cpu(), dim=-1)
    )
    remarks = ["no alignment: a class has several texts"] if reader.grouped else []
    for name, features in sets.items():
        found = anisotropy(features, texts, replicates=options.replicates, seed=options.seed)
        values |= {
            f"features/{name}/{key}": m for key, m in measures(found.numbers, ESTIMATORS).items()
        }
        arrays |= {f"features/{name}/spectrum/{layer}": s for layer, s in found.spectra.items()}
        remarks += [f"{name}, {layer}: {text}" for layer, text in found.remarks.items()]
    arrays["features/sets"] = np.array(list(sets), dtype=np.str_)
    arrays["features/layers"] = np.array(list(sets["id"].layers), dtype=np.str_)
    arrays["features/remarks"] = np.array(remarks, dtype=np.str_)


def show(parts: dict[str, Part], options: AnisotropyOptions) -> Shown:
    """One table a half; the decays of both spectra, curvature by matrix, isotropy layer by
    layer."""
    tables = []
    if "curvature" in options.parts:
        feet = Footnotes()
        rows: list[list[Cell | str]] = [
            [
                label,
                *(
                    feet.cell(p.values.get(f"curvature/{key}"), undefined=why, missing=why)
                    for key, why in UNDEFINED.items()
                ),
            ]
            for label, p in parts.items()
        ]
        notes = [
            *feet.notes,
            f"{options.operator}, {options.params}, {options.loss}, {sample_text(parts, options)}; "
            "± standard error. Gini and effective number are those of the traces of the matrices: 0 and all "
            "of them if every one had the same",
        ]
        tables.append(
            Table(
                ["checkpoint", *CURVATURE.values()],
                rows,
                title="Anisotropy of curvature",
                notes=notes,
            )
        )
    if "features" in options.parts:
        tables.append(_feature_table(parts, options))
    return Shown(tables, draw(parts, options), page(parts, options))


def _feature_table(parts: dict[str, Part], options: AnisotropyOptions) -> Table:
    rows: list[list[Cell | str]] = []
    remarks, feet = [], Footnotes()
    for label, part in parts.items():
        for name in in_order(part.arrays["features/sets"].tolist()):
            keys = {key: f"features/{name}/{key}/embedding" for key in FEATURES}
            rows.append(
                [
                    label,
                    name,
                    *(
                        feet.cell(
                            part.values.get(keys[k]),
                            lambda m, digits=digits: cell(m, digits),  # type: ignore[misc]
                            *[_why(part, name, k)] * 2,
                        )
                        for k, (_, digits) in FEATURES.items()
                    ),
                ]
            )
        remarks += [f"{label}: {text}" for text in part.arrays["features/remarks"].tolist()]
    notes = [*feet.notes, options.sample_text(parts), f"adv: {options.attack_text()}"]
    notes += [options.bias_text("LID", LID_BIAS), *remarks]
    heads = ["checkpoint", "set", *(head for head, _ in FEATURES.values())]
    return Table(heads, rows, 2, "Anisotropy of the embedding", notes)


def _why(part: Part, name: str, key: str) -> str:
    """Why the embedding of a set has no number of this name."""
    head = f"{name}, embedding: "
    said = [text for text in part.arrays["features/remarks"].tolist() if text.startswith(head)]
    if said:
        return f"{name}: {said[0].removeprefix(head)}"
    if key == "lid":
        return f"{name}: too few different images for {K} neighbours"
    if key in ("alignment", "modality_gap"):
        return f"{name}: not every class has one text among those of ID"
    return f"{name}: not defined on these images"


def draw(parts: dict[str, Part], options: AnisotropyOptions) -> Figure:
    """Curvature above (eigenvalues; share of the trace held by the k largest matrices), features
    below.
    """
    look = figures.looks(list(parts))
    both = len(set(options.parts)) == 2
    figure, axes = figures.new(
        figures.PAGE,
        4.6 if both else 2.5,
        2 if both else 1,
        3 if "features" in options.parts else 2,
    )
    if "curvature" in options.parts:
        _draw_curvature(axes[0], parts, look)
    if "features" in options.parts:
        _draw_features(axes[-1], parts, look)
    for axis in axes.flat:
        if not axis.has_data():
            axis.set_axis_off()
    figures.legend_above(figure, axes[0, 0])
    return figure


def _draw_curvature(row: Any, parts: dict[str, Part], look: dict[str, figures.Look]) -> None:
    for label, part in parts.items():
        lams = _positive(part)
        relative = lams / lams.max(initial=0.0)
        row[0].plot(range(1, len(lams) + 1), relative, label=label, **look[label].line())
        traces = np.sort(np.clip(_traces(part), 0, None))[::-1]
        if traces.sum() > 0:
            row[1].plot(
                range(1, len(traces) + 1),
                np.cumsum(traces) / traces.sum(),
                label=label,
                **look[label].stroke(),
            )
    count = max(len(_traces(part)) for part in parts.values())
    row[1].plot([0, count], [0, 1], color="0.8", linewidth=0.8)
    row[0].set(
        xlabel="index",
        ylabel=r"$\lambda_i / \lambda_1$",
        title="largest eigenvalues",
        ylim=(0, None),
    )
    row[1].set(
        xlabel="matrices, largest trace first",
        ylabel="share of the trace",
        title="trace over matrices (grey: even)",
    )
    row[1].set_ylim(0, 1.02)
    if len(row) > 2:
        for i, label in enumerate(parts):
            m = parts[label].values.get("curvature/effective_matrices")
            if m is None or not math.isfinite(m.value):  # no matrix is among the weights
                continue
            row[2].errorbar(
                i,
                m.value,
                m.error or 0.0,
                marker=look[label].marker,
                color=look[label].color,
                linestyle="none",
            )
        row[2].set(xticks=[], xlim=(-0.6, len(parts) - 0.4), ylim=(0, None))
        row[2].set(ylabel="effective number", title=f"trace: of {count} matrices")


def _traces(part: Part) -> np.ndarray:
    """Trace of each matrix; empty where there is no curvature."""
    return np.asarray(part.arrays.get("curvature/traces", np.zeros(0)))


def _positive(part: Part) -> np.ndarray:
    """The positive ones among the eigenvalues, largest first."""
    lams = np.asarray(part.arrays.get("curvature/eigenvalues", np.zeros(0)))
    return lams[lams > 0]


def _draw_features(row: Any, parts: dict[str, Part], look: dict[str, figures.Look]) -> None:
    every = union(part.arrays["features/layers"].tolist() for part in parts.values())
    for label, part in parts.items():
        # Too few images leave no spectrum; the table's remarks say so.
        spectrum = np.asarray(part.arrays.get("features/id/spectrum/embedding", []))
        kept = spectrum[spectrum > 1e-6]
        row[0].plot(range(1, len(kept) + 1), kept, label=label, **look[label].stroke())
        layers = part.arrays["features/layers"].tolist()
        for axis, key in ((row[1], "effective_rank_centred"), (row[2], "mean_cosine")):
            for name, alpha in (("id", 1.0), ("adv", 0.45)):
                m = [part.values.get(f"features/{name}/{key}/{layer}") for layer in layers]
                y = [x.value if x else np.nan for x in m]
                x = [every.index(layer) for layer in layers]
                axis.plot(x, y, alpha=alpha, **look[label].line())
    for axis in row[1:]:
        axis.set_xticks(range(len(every)), _short(every))
        axis.set_xlabel("block")
    figures.logarithmic(row[0], x=True, y=True)
    row[0].set(xlabel="index", ylabel="share of the variance", title="embedding, ID")
    row[1].set(ylabel="effective rank, centred", title="full: ID, pale: Adv")
    row[2].set(ylabel="mean cosine", title="full: ID, pale: Adv")


def page(parts: dict[str, Part], options: AnisotropyOptions) -> Any:
    """The same panels, interactive."""
    rows = []
    if "curvature" in options.parts:
        rows.append(_curvature_cells(parts))
    if "features" in options.parts:
        rows.append(_feature_cells(parts))
    return pages.page(
        "Anisotropy", list(parts), rows,
        f"{options.params}, {options.loss}, {sample_text(parts, options)}",
    )  # fmt: skip


def _short(layers: list[str]) -> list[str]:
    """Layers as ticks."""
    return [name.replace("block.", "").replace("embedding", "emb") for name in layers]


def _curvature_cells(parts: dict[str, Part]) -> list[pages.Cell]:
    decay, share, effective = [], [], []
    for i, (label, part) in enumerate(parts.items()):
        lams = _positive(part)
        decay.append(pages.Curve(label, np.arange(1, len(lams) + 1), lams / lams.max(initial=0.0)))
        traces = _traces(part)
        names = part.arrays.get("curvature/matrices", np.zeros(0, dtype=np.str_))
        order = np.argsort(traces)[::-1]
        kept = np.clip(traces[order], 0, None)
        if kept.sum() > 0:
            x, y = np.arange(1, len(kept) + 1), np.cumsum(kept) / kept.sum()
            hover = [
                f"{name}<br>{value:.3f} so far"
                for name, value in zip(names[order].tolist(), y, strict=True)
            ]
            share.append(pages.Curve(label, x, y, mode="lines", hover=hover))
        m = part.values.get("curvature/effective_matrices")
        if m and math.isfinite(m.value):  # none where no matrix is among the weights that vary
            effective.append(pages.Curve(label, [i], [m.value], [m.error or 0.0], mode="markers"))
    count = max(len(_traces(part)) for part in parts.values())
    found: list[pages.Cell] = [
        pages.Panel(
            "largest eigenvalues", "index", "λ<sub>i</sub> / λ<sub>1</sub>", decay, zero=True
        ),
        pages.Panel(
            "trace over matrices (grey: even)",
            "matrices, largest trace first",
            "share of the trace",
            share,
            grounds=[([0, count], [0, 1])],
            zero=True,
        ),
    ]
    if effective:
        title = f"trace: of {count} matrices"
        found.append(
            pages.Panel(title, "", "effective number", effective, ticks=list(parts), zero=True)
        )
    return found


def _feature_cells(parts: dict[str, Part]) -> list[pages.Cell]:
    spectra = []
    layered: dict[str, list[pages.Curve]] = {"effective_rank_centred": [], "mean_cosine": []}
    every = union(part.arrays["features/layers"].tolist() for part in parts.values())
    for label, part in parts.items():
        spectrum = np.asarray(part.arrays.get("features/id/spectrum/embedding", []))
        kept = spectrum[spectrum > 1e-6]
        spectra.append(pages.Curve(label, np.arange(1, len(kept) + 1), kept, mode="lines"))
        layers = part.arrays["features/layers"].tolist()
        for key, curves in layered.items():
            for name in ("id", "adv"):
                m = [part.values.get(f"features/{name}/{key}/{layer}") for layer in layers]
                y = [x.value if x else np.nan for x in m]
                hover = [
                    f"{name}, {layer}<br>{value:.4g}"
                    for layer, value in zip(layers, y, strict=True)
                ]
                x = [every.index(layer) for layer in layers]
                curves.append(pages.Curve(label, x, y, pale=name == "adv", hover=hover))
    ticks = _short(every)
    return [
        pages.Panel(
            "embedding, ID", "index", "share of the variance", spectra, log_x=True, log_y=True
        ),
        *(
            pages.Panel("full: ID, pale: Adv", "block", words, layered[key], ticks=ticks)
            for key, words in (
                ("effective_rank_centred", "effective rank, centred"),
                ("mean_cosine", "mean cosine"),
            )
        ),
    ]
