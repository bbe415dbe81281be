"""Accuracies of a classifier, clean and under attack, on one data set at a time: how a model
becomes a number.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import torch

from grace_geom.attacks import AttackPart, AttackSpec, SuiteResult, add_parts, join
from grace_geom.attacks import run as run_attack
from grace_geom.attacks.suite import in_precision
from grace_geom.attacks.tracker import Logits
from grace_geom.batch import Batch
from grace_geom.data import ImageSet, loader
from grace_geom.data.base import digest, digest_text
from grace_geom.data.conventions import has_mean_per_class
from grace_geom.devices import room_for, tf32
from grace_geom.distributed import everyones, first_of_machine_first, world, woven
from grace_geom.errors import NotFiniteError, UserError
from grace_geom.evaluation.compiled import Compiled
from grace_geom.evaluation.outcomes import Gatherer
from grace_geom.evaluation.per_image import PerImage, distances, fetched, look, settle, stacked
from grace_geom.evaluation.reader import Reader, reader_for
from grace_geom.evaluation.temperature import Temperature, value_of
from grace_geom.models import ClipClassifier
from grace_geom.records import Accuracy, pack
from grace_geom.records.accuracy import pack_numbers
from grace_geom.records.calibration import scores
from grace_geom.records.classes import MEAN_PER_CLASS
from grace_geom.records.statistics import wilson
from grace_geom.weights import Weights

Progress = Callable[[int], None]


@torch.no_grad()
def correctness(
    reader: Reader,
    batches: Iterable[Batch],
    progress: Progress = lambda n: None,
    temperature: Temperature | None = None,
) -> PerImage:
    """What the model says about each clean image in order (:func:`~.per_image.look`).

    Raises:
        NotFiniteError: If a logit is NaN: an accuracy of such a model would look like a number.
    """
    reader.model.eval()
    found: list[dict[str, torch.Tensor]] = []
    for batch in _on(reader, batches):
        logits = reader(batch.images)
        seen = look(logits, batch.labels, value_of(temperature))
        seen = fetched(seen | {"broken": logits.isnan().any(1)})
        if seen.pop("broken").any():
            raise NotFiniteError(
                "the model's logits are NaN on clean images: this checkpoint is broken"
            )
        found.append(seen)
        progress(len(batch))
    return stacked(found)


def robustness(
    reader: Reader,
    batches: Iterable[Batch],
    attack: AttackSpec,
    seed: int,
    index: np.ndarray,
    progress: Progress = lambda n: None,
    gather: Gatherer | None = None,
    temperature: Temperature | None = None,
    compiled: Compiled | None = None,
) -> tuple[SuiteResult, PerImage]:
    """Which images stay right under every part of an attack; only those that still stand are
    attacked again.

    Args:
        reader: Model and head, in eval mode and in the attack's precision (float32 unless asked
            otherwise).
        batches: Images in [0, 1] before normalisation, in the order of the set: where each has its
            place need not be read from a GPU.
        attack: What to run.
        seed: Seed of every random draw.
        index: ``(N,)`` a number >= 0 for each image that its random draws depend on, so that
            cutting the set into other batches, or attacking fewer images, changes nothing.
        progress: Told the number of images after each batch.
        gather: Told the adversarial images of each batch.
        temperature: For the scores named ``scaled_...``.
        compiled: How the attack's passes are computed; ``None``: one operator after another.

    Returns:
        The result without its images, and what the model says about each adversarial image, with
        ``clean`` (its prediction without attack), ``clean_margin`` and ``radius`` (distance of the
        adversarial image in the attack's norm: NaN where none was found, 0 where none was needed).

    Raises:
        UserError: For an attack that is not defined for this number of classes.
        RuntimeError: If a gradient or a logit is NaN.
    """
    reader.model.eval()
    results: list[SuiteResult] = []
    seen: list[dict[str, torch.Tensor]] = []
    compiled, done = compiled or Compiled(), 0
    with without_autocast(reader.model):
        for batch in _on(reader, batches):
            places = np.arange(done, done := done + len(batch))
            ids = index[places].tolist()
            found = compiled.attack(reader, partial(_attacked, attack, batch, seed, ids))
            with in_precision(attack.precision, batch.images.device):
                seen.append(_under_attack(reader, batch, found, attack.norm, temperature))
            if gather is not None and found.x_adv is not None:
                gather.adversarial(places, found.x_adv)
            results.append(replace(found, x_adv=None))
            progress(len(batch))
    return join(results), stacked(seen)


def _attacked(
    attack: AttackSpec, batch: Batch, seed: int, ids: list[int], logits_fn: Logits
) -> SuiteResult:
    """One batch under attack; an attack that is not defined here is told by its flag."""
    try:
        return run_attack(attack, logits_fn, batch.images, batch.labels, seed, ids)
    except ValueError as error:
        raise UserError(f"--attack {attack.name}: {error}") from None


@torch.no_grad()
def _under_attack(
    reader: Reader, batch: Batch, found: SuiteResult, norm: str, temperature: Temperature | None
) -> dict[str, torch.Tensor]:
    """What :func:`robustness` tells of each image of a batch."""
    assert found.x_adv is not None
    correct, robust = (mask.to(batch.labels.device) for mask in (found.correct, found.robust))
    clean = look(reader(batch.images.to(found.x_adv)), batch.labels)
    adversarial = look(reader(found.x_adv), batch.labels, value_of(temperature))
    radius = distances(batch.images, found.x_adv, norm)
    seen = settle(adversarial, batch.labels, robust) | {
        "clean": settle(clean, batch.labels, correct)["predicted"],
        "clean_margin": clean["margin"],
        "radius": radius.masked_fill(robust, torch.nan),
    }
    return fetched(seen)


@contextlib.contextmanager
def without_autocast(model: ClipClassifier) -> Iterator[None]:
    """The precision of an attack is the attack's: a model in bf16 training is asked in float32 all
    the same.
    """
    usual, model.autocast_dtype = getattr(model, "autocast_dtype", None), None
    try:
        yield
    finally:
        model.autocast_dtype = usual


@tf32(False)
def evaluate_set(
    model: ClipClassifier,
    image_set: ImageSet,
    suite: str,
    name: str,
    *,
    attack: AttackSpec | None = None,
    weights: Weights | None = None,
    seed: int = 0,
    batch_size: int = 250,
    image_size: int | None = None,
    workers: int | None = None,
    progress: Progress = lambda n: None,
    gather: Gatherer | None = None,
    temperature: Temperature | None = None,
    compiled: Compiled | None = None,
) -> Accuracy:
    """One accuracy with its Wilson 95 % interval, its attack and the images it was measured on.

    Args:
        model: The classifier.
        image_set: The images; cut it with ``subset(n, seed)`` first where fewer are wanted.
        suite: ``id``, ``ood``, ``adv``, ``natural_adv`` or ``zeroshot``.
        name: Name of the data set in tables.
        attack: ``None`` for clean accuracy.
        weights: Evaluate at these weights instead of the model's own.
        seed: Of the attack.
        batch_size: Images a call of the model.
        image_size: Side of the images in pixels, which is what an attack's eps is measured in;
            ``None`` is the model's. Images of another size are resized inside of the model.
        workers: Processes that decode images; ``None``: as many as help.
        progress: Told the number of images done.
        gather: Told what the model says about each image; adversarial images only where there is
            one process.
        temperature: Measure calibration, before and after division of the logits by it.
        compiled: How an attack's passes are computed; ``parts`` say where they were compiled.

    Of several processes each looks at every W-th image, and all of them return the whole set's
    number.

    Raises:
        UserError: If the device has no room for a batch, or the attack is not defined here.
        NotFiniteError: If a logit or a gradient is NaN.
    """
    began = time.perf_counter()
    # A text head of other classes is made by one process of a machine; the others find it kept.
    with first_of_machine_first():
        reader = reader_for(model, image_set, suite, weights)
    part, tell = _my_share(image_set, progress)
    shared, size = part is not image_set, model.preprocess.at(image_size)
    batches = loader(
        part, batch_size, size, train=False, workers=workers, device=model.device
    )  # fmt: skip
    found, before = None, compiled.used if compiled else 0
    with room_for(
        f"{batch_size} images of {name} at once",
        "a smaller --eval-batch (in a training, --micro-batch), or another --device",
    ):
        if attack is None:
            share = correctness(reader, batches, tell, temperature)
        else:
            found, share = robustness(
                reader, batches, attack, seed, part.index, tell, gather, temperature, compiled
            )
    seen = _all(share, shared)
    right = seen["predicted"] == image_set.labels
    if found is not None:
        right = _whole(found.robust.cpu().numpy(), shared)
    accuracy = accuracy_of(suite, name, image_set, right, reader.how)
    if found is not None:
        parts = _parts(found, shared, bool(compiled and compiled.used > before))
        notes = (*accuracy.notes, *found.notes)
        accuracy = replace(accuracy, attack=found.settings, parts=parts, notes=notes)
    accuracy = replace(
        accuracy,
        predictions=pack_numbers(seen["predicted"]),
        scores={} if temperature is None else _scores(seen, right, temperature),
        seconds=round(time.perf_counter() - began, 3),
    )
    if gather is not None:
        gather.add(image_set, accuracy, seen)
    return accuracy


def _my_share(image_set: ImageSet, progress: Progress) -> tuple[ImageSet, Progress]:
    """This process's images and whom to tell of them: the whole set where there is one process."""
    here = world()
    if not 1 < here.size <= len(image_set):
        return image_set, progress
    mine = image_set.take(np.arange(here.rank, len(image_set), here.size))
    return mine, for_everyone(progress, here.size, len(image_set))


def for_everyone(progress: Progress, processes: int, images: int) -> Progress:
    """Progress of all processes from that of one, whose share may be an image longer than that of
    others: never more than there are images.
    """
    told = 0

    def tell(n: int) -> None:
        nonlocal told
        more = min(n * processes, images - told)
        told += more
        progress(more)

    return tell


def _scores(seen: PerImage, right: np.ndarray, temperature: Temperature) -> dict[str, object]:
    """Calibration before and after temperature scaling, for the record."""
    found: dict[str, object] = {"temperature": temperature.value, "held_out": temperature.n}
    for kind, prefix in (("plain", ""), ("scaled", "scaled_")):
        nll, brier, confidence = (
            seen[f"{prefix}{term}"] for term in ("nll", "brier", "confidence")
        )  # fmt: skip
        found[kind] = scores(nll, brier, confidence, right)
    return found


def _whole(mine: np.ndarray, shared: bool) -> np.ndarray:
    return woven(everyones(mine)) if shared else mine


def _all(mine: PerImage, shared: bool) -> PerImage:
    return {name: _whole(values, shared) for name, values in mine.items()}


def accuracy_of(
    suite: str, name: str, image_set: ImageSet, right: np.ndarray, how: str
) -> Accuracy:
    """The accuracy of answers that are right or wrong, ``(N,)`` bool, without an attack.

    Args:
        suite: One of ``SUITES``.
        name: Of the data set in tables.
        image_set: The images.
        right: Image by image.
        how: Which head answered.
    """
    n, correct = len(right), int(right.sum())
    low, high = wilson(correct, n)
    found = Accuracy(
        suite,
        name,
        image_set.spec,
        n,
        correct,
        correct / n,
        low,
        high,
        seconds=0.0,
        head=how,
        subset=_subset(image_set),
        outcomes=pack(right),
        notes=tuple(image_set.note.get("told", ())),
        groups=_groups_of(image_set, right),
    )
    return with_classes(found, image_set)


def with_classes(accuracy: Accuracy, image_set: ImageSet) -> Accuracy:
    """The accuracy with what class-by-class numbers are made of: class names, the label of each
    image, the usual metric. It must have been measured on these images.
    """
    return replace(
        accuracy,
        class_names=image_set.class_names,
        labels=pack_numbers(image_set.labels),
        metric=MEAN_PER_CLASS if has_mean_per_class(image_set) else "",
    )


def _subset(image_set: ImageSet) -> dict[str, object]:
    """Which images these are, for the record."""
    drawn = image_set.note.get("subset", {})
    subset = {
        "of": drawn.get("of", len(image_set)),
        "seed": drawn.get("seed"),
        "ids_sha256": digest(image_set.index),
    }
    subset |= {"content": image_set.content, "templates": templates_digest(image_set)}
    if "ids" in drawn:
        subset["ids"] = drawn["ids"]
    if "left_out" in image_set.note:
        subset["left_out"] = image_set.note["left_out"]
    return subset


def _groups_of(image_set: ImageSet, right: np.ndarray) -> tuple[dict[str, object], ...]:
    """The accuracy of each part of a set that has parts."""
    if image_set.group is None:
        return ()
    found: list[dict[str, object]] = []
    for i, name in enumerate(image_set.group_names):
        here = right[image_set.group == i]
        if n := len(here):
            low, high = wilson(correct := int(here.sum()), n)
            found.append({"name": name, "n": n, "correct": correct, "accuracy": correct / n}
                         | {"ci_low": low, "ci_high": high})  # fmt: skip
    return tuple(found)


def templates_digest(image_set: ImageSet) -> str:
    """Digest of the prompt templates that a text head of this set is made with."""
    return digest_text(json.dumps(image_set.templates))


def _parts(found: SuiteResult, shared: bool, compiled: bool) -> tuple[dict[str, object], ...]:
    """What each part of an attack did, for the record; of several processes on everyone's images.

    Args:
        found: On this process's images.
        shared: Whether the others have the rest of the images.
        compiled: Whether the model was compiled here.
    """
    parts = add_parts(everyones(found.parts)) if shared else found.parts
    standing = [_whole(stood.cpu().numpy(), shared) for stood in found.standing]
    somewhere = any(everyones(compiled)) if shared else compiled
    how = {"compiled": True} if somewhere else {}
    return tuple(_part(*each) | how for each in zip(parts, standing, strict=True))


def _part(part: AttackPart, standing: np.ndarray) -> dict[str, object]:
    low, high = wilson(part.robust, len(standing))
    return asdict(part) | {"ci_low": low, "ci_high": high, "outcomes": pack(standing)}


def _on(reader: Reader, batches: Iterable[Batch]) -> Iterator[Batch]:
    for batch in batches:
        yield batch.to(reader.model.device)
