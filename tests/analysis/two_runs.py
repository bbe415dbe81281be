"""Two toy checkpoints that feature analyses measure, and what makes these quick."""

import json
from pathlib import Path

import numpy as np

from grace_geom.checkpoint import checkpoint_of, save_checkpoint
from tests.toys import CLASSES, toy_batch, toy_clip

FAST = ["--n", "60", "--batch", "32", "--attack-steps", "2", "--replicates", "6"]


def make_two_runs(root: Path) -> Path:
    """Two runs, an ID set and an OOD set."""
    for name, seed in (("id", 0), ("odd", 1)):
        batch = toy_batch(400, seed)  # a fifth is the test split
        pixels = (batch.images.permute(0, 2, 3, 1) * 255).round().to(int).numpy().astype(np.uint8)
        np.savez(
            root / f"{name}.npz",
            images=pixels if name == "id" else 255 - pixels,
            labels=batch.labels.numpy(),
        )
        (root / f"{name}.classes.json").write_text(json.dumps(list(CLASSES)))
    model = toy_clip()
    for name, scale in (("still", 1.0), ("moved", 1.3)):
        weights = {
            n: w * (scale if w.ndim == 2 else 1)
            for n, w in model.weights().items()
            if n not in model.head
        }
        config = {
            "data": f"npz:{root}/id.npz",
            "method": "ft",
            "ood": {"odd": f"npz:{root}/odd.npz"},
        }
        save_checkpoint(root / name / "ckpt.pt", checkpoint_of(model, weights, config=config))
    return root


def runs(lab: Path) -> list[str]:
    """As the command line takes them."""
    return [str(lab / "still"), str(lab / "moved")]
