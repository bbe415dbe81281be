"""Accuracies of a classifier, clean and under attack, on one data set at a time: how a model
becomes a number.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from grace_geom.attacks import AttackPart, AttackSpec, SuiteResult, add_parts, join
from grace_geom.attacks import run as run_attack
from grace_geom.batch import Batch
from grace_geom.data import ImageSet, loader
from grace_geom.data.base import ClassIds, digest, digest_text
from grace_geom.data.imagenet import RELATIVES
from grace_geom.data.imagenet_ids import wnids
from grace_geom.data.imagenet_names import columns_for, normalised
from grace_geom.data.prompts import imagenet_class_names
from grace_geom.distributed import everyones, world, woven
from grace_geom.errors import NotFiniteError, UserError
from grace_geom.models import ClipClassifier
from grace_geom.records import Accuracy, pack
from grace_geom.records.statistics import wilson
from grace_geom.weights import Weights

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Reader:
    """How the logits of a model answer a data set's question.

    Attributes:
        model: The classifier, with the head that is asked.
        columns: Which of its logits are compared, in the order of the data set's labels: one a
            class, or several of which the largest counts (ObjectNet); ``None`` means all.
        how: The same in words, for the record.
        weights: Another dictionary of weights to evaluate the model at; ``None`` means its own.
    """

    model: ClipClassifier
    columns: ClassIds | None
    how: str
    weights: Weights | None = None

    def __call__(self, images: Float[Tensor, " b c h w"]) -> Float[Tensor, " b k"]:
        logits = self.model(images, self.weights)
        return logits if self.columns is None else choose_columns(logits, self.columns)

    @property
    def head_rows(self) -> Float[Tensor, " r d"]:
        """The rows of ``s T`` that are compared, in the order of the data set's labels; see
        :attr:`grouped`.
        """
        head = (self.weights or {}).get("head.weight", self.model.head["head.weight"])
        return (
            head
            if self.columns is None
            else head[[i for group in _groups(self.columns) for i in group]]
        )

    @property
    def grouped(self) -> bool:
        """Whether a class has several rows of the head, of which the largest logit counts."""
        return self.columns is not None and any(len(group) > 1 for group in _groups(self.columns))


def _groups(columns: ClassIds) -> list[tuple[int, ...]]:
    return [(c,) if isinstance(c, int) else tuple(c) for c in columns]


def choose_columns(logits: Float[Tensor, " b k"], columns: ClassIds) -> Float[Tensor, " b c"]:
    """One score a class: the logit at its place, the largest where it has several places."""
    groups = _groups(columns)
    chosen = logits[:, [i for group in groups for i in group]]
    if all(len(group) == 1 for group in groups):
        return chosen
    return torch.stack(
        [part.amax(dim=1) for part in chosen.split([len(group) for group in groups], dim=1)], dim=1
    )


def reader_for(
    model: ClipClassifier, image_set: ImageSet, suite: str = "id", weights: Weights | None = None
) -> Reader:
    """The model's own (perhaps fine-tuned) head where it has the set's classes, else a text head of
    these classes.

    Zero-shot transfer always takes a text head. Classes of ImageNet and its relatives are matched
    by WordNet id or by the names that public lists give them, others by name, whatever the case,
    the underscores and the order; never by their place. A name that two classes of the head share
    matches nothing.

    Raises:
        UserError: If the set is a part of ImageNet's classes and the head lacks one of them.
    """
    own, wanted = model.class_names, image_set.class_names
    if suite != "zeroshot":
        if wanted == own and image_set.class_ids is None:
            return Reader(model, None, "the checkpoint's head", weights)
        found = _by_label(own, image_set) or _by_name(own, wanted) or _by_place(own, image_set)
        if found is not None:
            columns, how = found
            return Reader(
                model,
                columns,
                f"{len(wanted)} of the checkpoint's {len(own)} classes{how}",
                weights,
            )
    tower = (
        None if weights is None else {n: w for n, w in weights.items() if not n.startswith("head.")}
    )
    texts = f"{len(wanted)} class names, {len(image_set.templates)} templates"
    return Reader(
        model.with_head(wanted, image_set.templates), None, f"text head of {texts}", tower
    )


def _by_label(own: tuple[str, ...], image_set: ImageSet) -> tuple[ClassIds, str] | None:
    """Columns of a set whose labels are ImageNet's; ``None`` where it is another, or where all
    1,000 classes are asked of a head that is not ImageNet's.

    Raises:
        UserError: If a part of the 1,000 is asked, and the head lacks some of it.
    """
    ids = image_set.class_ids
    whole = ids is None and image_set.class_names == imagenet_class_names()
    if not whole and (ids is None or image_set.name not in {"imagenet", *RELATIVES}):
        return None
    columns, absent, how = columns_for(own, range(len(image_set.class_names)) if ids is None else ids)  # fmt: skip
    if not absent:
        return columns, f", {how}"
    if whole:
        return None
    names = ", ".join(f"{imagenet_class_names()[i]} ({wnids()[i]})" for i in absent[:3])
    more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
    raise UserError(
        f"{image_set.spec} is labelled with ImageNet's classes, and the {len(own)} classes of this "
        f"checkpoint's head lack {names}{more} (or name them twice): name the set in the suite "
        "zeroshot, which gives it a text head of its own classes"
    )


def _by_place(own: tuple[str, ...], image_set: ImageSet) -> tuple[ClassIds, str] | None:
    """The places that a caller gave a set of its own, where the names tell nothing.

    Raises:
        UserError: If they do not fit the head.
    """
    if image_set.class_ids is None:
        return None
    last = max(c if isinstance(c, int) else max(c) for c in image_set.class_ids)
    if last >= len(own):
        raise UserError(
            f"{image_set.spec} is labelled for a head of more than {last} classes, this "
            f"checkpoint has {len(own)}: name it in the suite zeroshot, which gives it a "
            "text head of its own classes"
        )
    return image_set.class_ids, ", by the set's own places"


def _by_name(own: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[ClassIds, str] | None:
    """Columns by name where each name is there once: as written, else however spelt."""
    for spell in (str, normalised):
        mine, theirs = [spell(name) for name in own], [spell(name) for name in wanted]
        unique = len(set(mine)) == len(mine) and len(set(theirs)) == len(theirs)
        if unique and set(theirs) <= set(mine):
            return tuple(mine.index(name) for name in theirs), ", by name"
    return None


@torch.no_grad()
def correctness(
    reader: Reader, batches: Iterable[Batch], progress: Progress = lambda n: None
) -> np.ndarray:
    """Right or wrong for each image in order, ``(N,)`` bool.

    Raises:
        NotFiniteError: If a logit is NaN: an accuracy of such a model would look like a number.
    """
    reader.model.eval()
    found: list[Tensor] = []
    for batch in _on(reader, batches):
        logits = reader(batch.images)
        if logits.isnan().any():
            raise NotFiniteError(
                "the model's logits are NaN on clean images: this checkpoint is broken"
            )
        found.append((logits.argmax(1) == batch.labels).cpu())
        progress(len(batch))
    return torch.cat(found).numpy()


def robustness(
    reader: Reader,
    batches: Iterable[Batch],
    attack: AttackSpec,
    seed: int,
    index: np.ndarray,
    progress: Progress = lambda n: None,
) -> SuiteResult:
    """Which images stay right under every part of an attack; only those that still stand are
    attacked again.

    Args:
        reader: Model and head, in eval mode and in the attack's precision (float32 unless asked
            otherwise).
        batches: Images in [0, 1] before normalisation.
        attack: What to run.
        seed: Seed of every random draw.
        index: ``(N,)`` a number >= 0 for each image that its random draws depend on, so that
            cutting the set into other batches, or attacking fewer images, changes nothing.
        progress: Told the number of images after each batch.

    Raises:
        UserError: For an attack that is not defined for this number of classes.
        RuntimeError: If a gradient or a logit is NaN.
    """
    reader.model.eval()
    results: list[SuiteResult] = []
    with _without_autocast(reader.model):
        for batch in _on(reader, batches):
            ids = index[batch.index.cpu().numpy()].tolist()
            try:
                found = run_attack(
                    attack, reader, batch.images, batch.labels, seed, ids, keep_x_adv=False
                )
            except ValueError as error:
                raise UserError(f"--attack {attack.name}: {error}") from None
            results.append(found)
            progress(len(batch))
    return join(results)


@contextlib.contextmanager
def _without_autocast(model: ClipClassifier) -> Iterator[None]:
    """The precision of an attack is the attack's: a model in bf16 training is asked in float32 all
    the same.
    """
    usual, model.autocast_dtype = getattr(model, "autocast_dtype", None), None
    try:
        yield
    finally:
        model.autocast_dtype = usual


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
    workers: int = 0,
    progress: Progress = lambda n: None,
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
        workers: Processes that decode images.
        progress: Told the number of images done.

    Of several processes each looks at every W-th image, and all of them return the whole set's
    number.
    """
    began = time.perf_counter()
    reader = reader_for(model, image_set, suite, weights)
    here, part, tell = world(), image_set, progress
    if 1 < here.size <= len(image_set):
        part = image_set.take(np.arange(here.rank, len(image_set), here.size))
        tell = lambda n: progress(n * here.size)  # noqa: E731
    batches = loader(
        part, batch_size, model.preprocess.at(image_size), train=False, workers=workers
    )
    if attack is None:
        right = _whole(correctness(reader, batches, tell), part is not image_set)
        accuracy = _accuracy(suite, name, image_set, right, reader.how)
    else:
        found = robustness(reader, batches, attack, seed, part.index, tell)
        right = _whole(found.robust.cpu().numpy(), part is not image_set)
        parts = add_parts(everyones(found.parts)) if part is not image_set else found.parts
        standing = [_whole(stood.cpu().numpy(), part is not image_set) for stood in found.standing]
        accuracy = _accuracy(suite, name, image_set, right, reader.how)
        accuracy = replace(
            accuracy, attack=found.settings, parts=tuple(map(_part, parts, standing)),
            notes=(*accuracy.notes, *found.notes),
        )  # fmt: skip
    return replace(accuracy, seconds=round(time.perf_counter() - began, 3))


