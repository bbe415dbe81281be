"""All features that the analyses need, from one pass over each (checkpoint, distribution)."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from grace_geom.analysis.features.adversary import (
    Logits,
    Perturbations,
    adversarial_images,
    batches_of,
    perturbed_features,
)
from grace_geom.analysis.features.cache import REVISION, Kept
from grace_geom.analysis.features.extract import Features, collect, pool_of
from grace_geom.batch import Batch
from grace_geom.data import ImageSet, loader
from grace_geom.distributed import first, my_batches, my_images, of_first, to_first, woven
from grace_geom.evaluation import identity
from grace_geom.models import ClipClassifier
from grace_geom.preprocess import Preprocess


@dataclass(frozen=True)
class FeaturePlan:
    """How features are taken; the same for all.

    Attributes:
        batch: Images a forward pass.
        awp_batch: Images that share one weight perturbation, as a training batch does.
        pool: ``cls``, ``mean``, ``tokens`` or ``auto``.
        layers: Regular expression for layers.
        seed: Of the attack and the weight perturbation.
        adversary: The attack and the weight perturbation.
        size: Side of the images in pixels, whichever models look at them; default that of the
            (first) model.
        cache: Folder for adversarial images and features; ``None`` keeps nothing.
    """

    batch: int = 250
    awp_batch: int = 64
    pool: str = "cls"
    layers: str = ""
    seed: int = 0
    adversary: Perturbations = field(default_factory=Perturbations)
    cache: Path | None = None
    size: int | None = None


def clean_features(
    models: Mapping[str, ClipClassifier],
    id_set: ImageSet,
    ood: Mapping[str, ImageSet],
    plan: FeaturePlan,
) -> dict[str, dict[str, Features]]:
    """Model -> distribution -> features; every image is decoded once for all models, if at all (see
    the cache).

    Labels of OOD sets are brought to those of the ID set by class name; -1 where it has no such
    class. Of several processes each looks at every W-th image, and the first gets the features; the
    others get the labels alone. All models see images as the first one reads them, of
    ``plan.size`` pixels a side; another one resizes them inside.
    """
    found: dict[str, dict[str, Features]] = {name: {} for name in models}
    one = next(iter(models.values()))
    inputs, device = one.preprocess.at(plan.size), one.device
    for distribution, image_set in {"id": id_set, **ood}.items():
        of_set = _collected(
            models,
            lambda mine, here=image_set: _read(here, mine, plan.batch, inputs, device),  # type: ignore[misc]
            torch.tensor(image_set.labels),
            which_images(image_set),
            distribution,
            plan,
            f"read as {inputs}",
        )
        for name, features in of_set.items():
            found[name][distribution] = relabelled(
                features, image_set.class_names, id_set.class_names
            )
    return found


def _collected(
    models: Mapping[str, ClipClassifier],
    batches: Callable[[np.ndarray], Iterable[Batch]],
    labels: Tensor,
    images: str,
    distribution: str,
    plan: FeaturePlan,
    content: str,
) -> dict[str, Features]:
    """Features from the cache, and one pass for all models whose features do not lie there."""
    places = (
        {
            name: Kept(
                plan.cache,
                {
                    "model": identity.of_model(model),
                    "revision": REVISION,
                    "images": images,
                    "content": content,
                    "pool": pool_of(model, plan.pool),
                    "layers": plan.layers,
                },
            )
            for name, model in models.items()
        }
        if plan.cache
        else {name: Kept(None, {}) for name in models}
    )
    found = {
        name: place.read(labels, images, distribution) for name, place in places.items() if first()
    }
    known = of_first([name for name, features in found.items() if features is not None])
    missing = {name: model for name, model in models.items() if name not in known}
    if missing:
        mine = my_images(len(labels))
        fresh = collect(
            missing,
            batches(mine),
            images=images,
            distribution=distribution,
            pool=plan.pool,
            layers=plan.layers,
        )
        for name, features in fresh.items():
            found[name] = features if len(mine) == len(labels) else _together(features, labels)
            if first():
                places[name].write(found[name])  # type: ignore[arg-type]
    nothing = Features({}, labels, images, distribution)
    return (
        {name: found.get(name) or nothing for name in models}
        if first()
        else dict.fromkeys(models, nothing)
    )


def _together(features: Features, labels: Tensor) -> Features:
    """The rows of all processes, in the first."""
    shares = to_first({layer: x.numpy() for layer, x in features.layers.items()})
    layers = {
        layer: torch.from_numpy(woven([share[layer] for share in shares]))
        for layer in features.layers
        if shares
    }
    return replace(features, layers=layers, labels=labels)


def _read(
    image_set: ImageSet, positions: np.ndarray, batch: int, inputs: Preprocess, device: torch.device
) -> Iterable[Batch]:
    if not len(positions):
        return []
    part = image_set if len(positions) == len(image_set) else image_set.take(positions)
    return loader(part, batch, inputs, train=False, workers=None, device=device)


def attack(
    model: ClipClassifier, logits: Logits, id_set: ImageSet, plan: FeaturePlan
) -> np.ndarray:
    """The ID images attacked at this model, ``(N, 3, H, W)``, from the cache where they lie
    there."""
    return adversarial_images(
        model,
        logits,
        id_set,
        plan.adversary,
        cache=plan.cache,
        seed=plan.seed,
        batch_size=plan.batch,
        image_size=plan.size,
    )


def attacked_features(
    models: Mapping[str, ClipClassifier], x_adv: np.ndarray, id_set: ImageSet, plan: FeaturePlan
) -> dict[str, Features]:
    """Features of every model on the same attacked images; they are paired with the clean ones."""
    content = hashlib.sha256(np.ascontiguousarray(x_adv).data).hexdigest()
    return _collected(
        models,
        lambda mine: batches_of(x_adv, id_set.labels, plan.batch, mine),
        torch.from_numpy(id_set.labels),
        which_images(id_set),
        "adv",
        plan,
        content,
    )


def weight_perturbed(
    model: ClipClassifier, logits: Logits, x_adv: np.ndarray, id_set: ImageSet, plan: FeaturePlan
) -> tuple[Tensor, Tensor]:
    """Unit features at W_pert of the clean and of the attacked ID images."""
    mine = my_batches(len(id_set), plan.awp_batch)
    inputs = model.preprocess.at(plan.size)
    clean = _read(id_set, mine, plan.awp_batch, inputs, model.device)
    attacked = batches_of(x_adv, id_set.labels, plan.awp_batch, mine)
    return perturbed_features(model, logits, clean, attacked, plan.adversary, plan.seed)


def which_images(image_set: ImageSet) -> str:
    """The identity of a set's images, of their labels and of their order."""
    of = identity.of_images(image_set)
    return f"{image_set.spec} {image_set.split} {of['source']} {of['images']} {of['names']}"


def relabelled(features: Features, names: Sequence[str], target: Sequence[str]) -> Features:
    """The same features with labels that index ``target``; -1 for classes that it does not have, or
    has twice.
    """
    return replace(features, labels=labels_among(features.labels, names, target))


def labels_among(labels: Tensor, names: Sequence[str], target: Sequence[str]) -> Tensor:
    """Labels that index ``names``, as labels that index ``target``; -1 as in :func:`relabelled`."""
    if tuple(names) == tuple(target):
        return labels
    place = {name: target.index(name) for name in names if list(target).count(name) == 1}
    return torch.tensor([place.get(name, -1) for name in names])[labels]
