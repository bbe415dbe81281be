"""The function that the geometry of weights is about: the mean loss of a checkpoint on a fixed
sample.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from grace_geom.attacks import pgd_attack
from grace_geom.batch import Batch
from grace_geom.errors import UserError
from grace_geom.geometry.mean_loss import MeanLoss
from grace_geom.methods.adapters import merging
from grace_geom.methods.lora import matching
from grace_geom.models import PROMPT, ClipClassifier, encode_text
from grace_geom.weights import Weights, select

Logits = Callable[[Tensor, Weights], Tensor]
"""``(images, weights) -> logits`` in the order of the labels."""

GROUPS = {"visual": r"^visual\.", "head": r"^head\."}


@dataclass(frozen=True, eq=False)
class Objective:
    """``loss(weights, batch)`` and its parts on fixed batches, as functions of the weights that are
    asked about.

    Attributes:
        logits: The model's answer at a dictionary of its weights.
        weights: The point: names and values of the weights that vary.
        batches: The sample, on the model's device; adversarial images where the adversarial loss is
            meant. Of several processes each has its own.
        effective: From the weights that vary to a dictionary that the model understands.
        unit_logits: Scale each image's logits to Euclidean length 1 (Andriushchenko et al. 2023),
            which takes a change of confidence out of a change of the loss.
        images: Of all processes together, where the batches are shared out; ``None``: they are all
            here.
    """

    logits: Logits
    weights: Weights
    batches: list[Batch]
    effective: Callable[[Weights], Weights] = lambda weights: weights
    unit_logits: bool = False
    images: int | None = None

    def __len__(self) -> int:
        return self.images if self.images is not None else sum(len(batch) for batch in self.batches)

    @property
    def distributed(self) -> bool:
        """Whether means and products are sums over the processes of the job."""
        return self.images is not None

    def mean(self) -> MeanLoss:
        """The loss as a function of the weights, over the images of all processes."""
        return MeanLoss(self.loss, self.batches, self.distributed)

    @property
    def dim(self) -> int:
        """Weights that vary."""
        return sum(w.numel() for w in self.weights.values())

    def outputs(self, weights: Weights, batch: Batch) -> Float[Tensor, " b k"]:
        """Logits, or logits of length 1."""
        z = self.logits(batch.images, self.effective(weights))
        return F.normalize(z, dim=-1) if self.unit_logits else z

    def criterion(self, z: Float[Tensor, " b k"], batch: Batch) -> Tensor:
        """Mean cross-entropy of outputs."""
        return F.cross_entropy(z, batch.labels)

    def loss(self, weights: Weights, batch: Batch) -> Tensor:
        """Mean cross-entropy of a batch at ``weights``."""
        return self.criterion(self.outputs(weights, batch), batch)

    def attacked(self, eps: float, alpha: float, steps: int, seed: int) -> "Objective":
        """The same with images that PGD found at :attr:`weights`; they stay what they are when the
        weights move.
        """
        point = self.effective(self.weights)
        found = [
            replace(b, images=pgd_attack(
                lambda x: self.logits(x, point), b.images, b.labels, eps, alpha, steps, seed=seed,
                index=b.index.cpu(), until_fooled=False,
            ).x_adv)
            for b in self.batches
        ]  # fmt: skip
        return replace(self, batches=found)


def objective(
    model: ClipClassifier,
    logits: Logits,
    batches: Sequence[Batch],
    params: str = "visual",
    adapter: Weights | None = None,
    scale: float = 2.0,
    images: int | None = None,
    whole: str | None = None,
    pretrained: Callable[[], Weights] = dict,
) -> Objective:
    """The objective of a checkpoint as a function of some of its weights.

    Args:
        model: The classifier at the checkpoint's weights, in eval mode.
        logits: How the model answers the sample's question.
        batches: The sample, on the model's device and in its precision.
        params: ``visual`` (the image tower), ``head``, ``text`` (the text tower that makes the
            zero-shot head), ``adapter`` (the low-rank factors, or what trained in their place), or
            a regular expression for names of the image tower and the head.
        adapter: The checkpoint's low-rank factors, merged in the model's weights.
        scale: ``lora_alpha / r``, by which their product was multiplied.
        images: See :class:`Objective`.
        whole: Pattern of the matrices that trained whole where factors could have (``grace`` with
            ``--adapter full``); ``None``: none did.
        pretrained: The pretrained weights; asked for DoRA's factors alone.

    Raises:
        UserError: If the checkpoint has no such weights, or the model cannot be differentiated
            twice as it is.
    """
    _must_be_still(model)
    if params == "adapter":
        weights, effective = _adapter(model, adapter or {}, scale, whole, pretrained)
    elif params == "text":
        weights, effective = _text(model)
    else:
        weights, effective = select(model.weights(), GROUPS.get(params, params)), lambda w: w
    return Objective(logits, weights, list(batches), effective, images=images)


def _adapter(
    model: ClipClassifier,
    adapter: Weights,
    scale: float,
    whole: str | None,
    pretrained: Callable[[], Weights],
) -> tuple[Weights, Callable[[Weights], Weights]]:
    own = model.weights()
    if whole is not None:
        tower = {name: w for name, w in own.items() if name not in model.head}
        return {name: own[name] for name in matching(tower, whole)}, lambda w: w
    if not adapter:
        raise UserError(
            "--params adapter: this checkpoint has no low-rank factors; use --params visual"
        )
    point = {n: w.to(model.mean) for n, w in adapter.items()}  # type: ignore[arg-type]
    merged = merging(point, own, scale, pretrained)

    def effective(weights: Weights) -> Weights:
        return merged(weights) | {name: w for name, w in weights.items() if name == PROMPT}

    return point, effective


def _text(model: ClipClassifier) -> tuple[Weights, Callable[[Weights], Weights]]:
    """The head is made again from the text tower at each call: K classes times the templates
    through it.
    """
    weights = {
        name: w.detach() for name, w in model.clip.named_parameters()
        if not name.startswith(("visual.", "logit_"))
    }  # fmt: skip
    prompts = [t.replace("{}", name) for name in model.class_names for t in model.templates]
    tokens = model.tokenizer(prompts).to(model.device)
    bias = model.head["head.bias"]

    def effective(w: Weights) -> Weights:
        rows = encode_text(model.clip, tokens, w)
        mean = rows.view(len(model.class_names), len(model.templates), -1).mean(dim=1)
        return {"head.weight": model.logit_scale * F.normalize(mean, dim=-1), "head.bias": bias}

    own = effective(weights)["head.weight"]
    if not torch.allclose(
        own, model.head["head.weight"], rtol=1e-3, atol=1e-3 * float(own.abs().max())
    ):
        raise UserError(
            "--params text: the head of this checkpoint was trained, its text tower does not make "
            "it"
        )
    return weights, effective


def _must_be_still(model: ClipClassifier) -> None:
    if model.recompute:
        raise UserError(
            "activation checkpointing is on: turn it off for curvature (it has no second "
            "derivative)"
        )
    active = [name for name, module in model.clip.named_modules() if module.training]
    if active:
        raise UserError(
            f"the model is in training mode (at {active[0] or 'its root'}): call model.eval() first"
        )
