"""Accuracy against the radius of an attack, margins, transfer between checkpoints, and whether
gradients are masked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from grace_geom.analysis.features.adversary import Perturbations, adversarial_images, batches_of
from grace_geom.analysis.numbers import absent
from grace_geom.analysis.options import Common
from grace_geom.analysis.robustness_tables import check_table, curve_table, transfer_table
from grace_geom.analysis.run import Part, Shown, sample_text
from grace_geom.analysis.subject import Subject, labels_of, open_subject
from grace_geom.attacks import AttackSpec, SuiteResult, pgd_attack
from grace_geom.attacks import run as run_attack
from grace_geom.attacks.losses import margin
from grace_geom.batch import Batch
from grace_geom.checkpoint import checkpoint_file
from grace_geom.data import ImageSet
from grace_geom.distributed import everyones, my_images
from grace_geom.errors import UserError
from grace_geom.evaluation.accuracy import reader_for
from grace_geom.plots.robustness import EXAMPLES
from grace_geom.quantities import radius
from grace_geom.records import Measure
from grace_geom.records.masked_gradients import BEYOND, BLACK_BOX
from grace_geom.records.statistics import wilson


@dataclass(frozen=True)
class CurveOptions(Common):
    """Options of ``robustness_curve.py``.

    Attributes:
        n: Number of test images, a random subset.
        radii: L-infinity radii ε of the curve, in pixel units of [0, 1].
        attacks: Attacks of the curve: pgd, apgd-ce, apgd-t, apgd (both).
        steps: Number of steps of every attack of the curve.
        targets: Number of wrong classes that apgd-t targets, most likely first.
        queries: Number of queries per image of the black-box Square Attack.
        checks: Check for gradient masking at --eps (twice the steps, more restarts, no random
            start, Square Attack).
    """

    n: int = 128
    batch: int = 128
    radii: tuple[float, ...] = field(
        default=(0.5 / 255, 1 / 255, 2 / 255, 4 / 255, 8 / 255), metadata={"group": "robustness"}
    )
    attacks: tuple[str, ...] = ("pgd", "apgd-ce", "apgd-t")
    steps: int = 20
    targets: int = 3
    queries: int = 500
    checks: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.radii or any(not 0 < eps < 0.5 for eps in self.radii):
            raise UserError("--radii must be numbers between 0 and 0.5, such as 1/255,2/255,4/255")
        for name in self.attacks:
            AttackSpec(name)

    def others(self) -> tuple[Path, ...]:
        """All checkpoints: the transfer matrix depends on every one of them."""
        return self.checkpoints


def measure_curve(subject: Subject, options: CurveOptions, state: Path) -> Part:
    """Everything about one checkpoint, and how the attacks found at it do on the others.

    Arrays, N images and R radii: ``margin`` (N,) float32, the right logit less the best other;
    ``labels`` (N,) int64; ``class_names`` (K,) text; ``radii`` (R,) in pixels of [0, 1];
    ``falls/ATTACK`` (N,) float32, the radius at which an image fell, 0 where it was wrong before,
    infinite where it stands; ``stands/CHECK`` (N,) bool. Of the first E images that were right and
    that the attack turned: ``example_clean`` and ``example_adv`` (E, H, W, 3) uint8,
    ``example_delta`` (E, H, W, 3) float32 in pixels of [0, 1], and as class names
    ``example_before``, ``example_after`` (predictions; before is the label).

    Raises:
        UserError: If the data have a single class.
    """
    image_set = subject.images()
    classes = len(image_set.class_names)
    if classes < 2:
        raise UserError(
            f"{image_set.spec} has a single class: every answer is right, under any attack; name "
            "data of two classes or more with --data"
        )
    attack = _attacks(subject, image_set, options)
    clean = attack.clean()
    values = {"clean": _share(clean.correct, "top-1")}
    arrays = {
        "margin": clean.margin.numpy(),
        "radii": np.array(options.radii),
        "labels": image_set.labels,
    }
    for name in options.attacks:
        shares, falls = _curve(name, attack, clean.correct, classes)
        values |= shares
        arrays |= falls
    found = _attacked(subject, image_set, options, state.parent)
    x_adv = [
        b.to(subject.model.device).images
        for b in batches_of(found, image_set.labels, options.batch, attack.mine)
    ]
    values |= _transfer(attack, x_adv, image_set)
    if options.checks:
        shares, stands = _checks(attack)
        values |= shares
        arrays |= stands
    examples = _examples(attack, x_adv, clean.correct, EXAMPLES)
    shown = subject.batches(image_set, examples.rows)
    x = (
        torch.cat([b.images for b in shown]).cpu()
        if shown
        else torch.from_numpy(np.array(found[:0]))
    )
    names = np.array(image_set.class_names, dtype=np.str_)
    return Part(values, arrays | {"class_names": names} | examples.arrays(x, found, names))


def _attacks(subject: Subject, image_set: ImageSet, options: CurveOptions) -> "_Attacks":
    """Attacks on the checkpoint, of which this process has its share of the images."""
    logits, weights = subject.logits(image_set), subject.model.weights()
    mine = my_images(len(image_set))
    batches = subject.batches(image_set, mine)
    return _Attacks(lambda x: logits(x, weights), batches, mine, image_set.index, options)


def _curve(
    name: str, attack: "_Attacks", correct: Tensor, classes: int
) -> tuple[dict[str, Measure], dict[str, np.ndarray]]:
    """The share that stands at each radius of one attack, and the radius at which each image
    fell."""
    options = attack.options
    if name == "apgd-t" and classes < 3:
        why = "apgd-t is not defined for two classes: its loss compares with a third; apgd-ce is"
        return {f"{name}/{radius(eps)}": absent(why) for eps in options.radii}, {}
    targeted = name in ("apgd-t", "apgd") and classes > 2
    aims = f", {min(options.targets, classes - 1)} targets" if targeted else ""
    how = f"{name}, {options.steps} steps{aims}, linf, radii in turn"
    values, standing = {}, correct
    falls = torch.where(standing, torch.inf, 0.0)  # infinite: no radius turned the image
    for eps in sorted(
        options.radii
    ):  # what fooled the model in a smaller ball lies in this one too
        before = standing
        spec = AttackSpec(name, eps, steps=options.steps, targets=options.targets)
        standing = attack.stands(spec, standing)
        falls[before & ~standing] = eps
        values[f"{name}/{radius(eps)}"] = _share(standing, how)
    return values, {f"falls/{name}": falls.numpy()}


def _attacked(
    subject: Subject, image_set: ImageSet, options: CurveOptions, cache: Path
) -> np.ndarray:
    """``(N, 3, H, W)`` images that PGD found at this checkpoint, on disk."""
    return adversarial_images(
        subject.model,
        subject.logits(image_set),
        image_set,
        Perturbations(options.eps, options.alpha, options.steps),
        cache=cache,
        seed=options.seed,
        batch_size=options.batch,
        image_size=subject.image_size,
    )


def _transfer(attack: "_Attacks", x_adv: list[Tensor], image_set: ImageSet) -> dict[str, Measure]:
    """Accuracy of every checkpoint on the attacked images of this process' checkpoint."""
    values, y = {}, torch.from_numpy(image_set.labels)
    for label, seen in _transferred(x_adv, image_set, attack.options).items():
        if isinstance(seen, str):
            values[f"transfer/{label}"] = absent(f"{label}: {seen}")
            continue
        how = f"PGD images found at this checkpoint, {radius(attack.options.eps)}; {seen.how}"
        values[f"transfer/{label}"] = _share(attack.joined(seen.answers) == y, how)
    return values


