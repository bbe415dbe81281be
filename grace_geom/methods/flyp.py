"""FLYP (Goyal et al. 2023, "Finetune like you pretrain"): CLIP's own contrastive loss on captions,
the images' own or made of their classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from grace_geom.batch import Batch
from grace_geom.methods.base import Coupled, Losses, Method, Run
from grace_geom.models import ClipClassifier
from grace_geom.weights import Weights, detach, leaves


@dataclass
class Paired:
    """Field of the methods that contrast images with captions.

    Attributes:
        pair_with: What images are paired with: caption (their own), prompt (of their class), or
            auto (their own captions where the data have some).
    """

    pair_with: Literal["auto", "caption", "prompt"] = "auto"

    @property
    def captions(self) -> Literal["unused", "taken", "needed"]:
        """As ``pair_with`` says."""
        found: dict[str, Literal["unused", "taken", "needed"]] = {
            "prompt": "unused", "auto": "taken", "caption": "needed",
        }  # fmt: skip
        return found[self.pair_with]


@dataclass
class Flyp(Paired, Method):
    """``1/2 [CE(s Z U', arange) + CE(s U Z', arange)]``, Z images, U one caption each: the image's
    own where the data have captions (``wds:``, ``csv:``), else the name of its class in a random
    template.

    Of several captions of an image each step draws one. With captions the data need no labels; the
    classes of the head are then those of the class list beside the data, or of the first ``--ood``
    set.

    Both towers and log s train. The head of the checkpoint, and of held-out numbers on the way, is
    the text head of the tuned text tower times the tuned s; zero-shot heads of other classes come
    from that tower too. Captions of one class in a batch count as negatives of each other, as in
    paper and code. A step that is cut into micro-batches has the gradient of the whole one, for one
    forward pass more (Gao et al. 2021): the loss is differentiated by the features, and these piece
    by piece by the weights. Each of several processes contrasts its own images only. The public
    code clips neither gradients nor s; gradients are clipped here as for every method.
    """

    name: ClassVar[str] = "flyp"
    tables: ClassVar[tuple[int, ...]] = (6,)
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.0009}}

    lr: float = 1e-5

    @classmethod
    def before(cls, data: str) -> dict[str, Any]:
        """Captions that lay beside images were not read."""
        return {"pair_with": "prompt"} if data.startswith(("wds:", "csv:")) else {}

    def setup(
        self, model: ClipClassifier, generator: torch.Generator
    ) -> tuple[Weights, dict[str, Any]]:
        """Every parameter of both towers, and log s."""
        return leaves(dict(model.clip.named_parameters())), {}

    def losses(self, run: Run, weights: Weights, batch: Batch) -> Losses:
        """``contrastive``: the loss of this batch alone, each image with its caption or a newly
        drawn prompt.
        """
        z, u = self.pairs(run, weights, batch, captions_of(run, batch))
        return self.contrast(z, u, weights["logit_scale"], batch.labels)

    def gradients(self, run: Run, batches: Sequence[Batch]) -> Losses:
        """Gradient of the whole step's contrastive loss, however the step is cut.

        Features are computed once without and once with a graph (see the class).
        """
        if len(batches) == 1:
            return self.accumulate(run, batches)
        said = [captions_of(run, batch) for batch in batches]
        weights = self.weights(run.model, run.params)
        with torch.no_grad():
            pieces = [
                self.pairs(run, weights, batch, lines)
                for batch, lines in zip(batches, said, strict=True)
            ]
        z, u = (torch.cat(side).requires_grad_() for side in zip(*pieces, strict=True))
        log_s = run.params["logit_scale"].detach().requires_grad_()
        found = self.contrast(z, u, log_s, torch.cat([batch.labels for batch in batches]))
        dz, du, ds = torch.autograd.grad(found.terms["contrastive"], [z, u, log_s])
        run.backward(ds * run.params["logit_scale"])
        sizes = [len(batch) for batch in batches]
        for batch, lines, *slopes in zip(
            batches, said, dz.split(sizes), du.split(sizes), strict=True
        ):
            sides = self.pairs(run, self.weights(run.model, run.params), batch, lines)
            run.backward(sum((d * side).sum() for d, side in zip(slopes, sides, strict=True)))  # type: ignore[arg-type]
        return found._replace(terms=detach(found.terms))

    @property
    def coupled(self) -> Coupled:
        """Each process contrasts its own images only, and is told so."""
        return Coupled(
            None,
            "each process contrasts its own {share} images of a step only, fewer negatives than "
            "one process has",
        )

    def pairs(
        self, run: Run, weights: Weights, batch: Batch, captions: list[str]
    ) -> tuple[Tensor, Tensor]:
        """Unit features of the images and of their captions, ``(B, D)`` each."""
        return run.model.features(batch.images, weights), run.model.text_features(captions, weights)

    def contrast(self, z: Tensor, u: Tensor, log_s: Tensor, labels: Tensor) -> Losses:
        """The symmetric contrastive loss of paired rows, and how often the nearest caption is of
        the right class; of images without a class, how often it is their own.
        """
        logits = log_s.exp() * z @ u.T
        return Losses(
            {"contrastive": paired(logits)},
            {"caption_acc": share_matched(logits, labels), "logit_scale": log_s.detach().exp()},
        )

    def snapshot(self, run: Run) -> Weights:
        """Both tuned towers, and the text head made by the tuned text tower."""
        tuned = super().snapshot(run)
        return tuned | run.model.text_head(tuned)


def captions_of(run: Run, batch: Batch) -> list[str]:
    """A sentence for each image: its own caption, or its class's name in a random template."""
    if batch.captions is not None:
        return list(batch.captions)
    templates, names = run.model.templates, run.model.class_names
    generator = run.generator
    drawn = torch.randint(
        len(templates), (len(batch),), generator=generator, device=generator.device
    )
    pairs = torch.stack([drawn, batch.labels], dim=1).tolist()  # one look at the device
    return [templates[t].replace("{}", names[y]) for t, y in pairs]


def paired(logits: Tensor) -> Tensor:
    """``1/2 [CE(logits, arange) + CE(logits', arange)]`` of paired rows and columns ``(B, B)``."""
    rows = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, rows) + F.cross_entropy(logits.T, rows)) / 2


@torch.no_grad()
def share_matched(logits: Tensor, labels: Tensor) -> Tensor:
    """How often the nearest caption ``(B, B)`` is of the image's class; of images without a class,
    labelled -1, how often it is their own.
    """
    rows = torch.arange(len(logits), device=logits.device)
    kinds = torch.where(labels < 0, -1 - rows, labels)  # without a class: one of its own
    return (kinds[logits.argmax(dim=1)] == kinds).float().mean()
