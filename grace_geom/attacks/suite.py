"""Named attack suites: one call from images to "which of them still stand", with everything a
record must say.
"""

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from grace_geom.attacks.apgd import apgd
from grace_geom.attacks.balls import check_pixels, check_type, extent_of
from grace_geom.attacks.cw import cw
from grace_geom.attacks.fab import fab, fab_t
from grace_geom.attacks.losses import cross_entropy, margin
from grace_geom.attacks.pgd import pgd_attack
from grace_geom.attacks.spec import DTYPES, NEEDS_THREE, AttackSpec
from grace_geom.attacks.square import square
from grace_geom.attacks.tracker import Logits, Outcome
from grace_geom.errors import NotFiniteError


@dataclass(frozen=True)
class AttackPart:
    """What one attack of a suite did.

    Attributes:
        name: The attack.
        attacked: Images that still stood before it.
        robust: Images that stood after it.
        forwards: Images sent through the model.
        seconds: Wall-clock time.
    """

    name: str
    attacked: int
    robust: int
    forwards: int
    seconds: float


@dataclass(frozen=True)
class SuiteResult:
    """Which images are correct, and which stay correct under every attack of the suite.

    All but the images lies on the CPU, wherever the model is.

    Attributes:
        correct: ``(N,)`` correct without attack.
        robust: ``(N,)`` correct without attack and under every part.
        x_adv: ``(N, ...)`` the point that fooled the classifier, else the point of highest loss in
            the last part, else (where the clean image is misclassified already) the clean image;
            ``None`` if not kept.
        parts: What each part did.
        settings: Name, eps, norm, precision, seed and each part's loss, steps and restarts, as
            plain types.
        notes: Sentences a reader of the number must see: a part that is not defined.
        standing: ``(N,)`` for each part: who was still right after it.
    """

    correct: Bool[Tensor, " n"]
    robust: Bool[Tensor, " n"]
    x_adv: Float[Tensor, " n *d"] | None
    parts: tuple[AttackPart, ...]
    settings: dict[str, Any]
    notes: tuple[str, ...] = ()
    standing: tuple[Bool[Tensor, " n"], ...] = ()


@torch.inference_mode(False)  # tensors made in inference mode cannot be saved for a backward pass
def run(
    attack: AttackSpec,
    logits_fn: Logits,
    x: Float[Tensor, " n *d"],
    y: Int[Tensor, " n"],
    seed: int = 0,
    index: Sequence[int] | Int[Tensor, " n"] | None = None,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    keep_x_adv: bool = True,
) -> SuiteResult:
    """Run a suite, part after part; only images that still stand are attacked again.

    Results do not depend on ``batch_size`` or on which images travel together, beyond the rounding
    of the model itself: random numbers belong to ``(seed, index)``.

    Args:
        attack: What to run.
        logits_fn: ``x (b, ...) -> logits (b, K)``; deterministic (the model in eval mode).
        x: Images in [0, 1], on any device.
        y: Labels.
        seed: Seed of every random draw, >= 0.
        index: A number >= 0 for each image (its place in the data set); its position in ``x`` by
            default.
        batch_size: Images a call of the model; all at once by default.
        device: Where batches are moved to; where ``x`` is by default.
        keep_x_adv: Whether to return the adversarial images.

    Raises:
        PixelError: For images that are bytes, NaN, or outside [0, 1] by more than rounding.
        ValueError: ``apgd-t`` or ``apgd-dlr`` by itself with two classes, where it is not defined
            (suites skip it, with a note).
        RuntimeError: If a gradient or a logit is NaN.
    """
    if len(y) == 0:
        raise ValueError("There are no images to attack.")
    if x.device.type == "cpu":
        check_pixels(x)
    else:  # looking would wait for the device: with the clean pass it is one look
        check_type(x)
    x = x.to(DTYPES["float64"] if attack.precision == "float64" else DTYPES["float32"])
    y = y.to(x.device)  # rows of both are taken by the same positions
    device = torch.device(device or x.device)
    size = batch_size or len(y)
    numbers = torch.as_tensor(range(len(y)) if index is None else index).cpu()
    with in_precision(attack.precision, device):
        correct, classes = _clean(logits_fn, x, y, size, device)
        robust, x_adv = correct.clone(), x.clone() if keep_x_adv else None
        parts, standing, notes = [], [], []
        for part in attack.parts:
            if part in NEEDS_THREE and classes < 3 and len(attack.parts) > 1:
                notes.append(f"{part} is not defined for {classes} classes and was left out")
                continue
            about = attack.part(part, classes)
            before, forwards, began = int(robust.sum()), 0, time.perf_counter()
            for rows in _chunks(robust, size):
                there = rows.to(x.device, non_blocking=True)
                xb, yb = x[there].to(device), y[there].to(device)
                found = run_part(attack, about, logits_fn, xb, yb, seed, numbers[rows])
                robust[rows] = found.robust
                forwards += found.forwards
                if x_adv is not None:
                    x_adv[there] = found.x_adv.to(x_adv)
            parts.append(
                AttackPart(part, before, int(robust.sum()), forwards, time.perf_counter() - began)
            )
            standing.append(robust.clone())
    settings = attack.settings(seed, classes)
    return SuiteResult(
        correct, robust, x_adv, tuple(parts), settings, tuple(notes), tuple(standing)
    )


