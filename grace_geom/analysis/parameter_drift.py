"""Distance of checkpoints from the pretrained weights, its rank, and whether it goes with zero-shot
loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from grace_geom.analysis.numbers import Footnotes, absent, three_digits
from grace_geom.analysis.objective import GROUPS
from grace_geom.analysis.options import Common
from grace_geom.analysis.run import Part, Shown
from grace_geom.analysis.subject import Subject
from grace_geom.data import ImageSet, suites
from grace_geom.evaluation.accuracy import evaluate_set
from grace_geom.geometry.drift import correlation, matrix_drift, relative_drift
from grace_geom.models import ClipClassifier
from grace_geom.plots.sample import weights
from grace_geom.records import Measure
from grace_geom.tables import Cell, Table, percent
from grace_geom.weights import select

MOST_KEPT = 1024  # singular values of a matrix: all of them up to ViT-L, beyond any LoRA's rank


@dataclass(frozen=True)
class ParameterDriftOptions(Common):
    """What is measured of the drift.

    Attributes:
        zeroshot: Zero-shot sets for the loss of accuracy, as NAME=SPEC; default: those known for
            the data set.
    """

    zeroshot: dict[str, str] = field(default_factory=dict, metadata={"group": "drift"})

    def zeroshot_sets(self, data: str) -> dict[str, str]:
        """Those that are named, else those known of the data."""
        return self.zeroshot or suites(data)["zeroshot"]


def measure(subject: Subject, options: ParameterDriftOptions, state: Path) -> Part:
    """Drift by matrix and in all; zero-shot accuracy of the pretrained model minus the
    checkpoint's.

    Arrays: ``blocks`` (B,) names; ``singular_values`` (B, k) of each change, largest first, filled
    up with 0 (rows of vectors are 0).
    """
    now = select(subject.model.weights(), GROUPS.get(options.params, options.params))
    before = subject.before(now)
    sets = {  # what cannot be read is known before anything is measured
        name: subject.images(spec, "eval", "zeroshot")
        for name, spec in options.zeroshot_sets(subject.data).items()
    }
    values = {
        "drift": Measure(
            relative_drift(now, before), estimator="|theta - theta0| / |theta0|, exact"
        )
    }
    arrays: dict[str, np.ndarray] = {"blocks": np.array(list(now))}
    spectra: list[np.ndarray] = [np.zeros(0)] * len(now)
    for i, (name, w) in enumerate(now.items()):
        moved = matrix_drift(w, before[name])
        values[f"relative/{name}"] = Measure(moved.relative)
        values[f"norm/{name}"] = Measure(moved.norm)
        if w.ndim > 1:
            values[f"effective_rank/{name}"] = Measure(moved.effective_rank)
            values[f"stable_rank/{name}"] = Measure(moved.stable_rank)
            spectra[i] = moved.singular_values.numpy()
    ranks = [m.value for key, m in values.items() if key.startswith("effective_rank/")]
    if ranks:
        values["mean_effective_rank"] = Measure(float(np.mean(ranks)), estimator="over matrices")
    arrays["zero_shot_sets"] = np.array([x.spec for x in sets.values()], dtype=np.str_)
    found = _zero_shot(subject, sets, options)
    return Part(values | found, arrays | {"singular_values": padded(spectra)})


def padded(spectra: Sequence[np.ndarray]) -> np.ndarray:
    """``(B, k)`` of B spectra, each cut after ``MOST_KEPT`` and filled up with 0."""
    widest = min(MOST_KEPT, max(map(len, spectra), default=0))
    cut = [s[:widest] for s in spectra]
    return np.array([np.pad(s, (0, widest - len(s))) for s in cut]).reshape(len(spectra), widest)


def _zero_shot(
    subject: Subject, sets: dict[str, ImageSet], options: ParameterDriftOptions
) -> dict[str, Measure]:
    """Mean over the sets of the loss of accuracy. Both models answer the same images, so the error
    is that of the mean difference image by image: 0 where no answer changed.
    """
    losses, errors, values = [], [], {}
    for name, images in sets.items():
        if len(images.class_names) < 2:
            why = f"{name} has a single class, so that every answer is right"
            values[f"zero_shot_loss/{name}"] = absent(why)
            continue
        old, new = (
            _right(m, images, name, options, subject.image_size)
            for m in (subject.base, subject.model)
        )
        gaps = old.astype(np.float64) - new
        n, loss = len(gaps), float(gaps.mean())
        error = float(np.sqrt(np.sum(np.square(gaps - loss)) / max(n - 1, 1) / n))
        values[f"zero_shot_loss/{name}"] = Measure(
            loss, error, estimator=f"n = {n}, paired over images"
        )
        losses.append(loss)
        errors.append(error)
    if losses:
        error = float(np.sqrt(np.sum(np.square(errors)))) / len(errors)
        values["zero_shot_loss"] = Measure(
            float(np.mean(losses)), error, estimator=f"mean of {len(losses)} sets"
        )
    return values


def _right(
    model: ClipClassifier, images: ImageSet, name: str, options: ParameterDriftOptions, size: int
) -> np.ndarray:
    """``(n,)`` bool, image by image."""
    found = evaluate_set(
        model.float(), images, "zeroshot", name, batch_size=options.batch, seed=options.seed,
        image_size=size,
    )  # fmt: skip
    return found.right()


def show(parts: dict[str, Part], options: ParameterDriftOptions) -> Shown:
    """One row a checkpoint; the correlation below, from four checkpoints on."""
    feet = Footnotes()
    rows: list[list[Cell | str]] = [
        [
            label,
            feet.cell(
                part.values["drift"], three_digits, undefined="the pretrained weights are all 0"
            ),
            feet.cell(
                part.values.get("mean_effective_rank"),
                three_digits,
                missing="no matrix is among the weights",
            ),
            feet.cell(
                part.values.get("zero_shot_loss"),
                _points,
                missing="no zero-shot set is known for its data: add --zeroshot NAME=SPEC",
            ),
        ]
        for label, part in parts.items()
    ]
    sets = {label: part.arrays["zero_shot_sets"].tolist() for label, part in _with_loss(parts)}
    alike = len({str(names) for names in sets.values()}) < 2
    pairs = [
        (p.values["drift"].value, p.values["zero_shot_loss"].value) for _, p in _with_loss(parts)
    ]
    found = correlation(*([[x for x, _ in pairs], [y for _, y in pairs]] if alike else [[], []]))
    joint, notes = (
        {},
        [
            *feet.notes,
            f"{weights(options.params)}; zero-shot loss: accuracy points below the pretrained model",
        ],
    )
    if np.isfinite(found.r):
        words = f"Pearson, {found.n} checkpoints, p = {found.p:.2g}"
        low, high = (None, None) if np.isnan(found.low) else (found.low, found.high)
        joint["correlation_drift_zero_shot_loss"] = Measure(found.r, None, low, high, 0.95, words)
        interval = "" if low is None else f" [{found.low:.2f}, {found.high:.2f}]"
        notes.append(
            f"correlation of drift with zero-shot loss: r = {found.r:.2f}{interval}, n = {found.n}"
        )
    elif alike:
        notes.append("a correlation needs at least 3 checkpoints that differ")
    else:
        each = "; ".join(f"{label}: {', '.join(names)}" for label, names in sets.items())
        notes.append(f"the losses are means over unlike sets and do not compare ({each})")
    table = Table(
        ["checkpoint", "drift", "mean effective rank", "zero-shot loss, points"],
        rows,
        title="Parameter drift",
        notes=notes,
    )
    return Shown([table], joint=joint)


def _with_loss(parts: dict[str, Part]) -> list[tuple[str, Part]]:
    """Checkpoints with a zero-shot loss."""
    return [(label, part) for label, part in parts.items() if "zero_shot_loss" in part.values]


def _points(loss: Measure) -> Cell:
    error = loss.error or 0.0
    return percent(loss.value, loss.value - 1.96 * error, loss.value + 1.96 * error)
