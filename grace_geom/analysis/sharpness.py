"""Sharpness of checkpoints in every usual sense, on clean and adversarial loss, against the
radius."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from grace_geom.analysis.numbers import Footnotes, alike, with_error
from grace_geom.analysis.objective import Objective
from grace_geom.analysis.options import Common
from grace_geom.analysis.run import Part, Shown, progress, sample_text, say
from grace_geom.analysis.subject import Subject
from grace_geom.batch import Batch, joined
from grace_geom.errors import UserError
from grace_geom.geometry.mean_loss import MeanLoss
from grace_geom.geometry.sharpness import Shape, average_case, m_sharpness, worst_case
from grace_geom.plots.sample import weights
from grace_geom.quantities import radius
from grace_geom.records import Measure
from grace_geom.tables import Cell, Table

LOSSES = ("ce", "adv-ce")
SHAPES: dict[Shape, str] = {"ball": "rho", "adaptive": "rho_adaptive", "relative": "rho_relative"}


@dataclass(frozen=True)
class SharpnessOptions(Common):
    """Which perturbations.

    Attributes:
        rho: Radii ρ of the Euclidean ball (SAM).
        rho_adaptive: Radii ρ of the elementwise relative ball (ASAM).
        rho_relative: Radii ρ relative to the norm of each matrix (AWP).
        rho_average: Root-mean-square lengths ρ of the Gaussian perturbations; larger than those of
            the ball, since few directions in many dimensions point uphill.
        ascent_steps: Number of gradient steps for each radius.
        samples: Number of pairs of Gaussian perturbations for the average case.
        m: Number of images per perturbation in m-sharpness (consecutive images of the sample).
        unit_logits: Normalise each image's logits to length 1 first, so that confidence does not
            count as sharpness.
        losses: Losses: ce (clean), adv-ce (PGD images found at the checkpoint), or both; --loss is
            ignored here.
    """

    rho: tuple[float, ...] = field(default=(0.02, 0.05, 0.1, 0.2), metadata={"group": "sharpness"})
    rho_adaptive: tuple[float, ...] = (0.2, 0.5, 1.0, 2.0)
    rho_relative: tuple[float, ...] = (0.001, 0.0025, 0.005, 0.01)
    rho_average: tuple[float, ...] = (2.0, 5.0, 10.0, 20.0)
    ascent_steps: int = 5
    samples: int = 10
    m: int = 64
    unit_logits: bool = False
    losses: tuple[str, ...] = LOSSES

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in (*SHAPES.values(), "rho_average"):
            radii: Sequence[float] = getattr(self, name)
            if not radii or any(b <= a for a, b in zip([0.0, *radii], radii, strict=False)):
                raise UserError(
                    f"--{name.replace('_', '-')} must ascend from above 0, not {list(radii)}"
                )
        for flag, value, least in (
            ("--ascent-steps", self.ascent_steps, 1),
            ("--samples", self.samples, 2),
            ("--m", self.m, 1),
        ):
            if value < least:
                raise UserError(f"{flag} must be at least {least}, not {value}")
        for loss in self.losses:
            if loss not in LOSSES:
                raise UserError(f"--losses: {loss!r} is not known; valid: {', '.join(LOSSES)}")


def measure(subject: Subject, options: SharpnessOptions, state: Path) -> Part:
    """Every form on every loss."""
    values: dict[str, Measure] = {}
    arrays: dict[str, np.ndarray] = {}
    radii = sum(len(getattr(options, name)) for name in SHAPES.values())
    watch = progress(len(options.losses) * radii * options.ascent_steps)
    say(
        f"  {radii} radii, {options.ascent_steps} gradients each, on {' and '.join(options.losses)}"
    )
    for loss in options.losses:
        objective = replace(
            subject.objective(attacked=loss == "adv-ce", unit=options.m),
            unit_logits=options.unit_logits,
        )
        mean = objective.mean()
        values[f"{loss}/loss"] = Measure(
            mean.value(objective.weights), estimator="mean over the sample"
        )
        for shape, name in SHAPES.items():
            curve = worst_case(
                mean, objective.weights, getattr(options, name), shape, options.ascent_steps,
                lambda: watch.step(len(objective)),  # noqa: B023  # called before the next turn
            )  # fmt: skip
            words = (
                f"projected ascent, {options.ascent_steps} gradients: a lower bound of the maximum"
            )
            values |= {f"{loss}/{shape}/{p.rho:g}": Measure(p.rise, estimator=words) for p in curve}
            arrays[f"{loss}/{shape}"] = np.array([[p.rho, p.rise] for p in curve])
        values |= _averages(mean, objective, options, loss, arrays)
    watch.clear()
    return Part(values, arrays)


def _averages(
    mean: MeanLoss,
    objective: Objective,
    options: SharpnessOptions,
    loss: str,
    arrays: dict[str, np.ndarray],
) -> dict[str, Measure]:
    values, rows = {}, []
    for rho in options.rho_average:
        found = average_case(mean, objective.weights, rho, options.samples, options.seed)
        values[f"{loss}/average/{rho:g}"] = Measure(
            found.value, found.error, estimator=found.estimator
        )
        rows.append([rho, found.value, found.error])
    arrays[f"{loss}/average"] = np.array(rows)
    middle = options.rho[len(options.rho) // 2]
    each = m_sharpness(
        mean,
        objective.weights,
        middle,
        steps=options.ascent_steps,
        groups=groups_of(objective.batches, options.m, options.batch),
    )
    values[f"{loss}/m_sharpness/{middle:g}"] = Measure(
        each.value, each.error, estimator=each.estimator
    )
    return values


def groups_of(batches: Sequence[Batch], m: int, size: int) -> list[list[Batch]]:
    """Groups of m consecutive images (the last may be smaller), each in batches of at most
    ``size``, however the images came.
    """
    return [group.split(size) for group in joined(batches).split(m)] if batches else []


def _legend(options: SharpnessOptions, grouped: bool) -> list[str]:
    """What each column is; δ is a perturbation of the weights θ, ρ the number at its end.

    Args:
        options: Of the analysis.
        grouped: Whether there is more than one group of m images.
    """
    losses = {
        "ce": "Clean loss: cross-entropy on clean images",
        "adv-ce": f"Adversarial loss: on PGD images found at the unperturbed weights (ε = "
        f"{radius(options.eps)})",
    }
    forms = {
        "ball": "‖δ‖₂ ≤ ρ (SAM)",
        "adaptive": "‖δ/|θ|‖₂ ≤ ρ (ASAM)",
        "relative": "‖δ_l‖_F ≤ ρ ‖W_l‖_F for every weight l (AWP)",
    }
    known = ". ".join(losses[name] for name in options.losses)
    below = "A mean rise below 0 means that random δ lower the loss"
    if "adv-ce" in options.losses:
        below += ": attacked images were found at θ and fool the perturbed weights less"
    return [
        f"Rise of the loss when δ is added to the weights θ. {known}.",
        f"Largest rise: {'; '.join(f'{name}: {text}' for name, text in forms.items())}. It is found "
        "by gradient ascent, so it is a lower bound and never below 0.",
        "Gaussian: mean rise over Gaussian δ with E‖δ‖² = ρ² (s.e.: standard error). m-sharpness: "
        + (
            f"as ball, with a δ of its own for every {options.m} images."
            if grouped
            else f"the same as ball here, as all images are in one group of m = {options.m}."
        ),
        f"{below}.",
    ]


CALLED = {"m_sharpness": "m-sharpness", "average": "Gaussian"}
"""What a column is called that is not called as its numbers are."""
TITLES = {"ce": "Sharpness of the clean loss", "adv-ce": "Sharpness of the adversarial loss"}
"""Of the tables."""


def show(parts: dict[str, Part], options: SharpnessOptions) -> Shown:
    """A table for each loss, with the middle radius of each form; the figure has all radii."""
    middles: dict[str, tuple[float, ...]]
    middles = {shape: getattr(options, name) for shape, name in SHAPES.items()}
    middles |= {"average": options.rho_average}
    grouped = any(not p.n or max(p.n.values()) > options.m for p in parts.values())
    middles |= {"m_sharpness": options.rho} if grouped else {}
    columns = {shape: f"{radii[len(radii) // 2]:g}" for shape, radii in middles.items()}
    about = f"{weights(options.params)}, {sample_text(parts, options)}"
    tables, legend = [], _legend(options, grouped)
    for loss in options.losses:
        feet, why = Footnotes(), "the loss is not finite there"
        keys = [f"{loss}/{shape}/{rho}" for shape, rho in columns.items()]
        heads = [
            with_error(
                f"{CALLED.get(shape, shape)}, ρ = {rho}",
                (part.values.get(key) for part in parts.values()),
            )
            for key, (shape, rho) in zip(keys, columns.items(), strict=True)
        ]
        looks = {key: alike(part.values.get(key) for part in parts.values()) for key in keys}
        rows: list[list[Cell | str]] = [
            [label, *(feet.cell(p.values.get(k), looks[k], undefined=why) for k in keys)]
            for label, p in parts.items()
        ]
        notes = [*feet.notes, *legend]
        legend = []  # once, below the first
        tables.append(
            Table(["checkpoint", *heads], rows, title=TITLES[loss], notes=notes, about=about)
        )
    return Shown(tables)
