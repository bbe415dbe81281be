"""Training: settings to a run directory. A plan, a trainer that makes the steps, ``fit``, and what
is written down.
"""

from grace_geom.training.fit import Recorder, fit
from grace_geom.training.memory import choose_micro_batch, free_bytes, measure
from grace_geom.training.randomness import seed_global
from grace_geom.training.run import train_run
from grace_geom.training.trainer import Plan, Trainer

__all__ = [
    "Plan",
    "Recorder",
    "Trainer",
    "choose_micro_batch",
    "fit",
    "free_bytes",
    "measure",
    "seed_global",
    "train_run",
]
