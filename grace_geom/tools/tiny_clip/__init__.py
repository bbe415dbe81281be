"""Contrastive pretraining: pictures and captions in, a small CLIP out."""

from grace_geom.tools.tiny_clip.files import save_weights, thinned
from grace_geom.tools.tiny_clip.hard import adversarial_ids
from grace_geom.tools.tiny_clip.loss import contrastive_loss, encode_tokens
from grace_geom.tools.tiny_clip.pairs import EMBEDDED, Pairs, gather, labelled_pairs, shapes_pairs
from grace_geom.tools.tiny_clip.training import LossCurve, Pretrainer, Schedule, pretrain

__all__ = [
    "EMBEDDED",
    "LossCurve",
    "Pairs",
    "Pretrainer",
    "Schedule",
    "adversarial_ids",
    "contrastive_loss",
    "encode_tokens",
    "gather",
    "labelled_pairs",
    "pretrain",
    "save_weights",
    "shapes_pairs",
    "thinned",
]
