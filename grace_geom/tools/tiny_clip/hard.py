"""Natural adversarial examples as ImageNet-A was made (Hendrycks et al. 2021): what the zero-shot
model gets wrong.
"""

import numpy as np
import torch

from grace_geom.data.shapes.sets import render
from grace_geom.models import ClipClassifier


@torch.no_grad()
def adversarial_ids(
    model: ClipClassifier, name: str, wanted: int, chunk: int = 500
) -> tuple[list[int], int]:
    """Numbers of the first ``wanted`` pictures of a set that the model names wrongly.

    Args:
        model: With the zero-shot head of the set's classes.
        name: Key of ``SHAPES_SETS``; the pictures of its test stream are the candidates.
        wanted: How many.
        chunk: Pictures painted at a time.

    Returns:
        The numbers, ascending, and how many pictures were looked at (at most 20 for each one
        wanted).
    """
    wrong: list[int] = []
    seen = 0
    while len(wrong) < wanted and seen < 20 * wanted:
        indices = np.arange(seen, seen + chunk)
        images, labels = render(name, "test", indices)
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        answers = model(pixels.to(model.device)).argmax(1).cpu().numpy()
        wrong += indices[answers != labels].tolist()
        seen += chunk
    wrong = wrong[:wanted]
    return wrong, (wrong[-1] + 1 if len(wrong) == wanted else seen)
