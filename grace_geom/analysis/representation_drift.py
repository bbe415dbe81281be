"""What fine-tuning changed in the representation: layer by layer against a reference, and clean against attacked."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from grace_geom import figures
from grace_geom.analysis.features import FeatureOptions, cell, distributions, in_order, measure
from grace_geom.analysis.run import Part, Shown
from grace_geom.analysis.subject import Subject, open_subject
from grace_geom.checkpoint import checkpoint_file
from grace_geom.collect.drift import MEASURES, Drift, drift
from grace_geom.collect.survey import attack, attacked_features, clean_features
from grace_geom.files import sha256
from grace_geom.models import ClipClassifier
from grace_geom.results import Measure
from grace_geom.tables import Cell, Table

WITHIN = "clean-adv"
PRETRAINED = "pretrained"


@dataclass(frozen=True)
class DriftOptions(FeatureOptions):
    """Options of ``representation_drift.py``.

    Attributes:
        reference: What the checkpoints are compared to: pretrained, or a checkpoint.
        rbf: Also CKA with a Gaussian kernel.
    """

    reference: str = field(default=PRETRAINED, metadata={"group": "drift"})
    rbf: bool = False

    def settings(self) -> dict[str, Any]:
        """With the reference's content, so that another file of that name is another result."""
        known = super().settings()
        if self.reference != PRETRAINED:
            known["reference_sha256"] = sha256(checkpoint_file(Path(self.reference)))
        return known


def measure_drift(subject: Subject, options: DriftOptions, state: Path) -> Part:
    """Every distribution through the checkpoint and the reference; attacked images are the checkpoint's own.

    On ``adv`` both models see the same images, those that were found at the checkpoint. ``clean-adv`` compares the
    checkpoint with itself: clean against attacked.
    """
    plan = options.plan(state.parent)
    models = {"reference": _reference(subject, options), "checkpoint": subject.model}
    id_set, ood = distributions(subject)
    clean = clean_features(models, id_set, ood, plan)
    x_adv = attack(subject.model, subject.logits(id_set), id_set, plan)
    adv = attacked_features(models, x_adv, id_set, plan)
    pairs = {name: (clean["reference"][name], clean["checkpoint"][name]) for name in clean["reference"]}
    pairs |= {"adv": (adv["reference"], adv["checkpoint"]), WITHIN: (clean["checkpoint"]["id"], adv["checkpoint"])}
    values: dict[str, Measure] = {}
    arrays: dict[str, np.ndarray] = {}
    remarks = []
    for name, (a, b) in pairs.items():
        found = drift(a, b, replicates=options.replicates, seed=options.seed, rbf=options.rbf)
        _add(values, arrays, name, found)
        remarks += [f"{name}, {layer}: {text}" for layer, text in found.remarks.items()]
        arrays["layers"] = np.array(found.layers, dtype=np.str_)
    arrays["remarks"] = np.array(remarks, dtype=np.str_)
    return Part(values, arrays)


def _reference(subject: Subject, options: DriftOptions) -> ClipClassifier:
    if options.reference == PRETRAINED:
        return subject.base
    return open_subject(checkpoint_file(Path(options.reference)), "reference", options).model


def _add(values: dict[str, Measure], arrays: dict[str, np.ndarray], name: str, found: Drift) -> None:
    for key, column in found.by_layer.items():
        for i, layer in enumerate(found.layers):
            values[f"{key}/{name}/{layer}"] = measure(column.at(i), MEASURES[key])
        arrays[f"{key}/{name}"] = np.stack([column.value, column.low, column.high])
    arrays[f"cka_layers/{name}"] = found.cka.value
    arrays[f"cka_layers_interval/{name}"] = np.stack([found.cka.low, found.cka.high])


def show_drift(parts: dict[str, Part], options: DriftOptions) -> Shown:
    """Tables by layer, CKA by layer, and layer x layer heat maps on one scale from 0 to 1."""
    pairs = _pairs(parts)
    notes = [
        f"against {Path(options.reference).name}; {WITHIN}: the checkpoint with itself, clean against attacked images",
        options.sample_text(),
        f"adv: {options.attack_text()}, found at the checkpoint, the same images through both",
        *(f"{label}, {remark}" for label, part in parts.items() for remark in part.arrays["remarks"].tolist()),
    ]
    return Shown(
        [
            _table("CKA (linear, debiased), layer by layer", "cka", parts, pairs, notes),
            _last(parts, pairs),
        ],
        _by_layer("cka", "CKA", parts, pairs),
        more={
            "layers": _heat_maps(parts, pairs),
            "procrustes": _by_layer("procrustes", "Procrustes $d^2$", parts, pairs),
            "gram": _by_layer("gram_chord", "Gram drift (cosines)", parts, pairs),
        },
    )


