"""What a pretraining leaves on disk."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from grace_geom.files import atomic_write
from grace_geom.tools.tiny_clip.training import LossCurve


def save_weights(clip: nn.Module, path: Path) -> None:
    """Weights in half precision as safetensors, which
    ``open_clip.create_model(..., pretrained=FILE)`` reads.

    Half precision because the token embedding of the standard tokenizer, mostly zeros here, is
    three quarters of the file; open_clip casts to float32 on loading.
    """
    state = {
        name: w.detach().to("cpu", torch.float16).contiguous()
        for name, w in clip.state_dict().items()
    }
    with atomic_write(path) as file:
        file.write(save(state))


def thinned(curve: LossCurve, points: int = 40) -> dict[str, Any]:
    """A loss curve of about ``points`` entries, each the mean of the entries it stands for, for a
    record.
    """
    size = max(1, -(-len(curve.step) // points))
    starts = range(0, len(curve.step), size)
    return {
        "step": [curve.step[i] for i in starts],
        "loss": [
            round(sum(part) / len(part), 4) for i in starts if (part := curve.loss[i : i + size])
        ],
        "last": {"step": curve.step[-1], "loss": round(curve.loss[-1], 4)},
    }