def _whole(right: np.ndarray, shared: bool) -> np.ndarray:
    return woven(everyones(right)) if shared else right


def _accuracy(suite: str, name: str, image_set: ImageSet, right: np.ndarray, how: str) -> Accuracy:
    n, correct = len(right), int(right.sum())
    low, high = wilson(correct, n)
    drawn = image_set.note.get("subset", {})
    subset = {
        "of": drawn.get("of", n),
        "seed": drawn.get("seed"),
        "ids_sha256": digest(image_set.index),
    }
    subset |= {"content": image_set.content, "templates": templates_digest(image_set)}
    if "ids" in drawn:
        subset["ids"] = drawn["ids"]
    if "left_out" in image_set.note:
        subset["left_out"] = image_set.note["left_out"]
    return Accuracy(
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
        subset=subset,
        outcomes=pack(right),
        notes=tuple(image_set.note.get("told", ())),
        groups=_groups_of(image_set, right),
    )


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


def _part(part: AttackPart, standing: np.ndarray) -> dict[str, object]:
    low, high = wilson(part.robust, len(standing))
    return asdict(part) | {"ci_low": low, "ci_high": high, "outcomes": pack(standing)}


def _on(reader: Reader, batches: Iterable[Batch]) -> Iterator[Batch]:
    for batch in batches:
        yield batch.to(reader.model.device)
