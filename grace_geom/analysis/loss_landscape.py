"""Slices of the loss of checkpoints: random and Hessian directions, and the line from the
pretrained weights.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from grace_geom.analysis.curvature import finite, start_of
from grace_geom.analysis.numbers import NOT_MEASURED, Footnotes, absent
from grace_geom.analysis.objective import Objective
from grace_geom.analysis.options import Common
from grace_geom.analysis.run import Part, Shown, progress, sample_text, say
from grace_geom.analysis.subject import Subject, label_of, labels_of, open_subject
from grace_geom.checkpoint import checkpoint_file
from grace_geom.distributed import everyones
from grace_geom.errors import NotFiniteError, UserError
from grace_geom.geometry.krylov import Krylov
from grace_geom.geometry.lanczos import eigenpairs
from grace_geom.geometry.landscape import Plane, filter_normalised, grid, line, plane
from grace_geom.geometry.mean_loss import MeanLoss
from grace_geom.geometry.operators import hessian
from grace_geom.plots.sample import loss_name, weights
from grace_geom.records import Measure
from grace_geom.tables import Cell, Table, percent
from grace_geom.weights import Weights, interpolate, unflatten

OTHER_DIRECTIONS = (
    "other weights or shapes than the first checkpoint: the same seed gives other directions; "
    "analyse it by itself"
)
SLICES = ("random", "eigen", "contour", "line", "plane")


@dataclass(frozen=True)
class LandscapeOptions(Common):
    """Which slices.

    Attributes:
        slices: Slices to measure: random (1-D), eigen (1-D, along the top Hessian eigenvector),
            contour (2-D, two random directions), line (from the pretrained weights at 0 through the
            checkpoint at 1: accuracies on ID, OOD and attacked images), plane (2-D, through the
            checkpoint and the two of --through).
        through: The two other checkpoints of the plane.
        points: Number of points of a 1-D slice.
        directions: Random directions of the 1-D slice; those after the first are thin lines, whose
            spread tells how much one direction says.
        span: Half-width of random slices, in units of the filters' norms.
        eigen_span: Half-width along the eigenvector, in Euclidean distance.
        contour_points: Number of points per side of a 2-D slice.
        beyond: End of the line; 1 is the checkpoint.
        line_points: Number of points of the line; t = 1, the checkpoint, is added if it is not one
            of them.
    """

    slices: tuple[str, ...] = field(
        default=("random", "contour", "line"), metadata={"group": "slices"}
    )
    through: tuple[Path, ...] = ()
    points: int = 15
    directions: int = 1
    span: float = 0.5
    eigen_span: float = 1.0
    contour_points: int = 7
    beyond: float = 1.5
    line_points: int = 7

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.slices:
            if name not in SLICES:
                raise UserError(f"--slices: {name!r} is not known; valid: {', '.join(SLICES)}")
        for flag, value in (("--points", self.points), ("--contour-points", self.contour_points),
                            ("--line-points", self.line_points)):  # fmt: skip
            if value < 2:
                raise UserError(f"{flag} must be at least 2, not {value}")
        if self.directions < 1:
            raise UserError(f"--directions must be at least 1, not {self.directions}")
        if ("plane" in self.slices) != (len(self.through) == 2):
            raise UserError(
                "--slices plane goes with --through A,B, two other checkpoints "
                f"({len(self.through)} were named)"
            )
        if self.params in ("adapter", "text") and "line" in self.slices:
            raise UserError(
                f"--slices line: the pretrained weights have no --params {self.params}; leave line "
                "out"
            )

    def others(self) -> tuple[Path, ...]:
        """The other corners of a plane."""
        return self.through

    def along(self) -> np.ndarray:
        """The points t of the line, ascending: evenly spaced, and 1 among them, where the
        checkpoint lies.
        """
        even = np.linspace(0.0, self.beyond, self.line_points)
        return even if np.isclose(even, 1.0).any() else np.sort(np.append(even, 1.0))


def measure(subject: Subject, options: LandscapeOptions, state: Path) -> Part:
    """All slices of one checkpoint."""
    objective = subject.objective()
    mean, w = objective.mean(), objective.weights
    # What may be refused comes before anything is measured.
    before = subject.before(w) if "line" in options.slices else {}
    through = _through(subject, w, options) if "plane" in options.slices else None
    ts = np.linspace(-options.span, options.span, options.points)
    steps = {
        "random": len(ts) * options.directions,
        "eigen": len(ts),
        "contour": options.contour_points**2,
        "line": len(options.along()),
        "plane": options.contour_points**2,
    }
    watch = progress(sum(steps[name] for name in options.slices))
    say(f"  {', '.join(options.slices)}: {watch.total} points, seed {options.seed}")

    def seen() -> None:
        watch.step(len(objective))

    arrays: dict[str, np.ndarray] = {
        "blocks": np.array(list(w)),
        "block_shapes": np.array([str(tuple(x.shape)) for x in w.values()]),
    }
    values = {"loss": Measure(mean.value(w), estimator="mean over the sample")}
    d1, d2 = filter_normalised(w, 2 * options.seed), filter_normalised(w, 2 * options.seed + 1)
    if "random" in options.slices:
        arrays["random"] = _cut(objective, d1, ts, seen)
        values["random/rise"] = _rise(objective, d1, options.span)
        more = [
            line(mean.value, w, filter_normalised(w, _other(options.seed, j)), ts.tolist(), seen)
            for j in range(1, options.directions)
        ]
        if more:
            arrays["random_more"] = np.stack(more)
    if "contour" in options.slices:
        side = np.linspace(-options.span, options.span, options.contour_points)
        arrays["contour_axis"] = side
        arrays["contour"] = grid(mean.value, w, d1, d2, side.tolist(), side.tolist(), seen)
    if "eigen" in options.slices:
        ts = np.linspace(-options.eigen_span, options.eigen_span, options.points)
        try:
            v, values["eigen/lambda_1"] = _top_eigenvector(objective, options)
            arrays["eigen"] = _cut(objective, v, ts, seen)
            values["eigen/rise"] = _rise(objective, v, options.eigen_span)
        except NotFiniteError as why:
            values["eigen/lambda_1"] = absent(str(why))
            arrays["eigen"] = np.stack([ts, *np.full((2, len(ts)), np.nan)])
    if "line" in options.slices:
        found = _line(subject, before, w, options, seen)
        arrays |= {f"line/{name}": curve for name, curve in found.items()}
    if through is not None:
        arrays |= _plane(subject, mean, through, options, seen)
    watch.clear()
    return Part(values, arrays)


def _other(seed: int, j: int) -> int:
    """Seed of the j-th further direction: none of those that any likely ``--seed`` takes."""
    return 2 * (seed + 1_000_000 * j)


def _through(subject: Subject, w: Weights, options: LandscapeOptions) -> Plane:
    """The plane through this checkpoint and the two of ``--through``.

    Raises:
        UserError: If their weights differ in name or shape, or they lie on one line.
    """
    points = [w]
    for file in map(checkpoint_file, options.through):
        other = open_subject(
            file, label_of(file), replace(options, data=subject.data)
        ).model.weights()
        points.append({name: other[name] for name in w if name in other})
    try:
        return plane(*points)
    except ValueError as error:
        raise UserError(f"--through: {error}") from None


def _plane(
    subject: Subject,
    mean: MeanLoss,
    found: Plane,
    options: LandscapeOptions,
    seen: Callable[[], None],
) -> dict[str, np.ndarray]:
    """The loss on a plane, a quarter beyond its corners."""
    low, high = found.corners.min(axis=0), found.corners.max(axis=0)
    margin = 0.25 * (high - low)
    xs, ys = (
        np.linspace(a, b, options.contour_points)
        for a, b in zip(low - margin, high + margin, strict=True)
    )
    values = grid(mean.value, found.centre, found.d1, found.d2, xs.tolist(), ys.tolist(), seen)
    names = labels_of([subject.file, *map(checkpoint_file, options.through)])
    return {
        "plane": values, "plane_x": xs, "plane_y": ys, "plane_corners": found.corners,
        "plane_names": np.array(names, dtype=np.str_),
    }  # fmt: skip


def _top_eigenvector(objective: Objective, options: LandscapeOptions) -> tuple[Weights, Measure]:
    A = hessian(
        objective.loss, objective.weights, objective.batches, distributed=objective.distributed
    )
    pairs = eigenpairs(finite(A.matvec), Krylov(start_of(A, options.seed)), top=1, rtol=1e-2)
    v = pairs.vectors[0]
    v = v * torch.sign(v[v.abs().argmax()])  # an eigenvector has no sign of its own
    lam, r = pairs.values[0].item(), pairs.residuals[0].item()
    return unflatten(v, objective.weights), Measure(
        lam, None, lam - r, lam + r, 1.0, f"Lanczos, residual {r:.2g}"
    )


@torch.no_grad()
def _cut(
    objective: Objective, direction: Weights, ts: np.ndarray, after: Callable[[], None]
) -> np.ndarray:
    """``(3, t)``: distances, mean losses, and half of the 95 % interval over images of each one's
    rise above the checkpoint, from the images' own rises.
    """

    def losses(t: float) -> list[torch.Tensor]:
        """Of each image, by batch."""
        at = {name: w + t * direction[name] for name, w in objective.weights.items()}
        return [
            F.cross_entropy(objective.outputs(at, b), b.labels, reduction="none").double()
            for b in objective.batches
        ]

    here, n, found = losses(0.0), len(objective), []
    for t in ts.tolist():
        own = losses(t)
        rises = [x - start for x, start in zip(own, here, strict=True)]
        parts = [(x.sum().item(), r.sum().item(), r.square().sum().item())
                 for x, r in zip(own, rises, strict=True)]  # fmt: skip
        total, rise, squares = np.sum(
            everyones(tuple(np.sum([(0.0,) * 3, *parts], axis=0))), axis=0
        )
        half = 1.96 * math.sqrt(max(0.0, squares / n - (rise / n) ** 2) / max(n - 1, 1))
        found.append((t, total / n, half if math.isfinite(squares) else math.nan))
        after()
    return np.array(found).T


@torch.no_grad()
def _rise(objective: Objective, direction: Weights, reach: float) -> Measure:
    """How much higher the loss is at both ends of a slice than at the checkpoint, mean over images;
    the error is that of the images' own rises, since all losses are on the same ones.
    """
    places = {share: {name: w + share * reach * direction[name]
              for name, w in objective.weights.items()} for share in (-1.0, 0.0, 1.0)}  # fmt: skip
    total = squares = 0.0
    for b in objective.batches:
        low, here, high = (
            F.cross_entropy(objective.outputs(at, b), b.labels, reduction="none").double()
            for at in places.values()
        )
        own = (low + high) / 2 - here
        total, squares = total + own.sum().item(), squares + own.square().sum().item()
    sums = np.sum(everyones((total, squares)), axis=0)
    n = len(objective)
    mean = float(sums[0]) / n
    if not math.isfinite(mean):
        return absent("the loss is not finite at an end")
    error = math.sqrt(max(0.0, float(sums[1]) / n - mean**2) / max(n - 1, 1))
    words = f"mean loss at both ends less that at the checkpoint, n = {n}, paired"
    return Measure(mean, error, mean - 1.96 * error, mean + 1.96 * error, estimator=words)


@torch.no_grad()
def _accuracy(objective: Objective, weights: Weights) -> float:
    """Share of right answers; NaN where a logit is: it would look like an answer."""
    right = 0.0
    for b in objective.batches:
        z = objective.outputs(weights, b)
        right += math.nan if z.isnan().any() else (z.argmax(1) == b.labels).sum().item()
    return sum(everyones(right)) / len(objective)


def _line(
    subject: Subject, before: Weights, w: Weights, options: LandscapeOptions, seen: Any
) -> dict[str, np.ndarray]:
    """Accuracies at ``(1 - t) w0 + t w``; the attack is made anew at every point."""
    sets = {"id": subject.objective(attacked=False)}
    sets |= {
        f"ood/{name}": subject.objective(spec, "eval", attacked=False)
        for name, spec in subject.ood().items()
    }
    ts = options.along()
    curves: dict[str, list[float]] = {name: [] for name in [*sets, "adv", "id_loss"]}
    for t in ts.tolist():
        at = interpolate(before, w, t)
        for name, objective in sets.items():
            curves[name].append(_accuracy(objective, at))
        clean = Objective(sets["id"].logits, at, sets["id"].batches, images=sets["id"].images)
        try:
            attacked = clean.attacked(
                options.eps, options.alpha, options.attack_steps, options.seed
            )
            curves["adv"].append(_accuracy(attacked, at))
        except NotFiniteError:  # beyond the checkpoint weights may grow too large
            curves["adv"].append(math.nan)
        curves["id_loss"].append(clean.mean().value(at))
        seen()
    oods = [curves[name] for name in curves if name.startswith("ood/")]
    if oods:
        curves["ood"] = np.mean(oods, axis=0).tolist()
    return {"t": ts} | {name: np.array(curve) for name, curve in curves.items()}


def show(parts: dict[str, Part], options: LandscapeOptions) -> Shown:
    """The width of the basin and the best point of the line."""
    parts = comparable(parts)
    feet, kinds = Footnotes(), _kinds(parts)
    rows = [[label, *_row(part, kinds, options, feet)] for label, part in parts.items()]
    heads = ["checkpoint", "loss"] + [f"highest within {options.span:g}"] * (
        "random" in options.slices
    )
    heads += [f"{name} at t = 1, %" for name in kinds] if "line" in options.slices else []
    sample = sample_text(parts, options)
    of = f"{weights(options.params)}, loss: {loss_name(options.loss)}, {sample}"
    title = f"Loss landscape, {of}, directions of seed {options.seed}"
    notes = list(feet.notes)
    for label, part in parts.items():
        found = part.values.get("eigen/lambda_1")
        if found is not None and not math.isfinite(found.value):
            notes.append(f"{label}: no eigenvector: {found.estimator.removeprefix(NOT_MEASURED)}")
    if "line" in options.slices:
        n = min((part.n.get("id", options.n) for part in parts.values()), default=options.n)
        wide = 196 * math.sqrt(0.25 / n)
        notes.append(
            f"an accuracy of {n} images has a 95 % interval of at most ±{wide:.0f} points: for "
            "numbers to compare, see evaluate"
        )
    return Shown([Table(heads, rows, title=title, notes=notes)])


def _row(
    part: Part, kinds: list[str], options: LandscapeOptions, feet: Footnotes
) -> list[Cell | str]:
    """Loss, highest loss of the random slice, accuracies at the checkpoint."""
    infinite = "the loss is not finite there"
    row: list[Cell | str] = [feet.cell(part.values["loss"], undefined=infinite)]
    if "random" in options.slices:
        highest = (
            Measure(float(np.max(part.arrays["random"][1]))) if "random" in part.arrays else None
        )
        row.append(feet.cell(highest, undefined=infinite, missing=OTHER_DIRECTIONS))
    if "line" in options.slices:
        # t = 1 is always among them
        here = int(np.abs(np.asarray(part.arrays["line/t"]) - 1.0).argmin())
        for name in kinds:
            curve = part.arrays.get(f"line/{name}")
            share = None if curve is None else Measure(float(curve[here]))
            row.append(
                feet.cell(
                    share,
                    lambda m: percent(m.value),
                    undefined="the model's logits are not finite there",
                    missing=f"no {name.upper()} set is known for this checkpoint: add --ood NAME=SPEC",
                )
            )
    return row


def comparable(parts: dict[str, Part]) -> dict[str, Part]:
    """The same without the random slices of checkpoints whose weights differ from the first one's
    in name or shape: one seed gives them other directions. Lines and losses compare.
    """
    first = next(iter(parts.values()))

    def alike(part: Part) -> bool:
        names = ("blocks", "block_shapes")
        return all(part.arrays[n].tolist() == first.arrays[n].tolist() for n in names)

    def kept(part: Part) -> Part:
        odd = ("random", "random_more", "contour", "contour_axis")
        return replace(part, arrays={k: a for k, a in part.arrays.items() if k not in odd})

    return {label: part if alike(part) else kept(part) for label, part in parts.items()}


def _kinds(parts: dict[str, Part]) -> list[str]:
    there = {key for part in parts.values() for key in part.arrays}
    return [name for name in ("id", "ood", "adv") if f"line/{name}" in there]
