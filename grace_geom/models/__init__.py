"""CLIP as a classifier whose weights are data."""

from grace_geom.models.classifier import PROMPT, ClipClassifier
from grace_geom.models.head import encode_text, text_head
from grace_geom.models.loading import (
    build,
    open_clip_model,
    preprocess_as_file,
    shapes_of,
    tokenizer_of,
)
from grace_geom.models.preprocessing import preprocess_of, set_preprocess
from grace_geom.models.sources import check_model, known_models, register_configs
from grace_geom.models.spec import ModelSpec

__all__ = [
    "PROMPT",
    "ClipClassifier",
    "ModelSpec",
    "build",
    "check_model",
    "encode_text",
    "known_models",
    "open_clip_model",
    "preprocess_as_file",
    "preprocess_of",
    "register_configs",
    "set_preprocess",
    "shapes_of",
    "text_head",
    "tokenizer_of",
]
