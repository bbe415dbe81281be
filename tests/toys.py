"""A CLIP of a few thousand weights, with LayerNorm and attention, for tests that need a real
one."""

import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import open_clip
import torch

from grace_geom.batch import Batch
from grace_geom.methods import Run
from grace_geom.models import ClipClassifier, ModelSpec, build

CLASSES = ("circle", "square", "star")
TEMPLATES = ("a photo of a {}", "a drawing of a {}")
CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 16, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@cache
def register_toy() -> str:
    """Make the toy configuration known to open_clip; returns its name."""
    folder = Path(mkdtemp())
    (folder / "toy-clip.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder)
    return "toy-clip"


def toy_clip(seed: int = 0) -> ClipClassifier:
    """A fresh random toy, three classes."""
    return build(ModelSpec(register_toy(), "random", seed), CLASSES, TEMPLATES)


def write_weights(model: ClipClassifier, weights: dict[str, torch.Tensor]) -> None:
    """Copy values into the model itself, where the package would hand them in."""
    own = model.weights()
    with torch.no_grad():
        for name, w in weights.items():
            own[name].copy_(w)


def toy_batch(n: int = 8, seed: int = 0) -> Batch:
    """Images whose mean colour tells the class, so that there is something to learn."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, len(CLASSES), (n,), generator=g)
    images = 0.3 + 0.2 * torch.rand(n, 3, 16, 16, generator=g)
    images[torch.arange(n), labels] += 0.4
    return Batch(images, labels, torch.arange(n))


def toy_images(part: str) -> list[Batch]:
    """Clean training and held-out images for what a method does before or after its steps."""
    return [toy_batch(24, seed=s) for s in ((100, 101) if part == "train" else (102,))]


def toy_run(method, model: ClipClassifier | None = None, steps: int = 10, seed: int = 0) -> Run:
    """A run at step 0, its factors and leaves set up from the seed."""
    model = model or toy_clip()
    params, state = method.setup(model, torch.Generator().manual_seed(seed))
    return Run(
        model, params, torch.Generator().manual_seed(seed + 1), steps, state, images=toy_images
    )


def train(method, run: Run, batches: list[Batch]) -> list[dict[str, torch.Tensor]]:
    """The loop in five lines, for tests of methods alone."""
    optimizer, history = method.make_optimizer(run.params), []
    method.prepare(run)
    for batch in batches:
        optimizer.zero_grad()
        history.append(method.gradients(run, [batch]).terms)
        optimizer.step()
        run.step += 1
    return history
