"""Adversarial images of a whole set, made once a checkpoint and kept on disk; features under
adversarial weights.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from grace_geom.analysis.features.cache import REVISION
from grace_geom.attacks import pgd_attack, weight_perturbation
from grace_geom.batch import Batch
from grace_geom.data import ImageSet, loader
from grace_geom.distributed import everyones, first, my_images, to_first, wait_for_all, world, woven
from grace_geom.errors import UserError
from grace_geom.evaluation import identity
from grace_geom.files import atomic_write, write_text
from grace_geom.geometry.mean_loss import own_gradient
from grace_geom.methods.lora import ATTENTION_AND_MLP, target_matrices
from grace_geom.models import ClipClassifier
from grace_geom.terminal import say
from grace_geom.weights import Weights

Logits = Callable[[Tensor, Weights], Tensor]
"""``(images, weights) -> logits`` in the order of the data set's labels."""


@dataclass(frozen=True)
class Perturbations:
    """The attack that makes the adversarial distribution, and the weight perturbation.

    Every image is attacked, right or wrong, and none is left alone once it is misclassified: the
    features shall be those of one distribution.

    Attributes:
        eps: Radius in pixels of [0, 1].
        alpha: Step size, same unit.
        attack_steps: PGD steps on the cross-entropy.
        rho: Radius of the weight perturbation, relative to each matrix's norm.
        rank: Rank of the perturbation of every attention and MLP matrix: the same for every
            checkpoint.
        awp_steps: Ascent steps.
    """

    eps: float = 4 / 255
    alpha: float = 1 / 255
    attack_steps: int = 10
    rho: float = 0.005
    rank: int = 4
    awp_steps: int = 1

    def pgd_settings(self) -> dict[str, Any]:
        """The part that decides the adversarial images."""
        return {
            "attack": "pgd",
            "eps": self.eps,
            "alpha": self.alpha,
            "steps": self.attack_steps,
            "keeps": "best loss",
        }


def adversarial_images(
    model: ClipClassifier,
    logits: Logits,
    image_set: ImageSet,
    adversary: Perturbations,
    *,
    cache: Path | None,
    seed: int = 0,
    batch_size: int = 250,
    image_size: int | None = None,
) -> np.ndarray:
    """``(N, 3, H, W)`` float32 adversarial versions of a set, read from ``cache`` where these very
    ones lie there.

    A file belongs to the model's weights, the images, the attack and the seed; all of them stand in
    the JSON beside it. Random starts depend on an image's place in its source, not on batches. Of
    several processes each attacks every W-th image, the first writes the file, and all read it.

    Args:
        model: In eval mode, float32.
        logits: How the model answers this set's question.
        image_set: The clean images.
        adversary: Attack settings.
        cache: Folder; ``None`` keeps nothing.
        seed: Of the random starts.
        batch_size: Images a step.
        image_size: Side of the images in pixels, in which eps is measured; default the model's.

    Raises:
        UserError: If the cache does not lie where all processes see it.
    """
    weights, size = model.weights(), image_size or model.image_size
    inputs = model.preprocess.at(size)
    settings = adversary.pgd_settings() | {
        "model": identity.of_model(model),
        "data": image_set.spec,
        "images": identity.of_images(image_set),
        "n": len(image_set),
        "revision": REVISION,
        "image_size": size,
        "classes": list(image_set.class_names),
        "templates": list(image_set.templates),
        "seed": seed,
    }
    file = None if cache is None else cache / f"adv-{identity.key_of(settings)}.npy"
    shape = (len(image_set), 3, *inputs.size)
    known = _on_record(file, settings, shape)
    if known is not None:
        return known
    mine = my_images(len(image_set))
    part = image_set if len(mine) == len(image_set) else image_set.take(mine)
    batches = loader(part, batch_size, inputs, train=False, workers=None, device=model.device)
    index = torch.from_numpy(part.index)
    attacked = _attacked(lambda x: logits(x, weights), batches, index, adversary, seed)
    shared = len(part) < len(image_set)
    if file is None:
        own = np.concatenate(list(attacked))
        return woven(everyones(own)) if shared else own
    rounds = _rounds(attacked, shape, batch_size) if shared else attacked
    if first():
        _write(file, rounds, shape, settings)
    elif shared:
        for _ in rounds:  # what this process made goes to the first
            pass
    wait_for_all()
    made = _on_record(file, settings, shape)
    assert made is not None, f"{file} was written just now"
    return made


def _attacked(
    logits_fn: Callable[[Tensor], Tensor],
    batches: Iterable[Batch],
    index: Tensor,
    adversary: Perturbations,
    seed: int,
) -> Iterator[np.ndarray]:
    """The attacked images of each batch, float32; ``index`` has the place of every image in its
    source, on which its random start depends.
    """
    for batch in batches:
        attacked = pgd_attack(
            logits_fn,
            batch.images,
            batch.labels,
            adversary.eps,
            adversary.alpha,
            adversary.attack_steps,
            seed=seed,
            index=index[batch.index.cpu()],
            until_fooled=False,
        )
        yield attacked.x_adv.cpu().numpy().astype(np.float32)


