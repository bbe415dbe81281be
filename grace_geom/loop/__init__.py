"""The training loop: a plan, a trainer that makes the steps, and ``fit``, which goes through them."""

from grace_geom.loop.fit import Recorder, fit
from grace_geom.loop.randomness import seed_global
from grace_geom.loop.trainer import Plan, Trainer

__all__ = ["Plan", "Recorder", "Trainer", "fit", "seed_global"]