@dataclass(frozen=True)
class _Clean:
    correct: Tensor
    margin: Tensor


class _Attacks:
    """Attacks on one model and one sample, of which each process has some images; answers are on
    all of them.
    """

    def __init__(
        self,
        logits: Callable[[Tensor], Tensor],
        batches: Sequence[Batch],
        mine: np.ndarray,
        index: np.ndarray,
        options: CurveOptions,
    ) -> None:
        self.logits, self.batches, self.mine, self.index, self.options = (
            logits,
            batches,
            mine,
            index,
            options,
        )

    def joined(self, found: Sequence[Tensor]) -> Tensor:
        """``(N,)`` of all images from what each process found of its own, batch by batch."""
        own = torch.cat(list(found)).cpu()
        whole = own.new_empty(len(self.index))
        for positions, values in everyones((self.mine, own)):
            whole[torch.from_numpy(positions)] = values
        return whole

    @torch.no_grad()
    def clean(self) -> _Clean:
        """Right answers, and by how much the right logit leads."""
        gaps = self.joined([-margin(self.logits(b.images), b.labels) for b in self.batches])
        return _Clean(gaps > 0, gaps)

    def stands(self, spec: AttackSpec, among: Tensor | None = None) -> Tensor:
        """``(N,)`` right without and under the attack; images that are not ``among`` these fell
        already.
        """
        found = []
        for batch in self.batches:
            robust = torch.zeros(len(batch), dtype=torch.bool)
            rows = (
                torch.arange(len(batch))
                if among is None
                else among[batch.index.cpu()].nonzero()[:, 0]
            )
            if len(rows):
                here = rows.to(batch.images.device)
                part = Batch(batch.images[here], batch.labels[here], batch.index[here])
                robust[rows] = self._run(part, spec).robust.cpu()
            found.append(robust)
        return self.joined(found)

    def stands_without_start(self, eps: float, steps: int) -> Tensor:
        """``(N,)`` right without attack, and under PGD that starts at the images themselves."""
        found = [
            pgd_attack(
                self.logits, b.images, b.labels, eps, steps=steps, random_start=False
            ).robust.cpu()
            for b in self.batches
        ]
        return self.joined(found)

    def _run(self, batch: Batch, spec: AttackSpec) -> SuiteResult:
        ids = self.index[batch.index.cpu().numpy()].tolist()
        return run_attack(
            spec, self.logits, batch.images, batch.labels, self.options.seed, ids, keep_x_adv=False
        )


