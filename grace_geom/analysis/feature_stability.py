"""Tables 2 and 9 and Fig. 2a: how the features of a checkpoint move between ID, OOD and adversarial
images.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch.nn import functional as F

from grace_geom.analysis.feature_analysis import (
    LID_BIAS,
    FeatureOptions,
    cell,
    clean_and_attacked,
    distributions,
    in_order,
    measures,
)
from grace_geom.analysis.features.stability import ESTIMATORS, stability
from grace_geom.analysis.features.survey import weight_perturbed
from grace_geom.analysis.features.umap_map import check_umap, umap_of
from grace_geom.analysis.numbers import Footnotes, gathered
from grace_geom.analysis.run import Part, Shown
from grace_geom.analysis.subject import Subject
from grace_geom.distributed import first
from grace_geom.fields import bounded
from grace_geom.methods.lora import ATTENTION_AND_MLP, target_matrices
from grace_geom.tables import Cell, Table


@dataclass(frozen=True)
class StabilityOptions(FeatureOptions):
    """Options of ``feature_stability.py``.

    Attributes:
        umap: Also map the images by UMAP (``pip install 'grace_geom[umap]'``), for the dashboard.
        umap_neighbours: Number of neighbours of an image that UMAP keeps near.
    """

    umap: bool = False
    umap_neighbours: int = bounded(15, least=2)

    def settings(self) -> dict[str, Any]:
        """As in :class:`Common`; those of UMAP only where it is asked for, which older results do
        not name.
        """
        kept = super().settings()
        return kept if self.umap else {k: v for k, v in kept.items() if not k.startswith("umap")}


def measure_stability(subject: Subject, options: StabilityOptions, state: Path) -> Part:
    """Clean, OOD, attacked and weight-perturbed features of one checkpoint, and all numbers on
    them.

    Arrays beside those of :class:`Stability`: ``pca_index/DIST`` ``(n,)`` int64, the place of each
    point's image in its source; with ``--umap``, ``umap/DIST`` ``(n, 2)``.

    Raises:
        UserError: If the tower cannot be measured so, or umap-learn is asked for and not installed.
    """
    if options.umap:
        check_umap()
    plan = options.plan(subject, state.parent)
    target_matrices(subject.model, ATTENTION_AND_MLP)  # refuses before the attack
    id_set, ood = distributions(subject)
    sets, x_adv = clean_and_attacked(subject, id_set, ood, plan)
    perturbed = weight_perturbed(subject.model, subject.logits(id_set), x_adv, id_set, plan)
    if not first():  # the features are in the first process, and so are the numbers made of them
        return Part()
    found = stability(
        sets, len(id_set.class_names), perturbed,
        replicates=options.replicates, seed=options.seed,
    )  # fmt: skip
    arrays = dict(found.arrays)
    index = {
        name: image_set.index for name, image_set in ({"id": id_set, "adv": id_set} | ood).items()
    }
    shown = {name: len(arrays[f"pca/{name}"]) for name in sets if f"pca/{name}" in arrays}
    arrays |= {f"pca_index/{name}": index[name][:n] for name, n in shown.items()}
    if options.umap:
        unit = {
            name: F.normalize(sets[name].embedding.double()[:n], dim=-1)
            for name, n in shown.items()
        }
        arrays |= umap_of(unit, options.umap_neighbours, options.seed)
    arrays["remarks"] = np.array(
        [f"{where}: {text}" for where, text in found.remarks.items()]
        + options.pool_remarks(subject),
        dtype=np.str_,
    )
    arrays["sets"] = np.array(list(sets), dtype=np.str_)
    arrays["class_names"] = np.array(id_set.class_names, dtype=np.str_)
    arrays["n"] = np.array([len(sets[name]) for name in sets])
    return Part(measures(found.numbers, ESTIMATORS), arrays)


def show_stability(parts: dict[str, Part], options: StabilityOptions) -> Shown:
    """Tables 2 and 9, dimension and scatter."""
    sets = in_order([name for part in parts.values() for name in part.arrays["sets"].tolist()])
    notes = [options.sample_text(parts), f"adv: {options.attack_text()}"]
    remarks = [
        (f"{label}, {where}", text)
        for label, part in parts.items()
        for where, _, text in (line.partition(": ") for line in part.arrays["remarks"].tolist())
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
                remarks,
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
        ]
    )


def _table(
    title: str,
    parts: dict[str, Part],
    sets: list[str],
    notes: list[str],
    columns: list[tuple[str, str, int]],
    remarks: list[tuple[str, str]] | None = None,
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
    said = gathered(remarks or [], feet.reasons)
    return Table(heads, rows, 2, title, [*feet.notes, *notes, *said])


def _cell(part: Part, key: str, name: str, digits: int, feet: Footnotes) -> Cell:
    """A number on one set, or why there is none."""
    if name not in part.arrays["sets"].tolist():
        return feet.dash(f"{name} is not among this checkpoint's sets")
    why = _remark(part, name) or _remark(part, "id") or "too few images, or no class in common"
    return feet.cell(part.values.get(key), lambda m: cell(m, digits), why, why)


def _remark(part: Part, name: str) -> str:
    """What was said of a set, without its name: the same reason has one mark in a table."""
    head = f"{name}: "
    said = [text for text in part.arrays["remarks"].tolist() if text.startswith(head)]
    return said[0].removeprefix(head) if said else ""


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
