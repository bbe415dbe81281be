"""Where the pretraining gets its pictures and captions: the embedded world, or any labelled data
set with templates.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from grace_geom.data import ImageSet, loader, resolve, restrict_classes
from grace_geom.data.shapes.sets import SHAPES_SETS
from grace_geom.data.shapes.web import captioned
from grace_geom.errors import UserError

Tokenizer = Callable[[list[str]], Tensor]
EMBEDDED = "shapes"


@dataclass
class Material:
    """Pictures, captions, and what will be asked of the model.

    Attributes:
        images: Blocks of ``(n, H, W, 3)`` uint8.
        captions: One for each picture of all blocks.
        prompts: Sentences whose tokens the model must keep though no caption may have them.
        sources: Plain record of each SPEC: what it is, and how many pairs it gave.
    """

    images: list[Tensor] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    sources: dict[str, Any] = field(default_factory=dict)

    def add(
        self, spec: str, images: Tensor, captions: list[str], prompts: Sequence[str], note: Any
    ) -> None:
        """Append the pairs of one SPEC."""
        self.images.append(images)
        self.captions += captions
        self.prompts += prompts
        self.sources[spec] = {"pairs": len(captions), "captions": len(set(captions)), "note": note}


@dataclass(frozen=True)
class Pairs:
    """Pictures and tokenised captions.

    Attributes:
        images: ``(N, H, W, 3)`` uint8.
        tokens: ``(N, L)`` int64 rows of the token embedding, zero after the end-of-text token.
        caption: ``(N,)`` int64, equal for equal captions.
    """

    images: UInt8[Tensor, " n h w c"]
    tokens: Int[Tensor, " n l"]
    caption: Int[Tensor, " n"]

    @classmethod
    def of(
        cls, images: UInt8[Tensor, " n h w c"], captions: Sequence[str], tokenizer: Tokenizer
    ) -> "Pairs":
        """Tokenise each different caption once."""
        different = sorted(set(captions))
        number = {text: k for k, text in enumerate(different)}
        caption = torch.tensor([number[text] for text in captions])
        return cls(images, tokenizer(different)[caption], caption)

    def __len__(self) -> int:
        return len(self.caption)


def shapes_pairs(n: int, seed: int) -> tuple[UInt8[Tensor, " n h w c"], list[str]]:
    """The first ``n`` captioned pictures of the embedded world's web."""
    images, captions = captioned(np.arange(n), seed)
    return torch.from_numpy(images), captions


def labelled_pairs(
    image_set: ImageSet, image_size: int, seed: int, views: int = 1
) -> tuple[UInt8[Tensor, " n h w c"], list[str]]:
    """A labelled set as pairs: each picture with one of the set's templates around its class name.

    Args:
        image_set: Pictures of any size.
        image_size: Side of the model's input in pixels.
        seed: Of templates, crops and flips.
        views: Pairs made of each picture. The first shows it as in evaluation; the others are
            random crops, half of them mirrored, each with another draw of the template.

    Returns:
        ``views * len(image_set)`` uint8 images and as many captions.
    """
    generator = np.random.default_rng(seed)
    images: list[Tensor] = []
    captions: list[str] = []
    for view in range(views):
        shuffled = loader(image_set, 256, image_size, train=view > 0, seed=seed, epoch=view)
        for batch in shuffled:
            pixels = (batch.images * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
            mirrored = torch.from_numpy(generator.random(len(batch)) < 0.5 * (view > 0))
            images.append(torch.where(mirrored[:, None, None, None], pixels.flip(2), pixels))
            chosen = generator.integers(len(image_set.templates), size=len(batch))
            captions += [
                image_set.templates[k].replace("{}", image_set.class_names[y])
                for k, y in zip(chosen.tolist(), batch.labels.tolist(), strict=True)
            ]
    return torch.cat(images), captions


def gather(
    specs: Sequence[str],
    image_size: int,
    seed: int,
    *,
    pairs: int,
    views: int,
    exclude: Sequence[str] = (),
    data_root: Path | None = None,
) -> Material:
    """Pairs of several data sets; of each only the train split, so that its other splits stay
    unseen.

    Args:
        specs: ``shapes`` is the embedded world's web of all styles; any other SPEC is a labelled
            set.
        image_size: Side of the model's input in pixels.
        seed: Of everything that is drawn.
        pairs: How many the embedded world gives.
        views: How many each picture of a labelled set gives.
        exclude: Class names that are left out of the labelled sets.
        data_root: As in :func:`grace_geom.data.resolve`.

    Raises:
        UserError: If a SPEC cannot be read, or no set has a class that is to be left out.
    """
    material, unseen = Material(), set(exclude)
    for spec in specs:
        if spec == EMBEDDED:
            prompts = [
                t.replace("{}", c)
                for s in SHAPES_SETS.values()
                for c in s.class_names
                for t in s.templates
            ]
            material.add(
                spec, *shapes_pairs(pairs, seed), prompts, "procedural pictures of all styles"
            )
            continue
        image_set = resolve(spec, "train", data_root=data_root)
        unseen -= set(image_set.class_names)
        image_set = restrict_classes(
            image_set, [c for c in image_set.class_names if c not in exclude]
        )
        prompts = [t.replace("{}", c) for c in image_set.class_names for t in image_set.templates]
        material.add(
            spec, *labelled_pairs(image_set, image_size, seed, views), prompts, image_set.note
        )
    if unseen:
        raise UserError(
            f"--exclude: no data set has a class called {', '.join(map(repr, sorted(unseen)))}"
        )
    return material