def _pairs(parts: dict[str, Part]) -> list[str]:
    names = [key.partition("/")[2] for part in parts.values() for key in part.arrays if key.startswith("cka_layers/")]
    return sorted(in_order(names), key=lambda name: name == WITHIN)


def _layers(part: Part) -> list[str]:
    return [str(name) for name in part.arrays["layers"]]


def _table(title: str, key: str, parts: dict[str, Part], pairs: list[str], notes: list[str]) -> Table:
    layers = list(dict.fromkeys(layer for part in parts.values() for layer in _layers(part)))
    rows: list[list[Cell | str]] = [
        [label, name, *(cell(part.values.get(f"{key}/{name}/{layer}")) for layer in layers)]
        for label, part in parts.items()
        for name in pairs
    ]
    return Table(["checkpoint", "set", *layers], rows, 2, title, notes)


def _last(parts: dict[str, Part], pairs: list[str]) -> Table:
    keys = {
        "procrustes": "Procrustes", "gram_chord_centred": "Gram, centred", "gram_chord": "Gram, cosines",
        "log_norm_ratio_centred": "ln norm ratio",
    }  # fmt: skip
    rows: list[list[Cell | str]] = [
        [label, name, *(cell(part.values.get(f"{key}/{name}/{_layers(part)[-1]}")) for key in keys)]
        for label, part in parts.items()
        for name in pairs
    ]
    return Table(["checkpoint", "set", *keys.values()], rows, 2, "At the last layer (the embedding)")


def _by_layer(key: str, title: str, parts: dict[str, Part], pairs: list[str]) -> Figure:
    """One panel a distribution, one line a checkpoint, bands for the intervals."""
    columns = len(pairs) if len(pairs) < 5 else 3
    rows = -(-len(pairs) // columns)
    figure, axes = figures.new(figures.PAGE, 1.9 * rows + 0.3, rows, columns, sharex=True, sharey=True)
    looks = figures.looks(list(parts))
    for ax, name in zip(axes.flat, pairs, strict=False):
        for label, part in parts.items():
            value, low, high = part.arrays[f"{key}/{name}"]
            x = np.arange(len(value))
            ax.plot(x, value, label=label, **looks[label].line())
            ax.fill_between(x, low, high, color=looks[label].color, alpha=0.2, linewidth=0)
            names = [layer.removeprefix("block.") for layer in _layers(part)]
            ax.set_xticks(x, [n if n != "embedding" else "emb" for n in names])
        ax.set_title(name)
    for ax in axes.flat[len(pairs) :]:
        ax.set_visible(False)
    for ax in axes.flat[max(0, len(pairs) - columns) : len(pairs)]:  # the lowest panel of every column
        ax.tick_params(labelbottom=True)
        ax.set_xlabel("block")
    for row in axes:
        row[0].set_ylabel(title)
    axes[0, 0].legend()
    return figure


def _heat_maps(parts: dict[str, Part], pairs: list[str]) -> Figure:
    side = figures.PAGE / max(3, len(pairs) + 0.5)
    figure, axes = figures.new(figures.PAGE, side * len(parts) + 0.7, len(parts), len(pairs), sharex=True, sharey=True)
    image: Any = None
    for row, (label, part) in zip(axes, parts.items(), strict=True):
        names = [n.removeprefix("block.").replace("embedding", "emb") for n in _layers(part)]
        for ax, name in zip(row, pairs, strict=True):
            image = ax.imshow(part.arrays[f"cka_layers/{name}"], vmin=0, vmax=1, cmap="viridis", origin="lower")
            ax.set_xticks(range(len(names)), names)
            ax.set_yticks(range(len(names)), names)
            ax.grid(False)
        row[0].set_ylabel(f"{label}\nreference layer")
    for ax, name in zip(axes[0], pairs, strict=True):
        ax.set_title(name)
    for ax in axes[-1]:
        ax.set_xlabel("layer")
    figure.colorbar(image, ax=axes, label="CKA", shrink=0.8, pad=0.01)
    return figure
