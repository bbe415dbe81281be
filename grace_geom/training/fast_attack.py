"""``--compile``: how a run's attack is computed, and what is said of it."""

from typing import Any

from grace_geom import distributed
from grace_geom.config import TrainConfig
from grace_geom.methods.fast_attack import FastAttack
from grace_geom.terminal import warn
from grace_geom.training.directory import Follower
from grace_geom.training.trainer import Trainer


def fast_attack(config: TrainConfig, trainer: Trainer, kept: Follower) -> FastAttack:
    """The attack's gradients as ``--compile`` has them; how it went is in ``compile.jsonl``."""

    def tell(record: dict[str, Any]) -> None:
        kept.emit("compile", {"step": trainer.run.step, **record})
        if record["reason"] and distributed.first():
            warn(f"--compile {record['asked']}: going on without: {record['reason']}")

    fast = FastAttack(config.compile, tell)
    if not hasattr(trainer.method, "attack_steps"):
        fast.refuse(f"{config.method} has no attack")
    return fast
