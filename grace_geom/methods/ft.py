"""Vanilla fine-tuning: cross-entropy over image tower and head (the FT of WiSE-FT, Wortsman et al.
2022).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from grace_geom.methods.base import FullFt


@dataclass
class Ft(FullFt):
    """``CE(head(f), y)``; the head starts as s T with bias 0 and trains with the image tower."""

    name: ClassVar[str] = "ft"
    tables: ClassVar[tuple[int, ...]] = (6,)
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"shapes": {"lr": 0.0009}}

    train_head: bool = True
