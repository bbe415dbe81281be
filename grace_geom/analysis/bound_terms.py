"""The terms of the robust PAC-Bayes bound side by side: proximity (A), sharpness (B), discrepancy
(C).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from grace_geom.analysis.curvature import counted, finite
from grace_geom.analysis.feature_analysis import (
    FeatureOptions,
    clean_and_attacked,
    distributions,
    measures,
)
from grace_geom.analysis.features.discrepancy import (
    ESTIMATORS,
    common_classes,
    domain_discrepancies,
)
from grace_geom.analysis.features.survey import labels_among
from grace_geom.analysis.numbers import Footnotes, absent, as_measure, number, or_absent
from grace_geom.analysis.objective import GROUPS, Objective
from grace_geom.analysis.run import Part, Shown, progress, sample_text, say
from grace_geom.analysis.subject import Subject
from grace_geom.distributed import first
from grace_geom.errors import UserError
from grace_geom.evaluation.accuracy import reader_for
from grace_geom.geometry.bound import balance, head_lipschitz, proximity, sharpness_term
from grace_geom.geometry.operators import hessian
from grace_geom.geometry.rows import examine
from grace_geom.geometry.sharpness import average_case
from grace_geom.geometry.trace import StochasticEstimate, xtrace
from grace_geom.plots.sample import weights
from grace_geom.progress import Progress
from grace_geom.records import Measure
from grace_geom.tables import Cell, Table
from grace_geom.weights import norm, select

ENOUGH = 5
"""Images of every counted class below which (C) is warned of."""


@dataclass(frozen=True)
class BoundOptions(FeatureOptions):
    """How the bound is evaluated.

    Attributes:
        sigma: Standard deviation of the Gaussian noise on every weight; the same for every
            checkpoint.
        train_size: Number N of training images in term (A) of the bound; default: that of the run.
        probes: Number of matrix-vector products for each trace (XTrace).
        samples: Number of pairs of Gaussian weight perturbations for the sampling estimate of
            term (B).
        graph_gib: Memory for autograd graphs kept between products, in GiB.
    """

    batch: int = 64
    replicates: int = 50
    sigma: float = field(default=0.01, metadata={"group": "bound"})
    train_size: int | None = None
    probes: int = 20
    samples: int = 10
    graph_gib: float = 2.0

    def splits(self) -> tuple[Literal["train", "test"], ...]:
        """The bound counts the training images."""
        return ("test", "train")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.sigma < math.inf:
            raise UserError(f"--sigma must be positive, not {self.sigma}")
        for flag, value, least in (
            ("--train-size", self.train_size, 1),
            ("--probes", self.probes, 4),
            ("--samples", self.samples, 2),
        ):
            if value is not None and value < least:
                raise UserError(f"{flag} must be at least {least}, not {value}")
        if self.params in ("adapter", "text"):
            raise UserError(
                f"--params {self.params}: (A) needs the distance from the pretrained weights, "
                "which have no such entries; use --params visual, head or a regular expression"
            )
        if self.loss != "ce":
            raise UserError(
                "--loss adv-ce: the bound's terms already have the adversarial images as a domain "
                "of their own"
            )


def measure(subject: Subject, options: BoundOptions, state: Path) -> Part:
    """(A), (B) and (C) of one checkpoint, each with its estimator."""
    options.plan(subject, None)  # what features may refuse is known before any trace
    _check_classes(subject)
    n = options.train_size or subject.train_count()
    now = select(subject.model.weights(), GROUPS.get(options.params, options.params))
    before = subject.before(now)
    distance = norm([w.double() - before[name].double() for name, w in now.items()]).item()
    values = {
        "distance": Measure(distance, estimator="|theta - theta0|, exact"),
        "n_train": Measure(n, estimator="training images"),
        "dim": Measure(sum(w.numel() for w in now.values()), estimator="weights that vary"),
        "A": Measure(
            proximity(distance, n, options.sigma),
            estimator="|theta - theta0|^2 / (2 n sigma^2), exact",
        ),
    }
    values |= _sharpness(subject, options, distance, n)
    values |= _discrepancy(subject, options, state)
    return Part(values)


def _sharpness(
    subject: Subject, options: BoundOptions, distance: float, n: int
) -> dict[str, Measure]:
    """Losses on every domain; the trace, (B), and (B) by sampling on ID, Adv, and the OOD set of
    the highest loss.
    """
    domains = {"id": subject.objective(attacked=False)}
    domains |= {
        name: subject.objective(spec, "eval", attacked=False)
        for name, spec in subject.ood().items()
    }
    domains["adv"] = domains["id"].attacked(
        options.eps, options.alpha, options.attack_steps, options.seed
    )
    losses = {name: o.mean().value(o.weights) for name, o in domains.items()}
    values = {
        f"loss/{name}": Measure(loss, estimator="mean over the sample")
        for name, loss in losses.items()
    }
    height = {name: math.inf if math.isnan(loss) else loss for name, loss in losses.items()}
    oods = {name: loss for name, loss in height.items() if name not in ("id", "adv")}
    chosen = (
        {"id": "id"} | ({"ood": max(oods, key=oods.__getitem__)} if oods else {}) | {"adv": "adv"}
    )
    say(
        f"  traces on {', '.join(chosen.values())}: {options.probes} products of "
        f"{domains['id'].dim:,} weights each, about "
        f"{options.probes * domains['id'].dim * 4 / 2**30:.2f} GiB beside the graphs"
    )
    watch = progress(len(chosen) * options.probes)
    for kind, name in chosen.items():
        here = or_absent(
            lambda: _curved(_trace(domains[name], options, watch), options, distance, n),  # noqa: B023
            ("trace", "B", "balanced", "sigma_balanced"),
        )
        values |= {f"{key}/{kind}": here[key] for key in ("trace", "B")}
        rho = options.sigma * math.sqrt(domains[name].dim)
        rise = average_case(
            domains[name].mean(), domains[name].weights, rho, options.samples, options.seed
        )
        values[f"B_sampled/{kind}"] = as_measure(rise)
        if name == max(height, key=height.__getitem__):
            values |= here | {"B_sampled": values[f"B_sampled/{kind}"]}
    watch.clear()
    return values


def _curved(
    trace: StochasticEstimate, options: BoundOptions, distance: float, n: int
) -> dict[str, Measure]:
    """What the bound takes of a domain: with the highest loss, its risk is the robust risk
    there.
    """
    where = balance(distance, n, trace)
    common = Measure(where.term, None if math.isnan(where.error) else where.error,
                     estimator="D sqrt(Tr H / n) / 2 at the sigma where (A) = (B)")  # fmt: skip
    return {
        "trace": as_measure(trace),
        "B": as_measure(sharpness_term(trace, options.sigma)),
        "balanced": common,
        "sigma_balanced": Measure(where.sigma, estimator="(D^2 / (n Tr H))^(1/4)"),
    }


def _trace(objective: Objective, options: BoundOptions, watch: Progress) -> StochasticEstimate:
    budget = int(options.graph_gib * 2**30)
    A = hessian(
        objective.loss,
        objective.weights,
        objective.batches,
        graph_bytes=budget,
        distributed=objective.distributed,
    )
    matvec = counted(finite(A.matvec), lambda: watch.step(A.n))
    return xtrace(matvec, A.like, A.dim, options.probes, options.seed + 3)


def _check_classes(subject: Subject) -> None:
    """Refuse before anything expensive what labels alone tell: that (C) has no class to count."""
    id_set, ood = distributions(subject)
    sets = {"id": id_set, **ood, "adv": id_set}
    found = {
        name: labels_among(torch.tensor(s.labels), s.class_names, id_set.class_names)
        for name, s in sets.items()
    }
    common_classes(found, len(id_set.class_names))


def _discrepancy(subject: Subject, options: BoundOptions, state: Path) -> dict[str, Measure]:
    """(C) and its pairs, without and with ``2 L_f``."""
    plan = options.plan(subject, state.parent)
    id_set, ood = distributions(subject)
    sets, _ = clean_and_attacked(subject, id_set, ood, plan)
    if not first():  # the features are in the first process, and so are the numbers made of them
        return {}
    useless = {name: examine(f.embedding) for name, f in sets.items()}
    for name, rows in useless.items():
        if rows.bad or rows.constant:
            return {key: absent(f"{name}: {rows.problem}") for key in ("C", "largest", "floor")}
    found = domain_discrepancies(
        sets, len(id_set.class_names), replicates=options.replicates, seed=options.seed
    )
    values = measures(found.numbers, ESTIMATORS)
    slope = head_lipschitz(reader_for(subject.model, id_set).head_rows)
    d = values["largest"]
    low, high = (None if x is None else 2 * slope * x for x in (d.low, d.high))
    error = None if d.error is None else 2 * slope * d.error
    words = f"2 L_f times the largest discrepancy, {' to '.join(found.worst)}"
    return values | {
        "L_f": Measure(slope, estimator="|s T|_2, the head's spectral norm, exact"),
        "floor": Measure(found.floor, estimator=ESTIMATORS["floor"]),
        "classes": Measure(found.classes, estimator=ESTIMATORS["classes"]),
        "images_per_class": Measure(
            found.images_per_class, estimator=ESTIMATORS["images_per_class"]
        ),
        "C": Measure(2 * slope * d.value, error, low, high, d.level, words),
    }


def show(parts: dict[str, Part], options: BoundOptions) -> Shown:
    """The terms in one table, what they are made of in a second."""
    columns = {
        "loss/id": "R_ID",
        "A": "A",
        "B": "B",
        "B_sampled": "B sampled",
        "C": "C",
        "largest": "C / 2 L_f",
        "balanced": "A = B at σ*",
        "sigma_balanced": "σ*",
    }
    notes = [
        f"{weights(options.params)}, {sample_text(parts, options)}, σ = {options.sigma:g}; ± standard error. A = "
        "|θ-θ0|²/2nσ², B = σ²/2 Tr H on the domain of highest loss, C = 2 L_f max d (Lemma 3.2). "
        "Cross-entropy is not bounded by 1 and λ* is not known: compare checkpoints term by term, "
        "the sum is no certificate",
        "B sampled: E R(θ + σξ) - R(θ) itself, of which B is the second order; where they part, σ "
        "is too large for B",
    ]
    terms = _table(parts, columns, "The bound's terms", notes)
    kinds = _kinds(parts)
    inside = {"distance": "|θ-θ0|", "n_train": "n train"} | {
        f"trace/{k}": f"Tr H, {k}" for k in kinds
    }
    inside |= {f"loss/{k}": f"loss, {k}" for k in ("id", "adv")} | {
        "L_f": "L_f",
        "floor": "floor of d",
    }
    inside |= {"classes": "classes", "images_per_class": "images a class, least"}
    about = [note for label, part in parts.items() for note in _about_discrepancy(label, part)] + [
        "floor of d: what two independent samples of the ID distribution give. id and adv are the "
        "same images, so no floor of this kind holds for them"
    ]
    return Shown([terms, _table(parts, inside, "What they are made of", about)])


def _table(
    parts: dict[str, Part], columns: dict[str, str], title: str, notes: Sequence[str]
) -> Table:
    """Numbers by name, under these headings; what a dash means stands before the notes."""
    feet = Footnotes()
    rows = _rows(parts, columns, feet)
    return Table(["checkpoint", *columns.values()], rows, title=title, notes=[*feet.notes, *notes])


def _about_discrepancy(label: str, part: Part) -> list[str]:
    """Which pair is the largest, which sets took no part, and whether there are images enough to
    believe it.
    """
    if not math.isfinite(part.values["C"].value):
        return []
    found = [f"{label}: the largest d is {part.values['C'].estimator.rpartition(', ')[2]}"]
    absent = [name for name in _oods(part) if f"discrepancy/id-{name}" not in part.values]
    if absent:
        found.append(
            f"{label}: {', '.join(absent)} has no class of the ID data and takes no part in C"
        )
    fewest = int(part.values["images_per_class"].value)
    if fewest < ENOUGH:
        found.append(
            f"{label}: only {fewest} images of some counted class: C is mostly noise of sampling; "
            "take more with --n"
        )
    return found


def _oods(part: Part) -> list[str]:
    names = [key.partition("/")[2] for key in part.values if key.startswith("loss/")]
    return [name for name in names if name not in ("id", "adv")]


def _rows(
    parts: dict[str, Part], columns: Mapping[str, str], feet: Footnotes
) -> list[list[Cell | str]]:
    return [
        [label, *(feet.cell(p.values.get(key), number, *_why(key)) for key in columns)]
        for label, p in parts.items()
    ]


def _why(key: str) -> tuple[str, str]:
    """Why a term is not defined, and why it is not there."""
    undefined = {
        "balanced": "Tr H is not positive: (A) and (B) are equal nowhere",
        "sigma_balanced": "Tr H is not positive: (A) and (B) are equal nowhere",
        "floor": "no half of the sample has two images of a class",
    }.get(key, "the loss or the features are not finite")
    missing = {"trace/ood": "no OOD set is known for this checkpoint: add --ood NAME=SPEC"}
    return undefined, missing.get(key, "not measured on this checkpoint")


def _kinds(parts: dict[str, Part]) -> list[str]:
    return [
        k for k in ("id", "ood", "adv") if any(f"trace/{k}" in p.values for p in parts.values())
    ]
