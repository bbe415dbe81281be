"""How unevenly curvature fills directions and matrices, and features fill the space they have."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from grace_geom.analysis.curvature import CurvatureOptions, curvature, eigenvalue_measures
from grace_geom.analysis.feature_analysis import (
    LID_BIAS,
    FeatureOptions,
    cell,
    clean_and_attacked,
    distributions,
    in_order,
    measures,
)
from grace_geom.analysis.features.anisotropy import ESTIMATORS, K, anisotropy
from grace_geom.analysis.numbers import Footnotes, absent, as_measure, gathered
from grace_geom.analysis.run import Part, Shown, progress, sample_text
from grace_geom.analysis.subject import Subject
from grace_geom.distributed import first
from grace_geom.errors import NotFiniteError, UserError
from grace_geom.evaluation.accuracy import reader_for
from grace_geom.geometry.concentration import over_directions, over_matrices
from grace_geom.plots.columns import is_matrix
from grace_geom.plots.sample import loss_name, weights
from grace_geom.records import Measure
from grace_geom.tables import Cell, Table

CURVATURE = {
    "lambda_1/mean": "λ₁/mean", "lambda_1/lambda_5": "λ₁/λ₅", "top_share": "top share of ‖H‖_F²",
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
    watch.clear()
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
    plan = options.plan(subject, state.parent)
    id_set, ood = distributions(subject)
    sets, _ = clean_and_attacked(subject, id_set, ood, plan)
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
    """One table a half."""
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
            f"{options.operator}, {weights(options.params)}, loss: {loss_name(options.loss)}, "
            f"{sample_text(parts, options)}; "
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
    return Shown(tables)


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
        remarks += [(f"{label}, {where}", text) for where, text in _remarks(part)]
    notes = [*feet.notes, options.sample_text(parts), f"adv: {options.attack_text()}"]
    notes += [options.bias_text("LID", LID_BIAS), *gathered(remarks, feet.reasons)]
    heads = ["checkpoint", "set", *(head for head, _ in FEATURES.values())]
    return Table(heads, rows, 2, "Anisotropy of the embedding", notes)


def _remarks(part: Part) -> list[tuple[str, str]]:
    """What was said of a set's layer, or of the sets together, and of which."""
    lines = (text.partition(": ") for text in part.arrays["features/remarks"].tolist())
    return [(where, text) for where, _, text in lines]


def _why(part: Part, name: str, key: str) -> str:
    """Why the embedding of a set has no number of this name."""
    said = dict(_remarks(part)).get(f"{name}, embedding")
    if said is not None:
        return said
    if key == "lid":
        return f"too few different images for {K} neighbours"
    if key in ("alignment", "modality_gap"):
        return "not every class has one text among those of ID"
    return "not defined on these images"
