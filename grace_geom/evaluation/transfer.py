"""What a checkpoint says about adversarial images that were made for another one."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from grace_geom.data import loader
from grace_geom.data.base import digest_text
from grace_geom.errors import NotFiniteError
from grace_geom.evaluation import identity
from grace_geom.evaluation.accuracy import accuracy_of, without_autocast
from grace_geom.evaluation.adversarial import AdversarialFile, TransferImages, settings_of
from grace_geom.evaluation.outcomes import Gatherer
from grace_geom.evaluation.per_image import PerImage, distances, fetched, look, stacked
from grace_geom.evaluation.reader import reader_for
from grace_geom.models import ClipClassifier
from grace_geom.records import Accuracy
from grace_geom.records.accuracy import pack_numbers


@dataclass(frozen=True)
class Extras:
    """What an evaluation does beside measuring accuracies.

    Attributes:
        gather: Keeps what is seen of each image; everything is then measured anew.
        transfer: Adversarial images to evaluate on.
        calibration: Measure calibration, too; what was measured without it is measured anew.
    """

    gather: Gatherer | None = None
    transfer: tuple[AdversarialFile, ...] = ()
    calibration: bool = False


def transfers(
    model: ClipClassifier,
    moved: Sequence[TransferImages],
    image_size: int,
    batch_size: int,
    gather: Gatherer | None = None,
) -> Iterator[tuple[Accuracy, bool]]:
    """One accuracy for each file, and that it is new.

    It is the share of adversarial images that are classified correctly, those included that the
    source misclassified without attack and that are therefore unchanged. Attacks on the model
    itself count differently: there an image must be right without attack, too.

    Args:
        model: The classifier.
        moved: The adversarial images.
        image_size: Side in pixels of this evaluation.
        batch_size: Images a call of the model.
        gather: Told about each image.

    Raises:
        NotFiniteError: If a logit is NaN.
    """
    for one in moved:
        began = time.perf_counter()
        some, stored = one.image_set, one.stored
        reader = reader_for(model, some, "adv")
        seen = _seen(model, one, image_size, batch_size)
        found = accuracy_of("adv", one.name, some, seen["predicted"] == some.labels, reader.how)
        source = (
            f"{settings_of(stored)['name']}: accuracy on adversarial images made for another checkpoint, "
            "whether or not the clean image is right."
        )
        now = identity.measurement(model, some, "adv", attack=None, seed=0, image_size=image_size)
        found = replace(
            found, attack=settings_of(stored), predictions=pack_numbers(seen["predicted"]),
            notes=(*found.notes, source), seconds=round(time.perf_counter() - began, 3),
            identity=now | {"attack": digest_text(stored.digest)},
        )  # fmt: skip
        if gather is not None:
            gather.add(some, found, seen)
        yield found, True


@torch.no_grad()
def _seen(
    model: ClipClassifier, moved: TransferImages, image_size: int, batch_size: int
) -> PerImage:
    """What the model says about each adversarial image and its clean one."""
    image_set, norm = moved.image_set, str(moved.stored.about.attack.get("norm", "linf"))
    reader, found = reader_for(model, image_set, "adv"), []
    inputs = model.preprocess.at(image_size)
    batches = loader(image_set, batch_size, inputs, train=False, workers=None, device=model.device)
    model.eval()
    with without_autocast(model):
        for clean, shifted in zip(batches, moved.images.split(batch_size), strict=True):
            x_adv = shifted.to(model.device)
            logits = reader(x_adv)
            before = look(reader(clean.images), clean.labels)
            seen = fetched(
                look(logits, clean.labels)
                | {"clean": before["predicted"], "clean_margin": before["margin"]}
                | {"radius": distances(clean.images, x_adv, norm)}
                | {"broken": logits.isnan().any(1)}
            )
            if seen.pop("broken").any():
                raise NotFiniteError("the model's logits are NaN: this checkpoint is broken")
            found.append(seen)
    whole = stacked(found)
    stands = whole["predicted"] == image_set.labels
    return whole | {"radius": np.where(stands, np.nan, whole["radius"])}
