"""FLYP (Goyal et al. 2023, "Finetune like you pretrain"): CLIP's own contrastive loss on captions of the classes."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from grace_geom.batch import Batch
from grace_geom.methods.base import Method, Run
from grace_geom.models import ClipClassifier
from grace_geom.weights import Weights, leaves


@dataclass
class Flyp(Method):
    """``1/2 [CE(s Z U', arange) + CE(s U Z', arange)]``, Z images, U one caption each, from a random template.

    Both towers and log s train. The head of the checkpoint, and of held-out numbers on the way, is the text head of
    the tuned text tower times the tuned s; zero-shot heads of other classes come from that tower too. Captions of one
    class in a batch count as negatives of each other, as in paper and code. With a micro-batch, or in several
    processes, the negatives are those of each piece. The public code clips neither gradients nor s; gradients are
    clipped here as for every method.
    """

    lr: float = 1e-5

    def setup(self, model: ClipClassifier, generator: torch.Generator) -> tuple[Weights, dict[str, Any]]:
        return leaves(dict(model.clip.named_parameters())), {}

    def losses(self, run: Run, weights: Weights, batch: Batch) -> dict[str, Tensor]:
        z = run.model.features(batch.images, weights)
        u = run.model.text_features(self.captions(run, batch), weights)
        logits = weights["logit_scale"].exp() * z @ u.T
        pairs = torch.arange(len(batch), device=logits.device)
        with torch.no_grad():
            matched = batch.labels[logits.argmax(dim=1)] == batch.labels
            run.scalars |= {"caption_acc": matched.float().mean(), "logit_scale": weights["logit_scale"].exp()}
        return {"contrastive": (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2}

    def captions(self, run: Run, batch: Batch) -> list[str]:
        """A sentence for each image: a template drawn at random with the name of the image's class."""
        templates, names = run.model.templates, run.model.class_names
        generator = run.generator
        drawn = torch.randint(len(templates), (len(batch),), generator=generator, device=generator.device)
        return [
            templates[t].replace("{}", names[y]) for t, y in zip(drawn.tolist(), batch.labels.tolist(), strict=True)
        ]

    def snapshot(self, run: Run) -> Weights:
        tuned = super().snapshot(run)
        return tuned | run.model.text_head(tuned)
