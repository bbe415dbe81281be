"""What fine-tuning changed in the representation: layer by layer against a reference, and clean
against attacked.
"""

import itertools
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from grace_geom.analysis.feature_analysis import (
    GRAM_BIAS,
    PROCRUSTES,
    FeatureOptions,
    cell,
    distributions,
    in_order,
    measure,
)
from grace_geom.analysis.features.drift import MEASURES, WITHIN, Drift, drift
from grace_geom.analysis.features.extract import blocks_of, check_tower
from grace_geom.analysis.features.streamed import GROUPS, bytes_needed, streamed_drift, streams
from grace_geom.analysis.features.survey import (
    FeaturePlan,
    attack,
    attacked_features,
    clean_features,
)
from grace_geom.analysis.numbers import Footnotes
from grace_geom.analysis.run import Part, Shown, say
from grace_geom.analysis.subject import Subject, open_subject
from grace_geom.checkpoint import checkpoint_file
from grace_geom.data import ImageSet
from grace_geom.distributed import first
from grace_geom.errors import UserError
from grace_geom.models import ClipClassifier
from grace_geom.plots.columns import union
from grace_geom.records import Measure
from grace_geom.records.references import PRETRAINED
from grace_geom.tables import Cell, Table


@dataclass(frozen=True)
class RepresentationDriftOptions(FeatureOptions):
    """Options of ``representation_drift.py``.

    Attributes:
        reference: What to compare the checkpoints with: pretrained, or a checkpoint.
        rbf: Also compute CKA with a Gaussian kernel.
        stream: Keep running sums instead of features, so that memory does not grow with the number
            of images. Numbers stay the same; intervals come from groups of images, and the layer x
            layer matrix has none. With several processes the attack is shared and the first process
            does the sums.
    """

    reference: str = field(default=PRETRAINED, metadata={"group": "drift"})
    rbf: bool = False
    stream: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rbf and self.stream:
            raise UserError("--rbf needs all distances between images and cannot go with --stream")

    @property
    def halved(self) -> str:
        """What half-samples are drawn from."""
        return f"{GROUPS} groups of images" if self.stream else super().halved

    def others(self) -> tuple[Path, ...]:
        """The reference, where it is a checkpoint."""
        return () if self.reference == PRETRAINED else (Path(self.reference),)


def measure_drift(subject: Subject, options: RepresentationDriftOptions, state: Path) -> Part:
    """Every distribution through the checkpoint and the reference; attacked images are the
    checkpoint's own.

    On ``adv`` both models see the same images, those that were found at the checkpoint.
    ``clean-adv`` compares the checkpoint with itself: clean against attacked.
    """
    plan = options.plan(subject, state.parent)
    models = {"reference": _reference(subject, options), "checkpoint": subject.model}
    _check_layers(models, options)
    id_set, ood = distributions(subject)
    x_adv = attack(subject.model, subject.logits(id_set), id_set, plan)
    if options.stream:
        if not first():
            return Part()
        found = _streamed(models, id_set, ood, x_adv, plan, options)
        return _part(found, options.pool_remarks(subject))
    # Both see the pixels that the checkpoint sees, as they do on its attacked images.
    clean = clean_features(models, id_set, ood, plan)
    adv = attacked_features(models, x_adv, id_set, plan)
    if not first():  # the features are in the first process, and so are the numbers made of them
        return Part()
    pairs = {
        name: (clean["reference"][name], clean["checkpoint"][name]) for name in clean["reference"]
    }
    pairs |= {
        "adv": (adv["reference"], adv["checkpoint"]),
        WITHIN: (clean["checkpoint"]["id"], adv["checkpoint"]),
    }
    found = {
        name: drift(a, b, replicates=options.replicates, seed=options.seed, rbf=options.rbf)
        for name, (a, b) in pairs.items()
    }
    return _part(found, options.pool_remarks(subject))


def _check_layers(models: dict[str, ClipClassifier], options: RepresentationDriftOptions) -> None:
    """Refuse before the attack what the towers alone tell."""
    check_tower(models["reference"], options.pool, options.layers)
    here, there = (len(blocks_of(model)) for model in models.values())
    if here != there:
        raise UserError(
            f"--reference {options.reference} has {here} blocks and this checkpoint {there}: layers "
            "are compared one by one, name a reference of the same depth"
        )


def _streamed(
    models: dict[str, ClipClassifier],
    id_set: ImageSet,
    ood: dict[str, ImageSet],
    x_adv: np.ndarray,
    plan: FeaturePlan,
    options: RepresentationDriftOptions,
) -> dict[str, Drift]:
    found = {}
    for name, (pairs, n) in streams(
        models["reference"], models["checkpoint"], id_set, ood, x_adv, plan
    ).items():
        first = next(pairs)
        need = bytes_needed([x.shape[1] for x in first[0].values()])
        say(f"  {name}: {n} images, sums of {need / 2**30:.2f} GiB")
        found[name] = streamed_drift(
            itertools.chain([first], pairs), n, replicates=options.replicates, seed=options.seed
        )
    return found


