"""How the logits of a model answer a data set's question: which head, which of its columns."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from grace_geom.data import ImageSet
from grace_geom.data.base import ClassIds
from grace_geom.data.imagenet import RELATIVES
from grace_geom.data.imagenet_ids import wnids
from grace_geom.data.imagenet_names import columns_for, normalised
from grace_geom.data.prompts import imagenet_class_names
from grace_geom.errors import UserError
from grace_geom.models import ClipClassifier
from grace_geom.weights import Weights


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
