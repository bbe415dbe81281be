"""CLIP as a classifier whose weights are data."""

from grace_geom.models.classifier import PROMPT, ClipClassifier
from grace_geom.models.head import encode_text, text_head
from grace_geom.models.loading import (
    build,
    known_models,
    open_clip_model,
    register_configs,
    shapes_of,
    tokenizer_of,
)
from grace_geom.models.spec import ModelSpec

__all__ = [
    "PROMPT",
    "ClipClassifier",
    "ModelSpec",
    "build",
    "encode_text",
    "known_models",
    "open_clip_model",
    "register_configs",
    "shapes_of",
    "text_head",
    "tokenizer_of",
]