def _checks(attack: _Attacks) -> tuple[dict[str, Measure], dict[str, np.ndarray]]:
    """The share that stands at one radius under attacks that can only be stronger, or need no
    gradient (Carlini et al. 2019), and which images do.
    """
    options = attack.options
    eps, steps = options.eps, options.steps
    specs = {
        "pgd": AttackSpec("pgd", eps, steps=steps),
        "pgd, 2x steps": AttackSpec("pgd", eps, steps=2 * steps),
        "pgd, 3 starts": AttackSpec("pgd", eps, steps=steps, restarts=3),
        "apgd": AttackSpec("apgd", eps, steps=steps, targets=options.targets),
        BLACK_BOX: AttackSpec("square", eps, queries=options.queries),
        "pgd, eps = 64/255": AttackSpec("pgd", 64 / 255, steps=steps),
    }
    found = {name: attack.stands(spec) for name, spec in specs.items()}
    found["pgd, no random start"] = attack.stands_without_start(eps, steps)
    values = {f"check/{name}": _share(stands, name) for name, stands in found.items()}
    beyond = found["apgd"] & ~found[BLACK_BOX]
    values[f"check/{BEYOND}"] = _share(beyond, "falls to Square, not to APGD")
    return values, {f"stands/{name}": stands.numpy() for name, stands in found.items()}


@dataclass(frozen=True)
class _Seen:
    """What one checkpoint answered to attacked images, as labels of their set, and by which
    head."""

    answers: list[Tensor]
    how: str


def _transferred(
    x_adv: list[Tensor], image_set: ImageSet, options: CurveOptions
) -> dict[str, _Seen | str]:
    """Answers of every checkpoint to the same attacked images of this process, batch by batch; a
    reason where it has none.

    Classes are matched by name: each checkpoint answers the question of these images, whatever the
    order of its own classes.
    """
    files = [checkpoint_file(path) for path in options.checkpoints]
    found: dict[str, _Seen | str] = {}
    for file, label in zip(files, labels_of(files), strict=True):
        try:
            other = open_subject(file, label, options)
            how = reader_for(other.model, image_set).how
        except UserError as why:
            found[label] = str(why)
            continue
        logits, weights = other.logits(image_set), other.model.weights()
        with torch.no_grad():
            found[label] = _Seen([logits(x, weights).argmax(dim=1).cpu() for x in x_adv], how)
    return found


@dataclass(frozen=True)
class _Examples:
    """Images that the attack turned: their rows, and the predictions before and after."""

    rows: np.ndarray
    before: np.ndarray
    after: np.ndarray

    def arrays(self, x: Tensor, x_adv: np.ndarray, names: np.ndarray) -> dict[str, np.ndarray]:
        """As :func:`measure_curve` says, from the clean images of these rows and all attacked
        ones."""
        adv = torch.from_numpy(np.array(x_adv[self.rows]))
        pixels = [(255 * side).round().byte().permute(0, 2, 3, 1).numpy() for side in (x, adv)]
        delta = (adv - x).permute(0, 2, 3, 1).float().numpy()
        return {
            "example_clean": pixels[0],
            "example_adv": pixels[1],
            "example_delta": delta.astype(np.float32),
            "example_before": names[self.before],
            "example_after": names[self.after],
        }


@torch.no_grad()
def _examples(attack: _Attacks, x_adv: list[Tensor], correct: Tensor, most: int) -> _Examples:
    """The first images that the attack turned."""
    after = attack.joined([attack.logits(x).argmax(dim=1) for x in x_adv])
    before = attack.joined([attack.logits(b.images).argmax(dim=1) for b in attack.batches])
    rows = (correct & (after != before)).nonzero()[:most, 0]
    return _Examples(rows.numpy(), before[rows].numpy(), after[rows].numpy())


def show_curve(parts: dict[str, Part], options: CurveOptions) -> Shown:
    """Accuracy by radius, transfer, checks."""
    notes = [
        f"{sample_text(parts, options)}, seed {options.seed}, linf, {options.steps} steps; Wilson "
        "95 % intervals; % right"
    ]
    tables = [
        curve_table(parts, options.attacks, options.radii, notes),
        transfer_table(parts, options.eps),
    ]
    if options.checks:
        tables.append(check_table(parts, options.eps, options.queries))
    return Shown(tables)


def _share(right: Tensor, estimator: str) -> Measure:
    low, high = wilson(int(right.sum()), len(right))
    return Measure(
        right.double().mean().item(), None, low, high, 0.95, f"{estimator}; Wilson interval"
    )
