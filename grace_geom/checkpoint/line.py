"""The straight line from the pretrained weights through those of a finished run."""

from dataclasses import dataclass

import torch

from grace_geom.checkpoint.opened import HEAD, open_base
from grace_geom.checkpoint.record import Checkpoint
from grace_geom.errors import UserError
from grace_geom.models import PROMPT, ClipClassifier
from grace_geom.weights import Weights, interpolate


@dataclass
class Line:
    """``(1 - t) theta_0 + t theta`` over both towers and the head: WiSE-FT's curve, and
    ``W0 + t BA`` for LoRA.

    Attributes:
        model: The classifier that :meth:`at` moves along the line; it owns its towers.
        base: Every weight at t = 0, by open_clip name and ``head.*``.
        end: The same at t = 1.
        rebuilt: The text tower was tuned: between and beyond the ends the head is made again from
            it.
    """

    model: ClipClassifier
    base: Weights
    end: Weights
    rebuilt: bool

    def weights(self, t: float) -> Weights:
        """Every weight at ``t``; bit for bit the ends at 0 and 1, and ``t`` may lie outside."""
        return interpolate(self.base, self.end, t)

    def at(self, t: float) -> ClipClassifier:
        """The classifier at ``t``. One at a time: its towers are those of the last call."""
        weights = self.weights(t)
        self.model.clip.load_state_dict(
            {name: w for name, w in weights.items() if not name.startswith(HEAD)}
        )
        head = {name: w for name, w in weights.items() if name.startswith(HEAD)}
        if self.rebuilt and t not in (0.0, 1.0):
            head = self.model.text_head({})
        return self.model.with_head(self.model.class_names, self.model.templates, head)


def line_of(checkpoint: Checkpoint, device: torch.device | str = "cpu") -> Line:
    """The line of a checkpoint. That of a ``wise-ft`` run ends in its fine-tuned weights, not in
    their average.

    Raises:
        UserError: If the pretrained weights are not here any more, or are others than those the run
            started from; for visual prompt tokens, which have no pretrained value.
    """
    if PROMPT in checkpoint.adapter:
        raise UserError(
            "visual prompt tokens have no pretrained value, so there is no line to them from the "
            "base"
        )
    model = open_base(checkpoint, device)
    base = {name: w.detach().clone() for name, w in model.clip.state_dict().items()}
    end = dict(checkpoint.state_dict) | {HEAD + name: w for name, w in checkpoint.text_head.items()}
    if checkpoint.config.get("method") == "wise-ft" and checkpoint.trainer:
        end |= checkpoint.trainer.get("average", checkpoint.trainer["params"])
    text = [name for name in base if not name.startswith("visual.")]
    rebuilt = any(
        not torch.equal(base[name], checkpoint.state_dict[name].to(base[name])) for name in text
    )
    base |= {name: w.clone() for name, w in model.head.items()}
    return Line(model, base, {name: end[name].to(w) for name, w in base.items()}, rebuilt)