def _part(drifts: dict[str, Drift], said: list[str]) -> Part:
    values: dict[str, Measure] = {}
    arrays: dict[str, np.ndarray] = {}
    remarks = list(said)
    for name, found in drifts.items():
        _add(values, arrays, name, found)
        remarks += [f"{name}, {layer}: {text}" for layer, text in found.remarks.items()]
        arrays["layers"] = np.array(found.layers, dtype=np.str_)
    arrays["remarks"] = np.array(remarks, dtype=np.str_)
    return Part(values, arrays)


def _reference(subject: Subject, options: RepresentationDriftOptions) -> ClipClassifier:
    if options.reference == PRETRAINED:
        return subject.base
    return open_subject(checkpoint_file(Path(options.reference)), "reference", options).model


def _add(
    values: dict[str, Measure], arrays: dict[str, np.ndarray], name: str, found: Drift
) -> None:
    for key, column in found.by_layer.items():
        for i, layer in enumerate(found.layers):
            values[f"{key}/{name}/{layer}"] = measure(column.at(i), MEASURES[key])
        arrays[f"{key}/{name}"] = np.stack([column.value, column.low, column.high])
    arrays[f"cka_layers/{name}"] = np.asarray(found.cka.value)
    arrays[f"cka_layers_interval/{name}"] = np.stack([found.cka.low, found.cka.high])


def show_drift(parts: dict[str, Part], options: RepresentationDriftOptions) -> Shown:
    """CKA by layer, and all measures at the last layer."""
    pairs = _pairs(parts)
    notes = [
        f"against {Path(options.reference).name}; {WITHIN}: the checkpoint with itself, clean "
        "against attacked images",
        options.sample_text(parts),
        f"adv: {options.attack_text()}, found at the checkpoint, the same images through both",
        *(
            f"{label}, {remark}"
            for label, part in parts.items()
            for remark in part.arrays["remarks"].tolist()
        ),
    ]
    return Shown(
        [
            _table("CKA (linear, debiased), layer by layer", "cka", parts, pairs, notes),
            _last(parts, pairs, [PROCRUSTES, options.bias_text("Gram", GRAM_BIAS)]),
        ]
    )


def _pairs(parts: dict[str, Part]) -> list[str]:
    names = [
        key.partition("/")[2]
        for part in parts.values()
        for key in part.arrays
        if key.startswith("cka_layers/")
    ]
    return sorted(in_order(names), key=lambda name: name == WITHIN)


def _layers(part: Part) -> list[str]:
    return [str(name) for name in part.arrays["layers"]]


def _table(
    title: str, key: str, parts: dict[str, Part], pairs: list[str], notes: list[str]
) -> Table:
    layers, feet = union(_layers(part) for part in parts.values()), Footnotes()
    rows: list[list[Cell | str]] = [
        [label, name, *(_cell(part, key, name, layer, feet) for layer in layers)]
        for label, part in parts.items()
        for name in pairs
    ]
    return Table(["checkpoint", "set", *layers], rows, 2, title, [*feet.notes, *notes])


def _cell(part: Part, key: str, name: str, layer: str, feet: Footnotes) -> Cell:
    """A number of one layer on one set, or why there is none."""
    if f"cka_layers/{name}" not in part.arrays:
        missing = f"{name} is not among this checkpoint's sets"
    else:
        missing = "this tower has no such layer"
    remark = _remark(part, name, layer)
    return feet.cell(part.values.get(f"{key}/{name}/{layer}"), cell, remark, missing)


def _remark(part: Part, name: str, layer: str) -> str:
    """What was said of a layer on a set."""
    head = f"{name}, {layer}: "
    said = [text for text in part.arrays["remarks"].tolist() if text.startswith(head)]
    return said[0].removeprefix(head) if said else "not defined on these images"


def _last(parts: dict[str, Part], pairs: list[str], notes: list[str]) -> Table:
    keys = {
        "procrustes": "Procrustes",
        "gram_chord_centred": "Gram, centred",
        "gram_chord": "Gram, cosines",
        "log_norm_ratio_centred": "ln norm ratio",
    }
    feet = Footnotes()
    rows: list[list[Cell | str]] = [
        [label, name, *(_cell(part, key, name, _layers(part)[-1], feet) for key in keys)]
        for label, part in parts.items()
        for name in pairs
    ]
    return Table(
        ["checkpoint", "set", *keys.values()],
        rows,
        2,
        "At the last layer (the embedding)",
        [*feet.notes, *notes],
    )
