"""Checkpoints of the toy CLIP, made without training."""

import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import open_clip
import torch

from grace_geom.checkpoint import checkpoint_of, save_checkpoint
from grace_geom.models import PROMPT, ClipClassifier, ModelSpec, build
from grace_geom.weights import Weights
from tests.toys import CLASSES, CONFIG, TEMPLATES

RANK, ALPHA = 2, 3.0
SETTINGS: dict[str, Any] = {"method": "lora", "data": "shapes", "r": RANK, "lora_alpha": ALPHA}


@cache
def register(name: str, changes: str = "{}") -> str:
    """The toy's configuration with other values, as JSON, under another name."""
    config = json.loads(json.dumps(CONFIG))
    for part, values in json.loads(changes).items():
        config[part] = {**config[part], **values} if isinstance(values, dict) else values
    folder = Path(mkdtemp())
    (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    return name


def toy(name: str | None = None, preprocess: str | None = None) -> ClipClassifier:
    """The toy at random weights, three classes."""
    spec = ModelSpec(name or register("toy-clip"), "random", 0, preprocess)
    return build(spec, CLASSES, TEMPLATES)


def noisy(model: ClipClassifier, scale: float = 0.1) -> Weights:
    """Both towers with noise on every tensor: an untrained bias of 0 or gain of 1 would hide one
    that got lost.
    """
    g = torch.Generator().manual_seed(1)
    return {
        name: w + scale * torch.randn(w.shape, generator=g)
        for name, w in model.clip.state_dict().items()
        if name != "logit_scale"
    }


def own_network(folder: Path) -> str:
    """A network that nobody else has registered, by the path of its configuration."""
    file = folder / "my net.json"
    vision = {**CONFIG["vision_cfg"], "mlp_ratio": 3.0}
    file.write_text(json.dumps({**CONFIG, "vision_cfg": vision}))
    return str(file)


def full_checkpoint(folder: Path, **record: Any) -> Path:
    """Both towers and the head changed; QuickGELU, and pictures that are squashed."""
    name = register("toy-quick", '{"quick_gelu": true}')
    model = toy(name, "resize_mode=squash,interpolation=bilinear,mean=0.5,std=0.25")
    g = torch.Generator().manual_seed(2)
    head = {n: w + torch.randn(w.shape, generator=g) for n, w in model.head.items()}
    config = {"method": "ft", "data": "shapes", "train_head": True}
    return saved(folder, model, noisy(model) | head, **({"config": config} | record))


def lora_checkpoint(
    folder: Path,
    settings: dict[str, Any] = SETTINGS,
    changes: Weights | None = None,
    network: str | None = None,
) -> Path:
    """Low-rank factors of the image tower's patch embedding, of every matrix in its blocks, and of
    its projection.
    """
    model = toy(network)
    g = torch.Generator().manual_seed(3)
    merged: Weights = {}
    adapter: Weights = {}
    for n, w in model.weights().items():
        block = w.ndim == 2 and ("attn" in n or "mlp" in n)
        if not block and n not in ("visual.proj", "visual.conv1.weight"):
            continue
        A = torch.randn(RANK, *w.shape[1:], generator=g) / 4
        B = torch.randn(w.shape[0], RANK, *[1] * (w.ndim - 2), generator=g) / 4
        adapter |= {f"{n}.A": A, f"{n}.B": B}
        change = (B.flatten(1) @ A.flatten(1)).view_as(w)
        merged[n] = w + ALPHA / RANK * change
    return saved(folder, model, merged | (changes or {}), config=settings, adapter=adapter)


def prompt_checkpoint(folder: Path) -> Path:
    """Visual prompt tokens beside the untouched towers."""
    tokens = torch.randn(2, 16, generator=torch.Generator().manual_seed(4))
    return saved(folder, toy(), {PROMPT: tokens}, config={"method": "vpt-pmg-aft"})


def saved(folder: Path, model: ClipClassifier, weights: Weights, **record: Any) -> Path:
    """``folder/ckpt.pt``."""
    path = folder / "ckpt.pt"
    save_checkpoint(path, checkpoint_of(model, weights, **record))
    return path
