"""The training loop: a plan, a trainer that makes the steps, and ``fit``, which goes through them."""

from grace_geom.loop.fit import Recorder, fit
from grace_geom.loop.memory import choose_micro_batch, free_bytes, measure
from grace_geom.loop.randomness import seed_global
from grace_geom.loop.trainer import Plan, Trainer

__all__ = ["Plan", "Recorder", "Trainer", "choose_micro_batch", "fit", "free_bytes", "measure", "seed_global"]
