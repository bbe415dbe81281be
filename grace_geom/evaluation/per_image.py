"""What a classifier says about each image: class, margin, and the terms of proper scores."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

PerImage = dict[str, np.ndarray]
"""Name -> ``(n,)``, image by image in order."""


@torch.no_grad()
def look(
    logits: Float[Tensor, " b k"], labels: Int[Tensor, " b"], temperature: float | None = None
) -> dict[str, Tensor]:
    """What one batch of logits says, where the logits lie (:func:`fetched`); real numbers are
    float64.

    Args:
        logits: One score for each class of the data set.
        labels: Indices of the right classes.
        temperature: Divide the logits by it for the scores named ``scaled_...``; ``None``: no such
            scores.

    Returns:
        ``predicted`` (int64), ``other`` (int64, the wrong class of highest logit), ``margin``
        (logit of the label less that of ``other``); ``nll``, ``brier`` (sum over classes of squared
        differences to the one-hot label, in [0, 2]) and ``confidence`` (highest probability).
    """
    scores = logits.double()
    rest = scores.scatter(1, labels[:, None], -torch.inf)
    other = rest.argmax(1)
    margin = (scores.gather(1, labels[:, None]) - rest.gather(1, other[:, None]))[:, 0]
    found = {"predicted": logits.argmax(1), "other": other, "margin": margin}
    found |= _scores(scores, labels)
    if temperature is not None:
        scaled = _scores(scores / temperature, labels)
        found |= {f"scaled_{name}": value for name, value in scaled.items()}
    return found


def fetched(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Numbers of each image on the CPU, in one copy: each would wait for a GPU of its own.

    Args:
        found: ``(b,)`` each: classes, answers, real numbers; all of them fit a float64.
    """
    host = torch.stack([value.double() for value in found.values()]).cpu()
    return {name: row.to(found[name].dtype) for name, row in zip(found, host, strict=True)}


def _scores(logits: Float[Tensor, " b k"], labels: Int[Tensor, " b"]) -> dict[str, Tensor]:
    """``nll``, ``brier`` and ``confidence`` of each image."""
    logs = logits.log_softmax(1)
    p = logs.exp()
    own = logs.gather(1, labels[:, None])[:, 0]
    brier = p.square().sum(1) - 2 * own.exp() + 1
    return {"nll": -own, "brier": brier, "confidence": p.amax(1)}


def settle(
    seen: dict[str, Tensor], labels: Int[Tensor, " b"], robust: Bool[Tensor, " b"]
) -> dict[str, Tensor]:
    """The predictions for adversarial images, made to agree with what the attack counted.

    Attacks such as FAB end on the border of two classes, where another batch can round to the other
    side: an image that was fooled has the wrong class of highest logit, one that stands its label.
    All on one device.
    """
    fooled = torch.where(seen["predicted"] == labels, seen["other"], seen["predicted"])
    return seen | {"predicted": torch.where(robust, labels, fooled)}


def distances(
    clean: Float[Tensor, " b *d"], moved: Float[Tensor, " b *d"], norm: str
) -> Float[Tensor, " b"]:
    """``(b,)`` distance of each image to its clean one in ``linf``, ``l2`` or ``l1``, in float64.

    Raises:
        KeyError: For another norm.
    """
    by = (moved.double() - clean.double()).flatten(1)
    order = {"linf": torch.inf, "l2": 2.0, "l1": 1.0}[norm]
    return by.norm(p=order, dim=1)


def stacked(batches: Sequence[dict[str, Tensor]]) -> PerImage:
    """The batches of a set as one array a name."""
    return {name: torch.cat([b[name] for b in batches]).numpy() for name in batches[0]}
