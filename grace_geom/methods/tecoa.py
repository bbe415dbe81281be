"""TeCoA (Mao et al. 2023, arXiv 2212.07016): text-guided contrastive adversarial fine-tuning, and
its LoRA variant.

Objective: ``CE(s f(x + delta) T', y)`` over the image tower, the text head frozen. With every class
in the head, as here and in the public code, the contrastive loss is this cross-entropy: TeCoA is
``at`` with settings of its own.

Paper against code: the paper names SGD with lr 1e-5, the published script's default is 1e-7 (its
README gives no other for fine-tuning). Preset ``published`` takes the paper's. The defaults are
those with which Schlarmann et al. 2024 trained TeCoA again, at the radius of the other methods
here; preset ``schlarmann`` says so by name. We know of no clipping of gradients in either code:
both presets carry ``clip_norm: null``.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from grace_geom.methods.at import At, LoraAt
from grace_geom.methods.base import NO_CLIPPING

SCHLARMANN: dict[str, Any] = {
    "optimizer": "adamw",
    "lr": 1e-5,
    "weight_decay": 1e-4,
    "eps": 4 / 255,
    "alpha": 1 / 255,
    "attack_steps": 10,
}


@dataclass
class Tecoa(At):
    """``CE(s f(x + delta) T', y)`` over the image tower."""

    name: ClassVar[str] = "tecoa"
    tables: ClassVar[tuple[int, ...]] = (6,)
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.0027, "eps_warmup": 0.2}}

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "published": {
            "optimizer": "sgd",
            "lr": 1e-5,
            "momentum": 0.9,
            "weight_decay": 0.0,
            "eps": 1 / 255,
            "alpha": 1 / 255,
            "attack_steps": 2,
        },
        "schlarmann": SCHLARMANN,
    }
    preset_training: ClassVar[dict[str, dict[str, Any]]] = dict.fromkeys(presets, NO_CLIPPING)

    lr: float = 1e-5
    weight_decay: float = 1e-4


@dataclass
class LoraTecoa(LoraAt):
    """The same objective; only LoRA factors train (a row of the paper's Table 7, which gives no
    settings of it).
    """

    name: ClassVar[str] = "lora-tecoa"
    tables: ClassVar[tuple[int, ...]] = (7,)
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.009, "eps_warmup": 0.2}}

    lr: float = 2e-4
    weight_decay: float = 1e-4
