"""What a training says about itself while it runs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from grace_geom.config import TrainConfig
from grace_geom.data import ImageSet
from grace_geom.methods.flyp import Paired
from grace_geom.quantities import radius
from grace_geom.records.statistics import FEW, half_width
from grace_geom.training.trainer import Trainer


class Introduced(Protocol):
    """What is said of a run directory."""

    config: TrainConfig
    val: ImageSet
    where: dict[str, Any]
    out: Path


def introduction(kept: Introduced, trainer: Trainer) -> list[str]:
    """What trains how long on what, in a line; others warn of a batch that cannot be filled, and of
    too few held-out images.
    """
    step, plan, c = trainer.run.step, trainer.plan, kept.config
    data = kept.where["data"]
    seen, asked = data["train"]["images"], c.train_images
    few = f" (all there are, of {asked} asked for)" if asked is not None and asked > seen else ""
    size, parts = min(c.batch_size, seen), [c.model]
    if plan.total_steps:
        epochs = plan.total_steps / plan.steps_per_epoch
        # linear probes have no learning rate, clean methods no attack
        lr, eps = (getattr(trainer.method, name, None) for name in ("lr", "eps"))
        several = "steps" if plan.total_steps > 1 else "step"
        parts.append(f"{plan.total_steps} {several} of {size} images ({epochs:.3g} epochs)")
        parts += [f"lr {lr:g}"] if lr is not None else []
        parts += [f"ε {radius(eps)}"] if eps is not None else []
    parts.append(f"{kept.where['precision']} on {kept.where['device_name']}")
    parts.append(
        f"{seen} training images{few}, {len(kept.val)} held out, {data['test_images']} test"
    )
    if isinstance(trainer.method, Paired):
        parts.append(f"paired with {'captions' if 'captions' in data else 'prompts'}")
    head = f"{c.method} on {c.data}: {', '.join(parts)} -> {kept.out}"
    lines = [head + f" (from step {step})" * (step > 0)]
    if plan.total_steps and c.batch_size > seen:
        lines.append(
            f"warning: --batch-size {c.batch_size} is larger than the training set: each step "
            f"takes all {seen} images, one step an epoch. A smaller batch gives more steps"
        )
    if plan.total_steps and kept.val.labelled and 0 < len(kept.val) < FEW:
        lines.append(_few(kept))
    return lines


def _few(kept: Introduced) -> str:
    """What so few held-out images tell, and which option gives more of them."""
    n = len(kept.val)
    images = "image tells" if n == 1 else "images tell"
    more = more_held_out(
        n, kept.config.val_images, kept.config.val_fraction, str(kept.val.note.get("how")), _flag
    )
    return (
        f"warning: {n} held-out {images} an accuracy to ±{100 * half_width(n):.0f} points (95 %): "
        f"which checkpoint is best, or which learning rate, is largely chance; {more}"
    )


def _flag(name: str, value: float) -> str:
    return f"--{name.replace('_', '-')} (now {value:g})"


def more_held_out(
    n: int, most: int, share: float, how: str, option: Callable[[str, float], str]
) -> str:
    """What gives more held-out images: the option that limits them, or other data.

    Args:
        n: Held-out images of an evaluation.
        most: ``val_images``.
        share: ``val_fraction``.
        how: Where the held-out images come from, as the note of their set has it.
        option: How a reader sets an option, by its name and its value now.
    """
    if n == most:
        return f"a larger {option('val_images', most)} looks at more"
    if "val: seeded" in how:
        return f"a larger {option('val_fraction', share)} holds out more, and trains on less"
    return (
        "they are the data's own validation part: add images to it, or leave it out of the data, "
        f"and {option('val_fraction', share)} of the training images is held out instead"
    )


def held_out(record: Mapping[str, float]) -> str:
    """``held-out accuracy 71.3 % (n = 500), under PGD 12.0 % (n = 200)``.

    Args:
        record: A line of ``metrics.jsonl`` with ``val_acc``.
    """
    text = f"held-out accuracy {100 * record['val_acc']:.1f} % (n = {record['val_n']})"
    if "val_acc_pgd" in record:
        text += f", under PGD {100 * record['val_acc_pgd']:.1f} % (n = {record['val_pgd_n']})"
    return text
