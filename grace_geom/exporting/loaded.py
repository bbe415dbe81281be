"""What is exported, and how an export is compared with it."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from grace_geom.checkpoint import Checkpoint, checkpoint_file, open_checkpoint
from grace_geom.errors import UserError
from grace_geom.models import ClipClassifier

IMAGES = 3
"""Images of a comparison: a batch of another size than the one that graphs are traced with."""
FEW = 64
"""Classes whose zero-shot head is made anew to tell whether the head was trained."""
LARGEST = 1e-4
"""Difference of logits, relative to the largest, that is no rounding of float32 any more."""


@dataclass
class Loaded:
    """A checkpoint that was opened for export.

    Attributes:
        model: The classifier at its weights, float32 on the CPU.
        checkpoint: Its record.
        file: The file it was read from.
    """

    model: ClipClassifier
    checkpoint: Checkpoint
    file: Path

    @property
    def texts(self) -> list[str]:
        """Some prompts, for comparisons of text towers."""
        names, template = self.model.class_names[:4], self.model.templates[0]
        return [template.replace("{}", name) for name in names]

    def images(self) -> Float[Tensor, " b 3 h w"]:
        """Random pixels in [0, 1] of the tower's size, always the same."""
        generator = torch.Generator().manual_seed(0)
        return torch.rand(IMAGES, 3, *self.model.preprocess.size, generator=generator)

    def normalised(self) -> Float[Tensor, " b 3 h w"]:
        """The same, as plain towers take them: minus the mean, over the standard deviation."""
        mean, std = self.model.mean, self.model.std
        return (self.images() - mean) / std  # type: ignore[operator]

    @torch.no_grad()
    def zero_shot_logits(self) -> Float[Tensor, " b t"]:
        """Logits of the images for ``texts``, as both towers give them."""
        features = self.model.features(self.images())
        return self.model.logit_scale * features @ self.model.text_features(self.texts).T

    @torch.no_grad()
    def head_logits(self) -> Float[Tensor, " b k"]:
        """Logits of the images at the checkpoint's head."""
        return self.model(self.images())

    def wordless(self) -> str:
        """Why no text can be encoded here, in words; empty where one can."""
        try:
            _ = self.model.tokenizer  # is read now
        except UserError as error:
            return str(error)
        return ""

    def trained_head(self) -> bool | None:
        """Whether the head is another than class names and templates give with the text tower;
        ``None`` where no text can be encoded.

        Every class is compared where there are at most ``FEW``. Of more, the first two and every
        bias are: training moves every row, and all prompts of ImageNet would take minutes.
        """
        if self.wordless():
            return None
        names = self.model.class_names
        asked = names if len(names) <= FEW else names[:2]
        zero_shot = self.model.with_head(asked, self.model.templates).head
        own, bias = self.model.head, zero_shot["head.bias"][:1]  # the same for every class
        return _moved(own["head.weight"][: len(asked)], zero_shot["head.weight"]) or _moved(
            own["head.bias"], bias
        )


def _moved(own: Tensor, zero_shot: Tensor) -> bool:
    """Whether a difference is more than rounding."""
    return bool((own - zero_shot).abs().max() > 1e-4 * zero_shot.abs().max())


def opened(path: Path, *, verify: bool) -> Loaded:
    """The checkpoint at ``path``, a file of ours or a run directory.

    Raises:
        UserError: As :func:`grace_geom.checkpoint.open_checkpoint`.
    """
    file = checkpoint_file(path)
    model, checkpoint = open_checkpoint(file, verify=verify)
    return Loaded(model.eval(), checkpoint, file)


def compared(ours: Tensor, theirs: Tensor, what: str) -> float:
    """The largest difference of two sets of logits, relative to the largest logit.

    Args:
        ours: Logits of this package, ``(B, K)``.
        theirs: Logits of the export, read and computed by the other library.
        what: Names them in the error.

    Raises:
        RuntimeError: If they differ by more than float32 rounds: the export is wrong, which is a
            fault of this package or of the other library.
    """
    largest = max(1.0, float(ours.abs().max()))
    found = float((ours - theirs).abs().max()) / largest
    if not found <= LARGEST:
        raise RuntimeError(f"{what}: logits differ by {found:.1e}, relative to the largest")
    return found
