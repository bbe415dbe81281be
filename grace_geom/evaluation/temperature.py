"""Temperature scaling (Guo et al. 2017): one number that divides all logits, fitted on held-out
images.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from grace_geom.checkpoint import Checkpoint
from grace_geom.data import ImageSet, loader
from grace_geom.evaluation.held_out import held_out_images
from grace_geom.evaluation.measures import Measures, Source
from grace_geom.evaluation.reader import reader_for
from grace_geom.models import ClipClassifier

BOUND = 1e4
"""Temperatures lie between ``1 / BOUND`` and ``BOUND``."""


@dataclass(frozen=True)
class Temperature:
    """A fitted temperature.

    Attributes:
        value: Divides the logits.
        n: Held-out images that it was fitted on.
    """

    value: float
    n: int


def value_of(temperature: Temperature | None) -> float | None:
    """The number, where there is one."""
    return None if temperature is None else temperature.value


def fit_temperature(logits: Float[Tensor, " n k"], labels: Int[Tensor, " n"]) -> float:
    """The temperature of lowest NLL.

    The NLL is convex in ``b = 1 / T``; its slope there, ``mean(E_p[z] - z_label)``, is brought to 0
    by bisection of ``log b``, in float64. Where it has no zero, as for a model that is right about
    every image, the search ends where the loss vanishes in float64, or at ``BOUND``.
    """
    z = logits.double()
    own = z.gather(1, labels[:, None])[:, 0]

    def slope(log_b: float) -> float:
        p = (z * torch.tensor(log_b, dtype=torch.float64).exp()).softmax(1)
        return float(((p * z).sum(1) - own).mean())

    high = float(torch.tensor(BOUND, dtype=torch.float64).log())
    low = -high
    for _ in range(60):  # 18.4 / 2^60 is below what float64 tells apart
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float(torch.tensor(-(low + high) / 2, dtype=torch.float64).exp())


def held_out(data: str, run: Checkpoint, source: Source, measures: Measures) -> ImageSet:
    """The held-out images of a data set: those that the run looked at but was not trained on, at
    most 5,000 and at most ``measures.n`` of them.

    Raises:
        UserError: If the data set cannot be read, or the run was trained on all of them.
    """
    val, most, seed = held_out_images(data, run, source)
    return val.subset(min(most, measures.n or most), seed)


@torch.no_grad()
def held_out_temperature(
    model: ClipClassifier,
    held_out: ImageSet,
    image_size: int,
    batch_size: int,
    workers: int | None = None,
) -> Temperature:
    """Fit on clean held-out images of the ID data, read as the ID test is.

    Args:
        model: The classifier.
        held_out: Images that are in no test set.
        image_size: Side in pixels.
        batch_size: Images a call of the model.
        workers: Processes that decode images; ``None``: as many as help.
    """
    model.eval()
    reader = reader_for(model, held_out, "id")
    batches = loader(
        held_out,
        batch_size,
        model.preprocess.at(image_size),
        train=False,
        workers=workers,
        device=model.device,
    )
    logits = [reader(batch.images).double().cpu() for batch in batches]
    labels = torch.from_numpy(held_out.labels)
    return Temperature(fit_temperature(torch.cat(logits), labels), len(held_out))