def _write(
    file: Path, batches: Iterable[np.ndarray], shape: tuple[int, ...], settings: dict[str, Any]
) -> None:
    """An ``.npy`` of all batches, and a JSON beside it of what they depend on and their digest."""
    content = hashlib.sha256()
    with atomic_write(file) as out:  # batch by batch: the set may be larger than memory
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(out, header)
        for x_adv in batches:
            raw = np.ascontiguousarray(x_adv, dtype="<f4").tobytes()
            content.update(raw)
            out.write(raw)
    kept = settings | {"sha256": content.hexdigest()}
    write_text(file.with_suffix(".json"), json.dumps(kept, indent=2, sort_keys=True))


def _rounds(
    attacked: Iterator[np.ndarray], shape: tuple[int, ...], batch_size: int
) -> Iterator[np.ndarray]:
    """Batch by batch of all processes together, in the order of the set; the first process gets
    them.
    """
    nothing = np.zeros((0, *shape[1:]), dtype=np.float32)
    for _ in range(
        0, -(-shape[0] // world().size), batch_size
    ):  # as often as the process with most images
        shares = to_first(next(attacked, nothing))
        yield woven(shares) if shares else nothing


def batches_of(
    x: np.ndarray, labels: np.ndarray, batch_size: int, positions: np.ndarray | None = None
) -> Iterator[Batch]:
    """Images in memory (or mapped from disk) as batches in order; ``positions``: only these,
    counted from 0 again.
    """
    chosen = np.arange(len(x)) if positions is None else positions
    for start in range(0, len(chosen), batch_size):
        rows = chosen[start : start + batch_size]
        index = torch.arange(start, start + len(rows))
        yield Batch(torch.from_numpy(np.array(x[rows])), torch.from_numpy(labels[rows]), index)


def perturbed_features(
    model: ClipClassifier,
    logits: Logits,
    clean: Iterable[Batch],
    attacked: Iterable[Batch],
    adversary: Perturbations,
    seed: int = 0,
) -> tuple[Float[Tensor, " n d"], Float[Tensor, " n d"]]:
    """Normalised features of the clean and of the adversarial images at ``W_pert = W + B A``, as in
    training.

    The perturbation is found batch by batch, by ascent of the cross-entropy at the adversarial
    images, with the same rank in every matrix; ``|B A|_F = rho |W|_F``. Of several processes each
    has every W-th batch, and the first gets all features; the others get none.

    Args:
        model: The classifier.
        logits: As in :func:`adversarial_images`.
        clean, attacked: The same images in the same batches, before and after the attack; those of
            this process.
        adversary: Settings of the perturbation.
        seed: Of the random factors.
    """
    weights = model.weights()
    names = target_matrices(model, ATTENTION_AND_MLP)
    radius = weight_perturbation.radii(
        {name: weights[name] for name in names}, adversary.rho, absolute=False
    )
    generator = torch.Generator(model.device).manual_seed(seed)
    found: list[tuple[Tensor, Tensor]] = []
    for before, after in zip(_on(model, clean), _on(model, attacked), strict=True):
        # One draw for each process's batch, so that a batch has the one that it would have alone.
        ranks = dict.fromkeys(names, adversary.rank)
        turn = [weight_perturbation.draw(weights, ranks, generator) for _ in range(world().size)]
        start = turn[world().rank]

        def gradient(w: Weights, batch: Batch = after) -> Weights:
            return own_gradient(
                lambda w, b: F.cross_entropy(logits(b.images, w), b.labels), w, names, [batch]
            )

        delta = weight_perturbation.ascend(gradient, weights, start, radius, adversary.awp_steps)
        W_pert = weight_perturbation.perturb(weights, delta)
        with torch.no_grad():
            one, two = (
                model.features(batch.images, W_pert).float().cpu() for batch in (before, after)
            )
        found.append((one, two))
    rows = [pair for each in zip_longest(*to_first(found)) for pair in each if pair is not None]
    if not rows:
        return torch.empty(0, 0), torch.empty(0, 0)
    return torch.cat([one for one, _ in rows]), torch.cat([two for _, two in rows])


def _on(model: ClipClassifier, batches: Iterable[Batch]) -> Iterator[Batch]:
    return (batch.to(model.device) for batch in batches)


def _on_record(
    file: Path | None, settings: dict[str, Any], shape: tuple[int, ...]
) -> np.ndarray | None:
    """The images, where every process finds them."""
    known = None if file is None else _read(file, settings, shape)
    there = everyones(known is not None)
    if there[0] and not all(there):
        raise UserError(
            f"{file} is there for process 0 and not for process {there.index(False)}: --out must "
            "lie on a disk that all machines of the job share"
        )
    return known if there[0] else None


def _read(file: Path, settings: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray | None:
    """The images, mapped; ``None`` where they are absent, of other settings, or (with a warning)
    damaged: they are then made again.
    """
    if not file.is_file():
        return None
    try:
        kept = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
        digest = kept.pop("sha256")
        if kept != settings:
            return None
        x_adv = np.load(file, mmap_mode="r")
        whole = x_adv.shape == shape and x_adv.dtype == np.float32 and _sha256(x_adv) == digest
    except (OSError, ValueError, EOFError, KeyError, AttributeError, TypeError, RecursionError):
        whole = False
    if whole:
        return x_adv
    if first():
        say(f"{file} is damaged: the attack is made anew")
    return None


def _sha256(x: np.ndarray, rows: int = 256) -> str:
    """Of the numbers, a few images at a time."""
    total = hashlib.sha256()
    for start in range(0, len(x), rows):
        total.update(np.ascontiguousarray(x[start : start + rows]).data)
    return total.hexdigest()