def join(results: Iterable[SuiteResult]) -> SuiteResult:
    """One result from the results of consecutive batches under the same attack and seed.

    Raises:
        ValueError: If there are none, or their settings differ.
    """
    results = list(results)
    if not results or any(r.settings != results[0].settings for r in results):
        raise ValueError(
            "Only results of the same attack, settings and seed can be joined, and at least one."
        )
    images = [r.x_adv for r in results]
    return SuiteResult(
        torch.cat([r.correct for r in results]),
        torch.cat([r.robust for r in results]),
        None if any(i is None for i in images) else torch.cat([i for i in images if i is not None]),
        add_parts([r.parts for r in results]),
        results[0].settings,
        results[0].notes,
        tuple(torch.cat(same) for same in zip(*(r.standing for r in results), strict=True)),
    )


def add_parts(rows: Sequence[tuple[AttackPart, ...]]) -> tuple[AttackPart, ...]:
    """What the parts of a suite did on several groups of images together."""
    return tuple(_add(same) for same in zip(*rows, strict=True))


def _add(parts: tuple[AttackPart, ...]) -> AttackPart:
    sums = [
        sum(getattr(p, field) for p in parts)
        for field in ("attacked", "robust", "forwards", "seconds")
    ]
    return AttackPart(parts[0].name, *sums)


def run_part(
    attack: AttackSpec,
    about: dict[str, Any],
    logits_fn: Logits,
    x: Tensor,
    y: Tensor,
    seed: int,
    index: Tensor,
) -> Outcome:
    """One part of a suite on a batch, in the precision that is on.

    Args:
        attack: The suite.
        about: The part, as :meth:`AttackSpec.part` gives it.
        logits_fn: ``x (b, ...) -> logits (b, K)``.
        x: Images in [0, 1].
        y: Labels.
        seed: Seed of every random draw.
        index: ``(b,)`` a number for each image.
    """
    name = about["name"]
    seeded: dict[str, Any] = {"seed": seed, "index": index}
    if name == "square":
        return square(
            logits_fn, x, y, attack.eps, about["queries"], schedule=about["schedule"],
            norm=attack.norm, **seeded,
        )  # fmt: skip
    if name == "cw":
        return cw(logits_fn, x, y, attack.eps, about["steps"], about["searches"], about["lr"])
    common = {"steps": about["steps"], "restarts": about["restarts"], "norm": attack.norm, **seeded}
    if name == "fab-t":
        return fab_t(logits_fn, x, y, attack.eps, targets=about["targets"], **common)
    if name == "fab":
        return fab(logits_fn, x, y, attack.eps, **common)
    if name.startswith("apgd"):
        return _apgd(attack, about, logits_fn, x, y, common)
    return pgd_attack(
        logits_fn, x, y, attack.eps, about["alpha"], random_start=name != "fgsm",
        loss=margin if name == "pgd-cw" else cross_entropy, **common,
    )  # fmt: skip


def _apgd(
    attack: AttackSpec,
    about: dict[str, Any],
    logits_fn: Logits,
    x: Tensor,
    y: Tensor,
    common: dict[str, Any],
) -> Outcome:
    """Auto-PGD; where the classifier is random, an image has fallen if its point fools twice."""
    draws = about.get("draws", 1)
    found = apgd(
        logits_fn, x, y, attack.eps, loss=about["loss"], targets=about.get("targets", 1),
        draws=draws, wide_first="radii" in about, **common,
    )  # fmt: skip
    if draws == 1:
        return found
    with torch.no_grad():
        right = (logits_fn(found.x_adv).argmax(1) == y).cpu()
    return replace(found, robust=found.robust | right, forwards=found.forwards + len(y))


@torch.no_grad()
def _clean(
    logits_fn: Logits, x: Tensor, y: Tensor, size: int, device: torch.device
) -> tuple[Tensor, int]:
    """Which images are correct without attack, on the CPU, and the number of classes; one look at
    the device for each batch.
    """
    correct, classes = [], 0
    for xb, yb in zip(x.split(size), y.split(size), strict=True):
        logits = logits_fn(xb.to(device))
        classes = logits.shape[1]
        right = logits.argmax(1) == yb.to(device)
        extent = None if x.device.type == "cpu" else torch.stack(extent_of(xb)).double()
        flaw = logits.isnan().any().double().view(1).to(device)
        numbers = [flaw] if extent is None else [flaw, extent.to(device)]
        told = torch.cat([*numbers, right.double()]).cpu()
        if extent is not None:
            check_pixels(xb, (told[1], told[2]))
        if told[0]:
            raise NotFiniteError(
                "The model's logits are NaN on clean images: its weights or its precision are at "
                "fault."
            )
        correct.append(told[-len(yb) :] > 0)
    return torch.cat(correct), classes


def _chunks(mask: Tensor, size: int) -> Iterator[Tensor]:
    rows = mask.nonzero()[:, 0]
    return iter(rows.split(size)) if len(rows) else iter(())


@contextlib.contextmanager
def in_precision(name: str, device: torch.device) -> Iterator[None]:
    """Autocast to the named half precision, or no autocast at all, whatever the caller is in."""
    half = name in ("bfloat16", "float16")
    with torch.autocast(device.type, dtype=DTYPES[name] if half else None, enabled=half):
        yield
