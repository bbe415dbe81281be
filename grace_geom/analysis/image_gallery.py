"""The same images for every checkpoint of one pretrained model: clean and attacked, what they are
taken for, and where the checkpoint looks.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from grace_geom.analysis.chosen_images import chosen, digests
from grace_geom.analysis.numbers import Footnotes
from grace_geom.analysis.options import Common
from grace_geom.analysis.run import Part, Shown
from grace_geom.analysis.subject import Subject
from grace_geom.attacks import pgd_attack
from grace_geom.attacks.losses import cross_entropy, margin
from grace_geom.batch import Batch
from grace_geom.data import ImageSet
from grace_geom.errors import UserError
from grace_geom.evaluation.accuracy import reader_for
from grace_geom.fields import bounded
from grace_geom.geometry.rollout import rollout
from grace_geom.geometry.saliency import correlation, saliency
from grace_geom.methods.tga_zsr import attention
from grace_geom.models.resizing import resized
from grace_geom.plots.pictures import STEPS, TOP
from grace_geom.quantities import radius
from grace_geom.records import Measure
from grace_geom.tables import Cell, Table

SIDES = ("clean", "adv")
BRIGHTEST = 0.99
"""Quantile of a saliency map that is shown as white."""


@dataclass(frozen=True)
class GalleryOptions(Common):
    """Options of ``image_gallery.py``.

    Attributes:
        shown: Number of ID images that are shown, of the --n that are looked at.
        shown_ood: Number of images that are shown of each OOD set.
        pixels: Largest side of a picture; larger ones are reduced.
        smooth: Number of noisy copies that the gradient is averaged over (SmoothGrad); 1: the plain
            gradient, without noise.
        noise: Standard deviation of that noise, in pixel units of [0, 1].
    """

    shown: int = bounded(48, least=2, group="pictures")
    shown_ood: int = bounded(24, least=0)
    pixels: int = bounded(96, least=8, most=512)
    smooth: int = bounded(8, least=1)
    noise: float = bounded(0.1, least=0)


def measure(subject: Subject, options: GalleryOptions, state: Path) -> Part:
    """Pictures, answers and maps of the chosen images of one checkpoint.

    Arrays, M images of all sets together: ``set``, ``key`` (digest of the pixels) and ``label``
    ``(M,)`` text, ``index`` ``(M,)`` int64 (place in the source), ``hard`` ``(M,)`` bool (the
    pretrained model is wrong). ``clean``, ``adv`` ``(M, h, w, 3)`` uint8; ``delta`` of that shape,
    int8 in ``eps / 127``. For ``SIDE`` in ``clean``, ``adv``: ``margin_SIDE`` ``(M,)`` logits of
    the label less the best other; ``top_SIDE`` ``(M, T)`` text and ``p_SIDE`` ``(M, T)``
    probabilities, the largest first; ``saliency_SIDE`` ``(M, h, w)`` uint8, of which 255 stands for
    ``saliency_white_SIDE`` ``(M,)``; ``attention_SIDE`` ``(M, h, w)`` uint8 where the model is a
    plain ViT with a row of the head for each class; ``rollout_SIDE`` ``(M, h, w)`` uint8, the
    attention rollout of the class token, where it is a plain ViT; both scaled to the image.
    ``remarks``: sentences.

    Raises:
        UserError: If a set has a single class, which leaves no margin.
    """
    sets = {"id": (subject.images(), options.shown)}
    if options.shown_ood:
        sets |= {
            name: (subject.images(spec, "eval"), options.shown_ood)
            for name, spec in subject.ood().items()
        }
    values: dict[str, Measure] = {}
    found: list[dict[str, np.ndarray]] = []
    for name, (image_set, most) in sets.items():
        arrays, maps = _of_set(subject, image_set, most, options)
        found.append(arrays | {"set": np.full(len(arrays["key"]), name)})
        values |= _numbers(name, arrays, maps)
    kept = [name for name in found[0] if all(name in one for one in found)]
    joined = {name: np.concatenate([one[name] for one in found]) for name in kept}
    return Part(values, joined | {"remarks": np.array(_remarks(subject), dtype=np.str_)})


def _remarks(subject: Subject) -> list[str]:
    remarks = []
    if not subject.checkpoint.base:
        remarks.append("no pretrained model on record: its images are chosen without hard ones")
    if subject.model.shape is None:
        remarks.append("no attention maps: the tower is no plain ViT")
    return remarks


def _of_set(
    subject: Subject, image_set: ImageSet, most: int, options: GalleryOptions
) -> tuple[dict[str, np.ndarray], Tensor]:
    """Arrays of one set, and the correlation ``(M,)`` of clean and attacked saliency."""
    if len(image_set.class_names) < 2:
        raise UserError(
            f"{image_set.spec} has a single class: every answer is right, and no image has a margin; "
            "name data of two classes or more with --data"
        )
    keys, wrong = digests(image_set), _wrong_before(subject, image_set)
    rows = chosen(keys, image_set.labels, wrong, most, options.seed)
    look = partial(_look, subject, image_set, options)
    batches = [look(batch) for batch in subject.batches(image_set, rows)]
    whole = {name: torch.cat([b[name] for b in batches]) for name in batches[0]}
    names = np.array(image_set.class_names, dtype=np.str_)
    arrays = {
        "key": np.array(keys)[rows],
        "label": names[image_set.labels[rows]],
        "index": image_set.index[rows],
        "hard": np.zeros(len(rows), bool) if wrong is None else wrong[rows],
    }
    for side in SIDES:
        arrays[f"top_{side}"] = _to_top(names[whole.pop(f"top_{side}").numpy()])
        arrays[f"p_{side}"] = _to_top(whole.pop(f"p_{side}").numpy())
    maps = correlation(whole.pop("map_clean"), whole.pop("map_adv"))
    return arrays | {name: x.numpy() for name, x in whole.items()}, maps


def _to_top(found: np.ndarray) -> np.ndarray:
    """``(M, TOP)``, with empty columns where a set has fewer classes."""
    few = TOP - found.shape[1]
    return np.pad(found, ((0, 0), (0, few))) if few else found


@torch.no_grad()
def _wrong_before(subject: Subject, image_set: ImageSet) -> np.ndarray | None:
    """``(N,)`` where the pretrained model is wrong; ``None`` where nobody knows which it was."""
    if not subject.checkpoint.base:
        return None
    before = replace(subject, model=subject.base)
    logits, weights = before.logits(image_set), before.model.weights()
    answers = [
        (logits(b.images, weights).argmax(dim=1) != b.labels).cpu()
        for b in before.batches(image_set)
    ]
    return torch.cat(answers).numpy()


def _look(
    subject: Subject, image_set: ImageSet, options: GalleryOptions, batch: Batch
) -> dict[str, Tensor]:
    """Everything about one batch, on the CPU."""
    read, weights = subject.logits(image_set), subject.model.weights()

    def logits(x: Tensor) -> Tensor:
        return read(x, weights)

    places = image_set.index[batch.index.cpu().numpy()].tolist()
    adv = pgd_attack(
        logits, batch.images, batch.labels, options.eps, options.alpha, options.attack_steps,
        seed=options.seed, index=places, until_fooled=False,
    ).x_adv  # fmt: skip
    noise = _noise(batch.images, places, options)
    text = _text_of(subject, image_set)
    found = {"clean": _grey_levels(batch.images, options.pixels)}
    found |= {"adv": _grey_levels(adv, options.pixels)}
    found["delta"] = _steps(adv - batch.images, options)
    for side, x in zip(SIDES, (batch.images, adv), strict=True):
        found |= {f"{k}_{side}": v for k, v in _answers(logits, x, batch.labels).items()}
        at = saliency(lambda z: cross_entropy(logits(z), batch.labels).sum(), x, noise)
        found[f"map_{side}"] = at
        found[f"saliency_{side}"], found[f"saliency_white_{side}"] = _whitened(at, options.pixels)
        if text is not None:
            seen = _attention(subject, x, text[batch.labels])
            found[f"attention_{side}"] = _grey_levels(seen[:, None], options.pixels)[..., 0]
        if subject.model.shape is not None:
            heard = _rollout(subject, x)
            found[f"rollout_{side}"] = _grey_levels(heard[:, None], options.pixels)[..., 0]
    return {name: x.detach().cpu() for name, x in found.items()}


@torch.no_grad()
def _answers(logits: Callable[[Tensor], Tensor], x: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """The classes of highest probability, these probabilities, and the margin."""
    z = logits(x).float()
    top = z.softmax(dim=1).topk(min(TOP, z.shape[1]), dim=1)
    return {"margin": -margin(z, labels), "top": top.indices, "p": top.values}


def _noise(x: Tensor, places: list[int], options: GalleryOptions) -> Tensor:
    """``(s, b, c, h, w)``: what an image is disturbed by depends on its place in the source, not on
    its batch; nothing for a single sample.
    """
    if options.smooth == 1:
        return torch.zeros_like(x)[None]
    drawn = []
    for place in places:
        generator = torch.Generator().manual_seed((options.seed << 32) + place)
        drawn.append(torch.randn(options.smooth, *x.shape[1:], generator=generator))
    return options.noise * torch.stack(drawn, dim=1).to(x)


def _text_of(subject: Subject, image_set: ImageSet) -> Tensor | None:
    """``(K, d)`` unit embedding of each class, where the tower shows its patches."""
    reader = reader_for(subject.model, image_set)
    if subject.model.shape is None or reader.grouped:
        return None
    return F.normalize(reader.head_rows, dim=-1)


@torch.no_grad()
def _attention(subject: Subject, x: Tensor, text: Float[Tensor, " b d"]) -> Float[Tensor, " b h w"]:
    """How alike every patch is to the text of the image's class, in [0, 1]: what TGA-ZSR holds."""
    model = subject.model
    size: tuple[int, int] = tuple(x.shape[-2:])  # type: ignore[assignment]
    return attention(model.tokens(x, model.weights()), text, size, _grid(subject))


@torch.no_grad()
def _rollout(subject: Subject, x: Tensor) -> Float[Tensor, " b h w"]:
    """What the class token hears of every patch, from 0 at the least to 1 at the most."""
    model, (rows, columns) = subject.model, _grid(subject)
    heard = rollout(model.attentions(x, model.weights()))[:, 1 : 1 + rows * columns]
    low, high = heard.amin(dim=1, keepdim=True), heard.amax(dim=1, keepdim=True)
    scaled = (heard - low) / (high - low).clamp_min(torch.finfo(heard.dtype).tiny)
    size: tuple[int, int] = tuple(x.shape[-2:])  # type: ignore[assignment]
    return resized(scaled.view(-1, 1, rows, columns), size, "bilinear").squeeze(1)


def _grid(subject: Subject) -> tuple[int, int]:
    """Rows and columns of patches."""
    shape = subject.model.plain_vit("attention maps need")
    height, width = subject.model.preprocess.size
    return height // shape.patch, width // shape.patch


def _grey_levels(x: Float[Tensor, " b c h w"], most: int) -> Tensor:
    """``(b, h, w, c)`` uint8, the mean of the pixels that fall together."""
    size = _reduced(x, most)
    small = F.adaptive_avg_pool2d(x.float(), size) if size != tuple(x.shape[-2:]) else x
    return (255 * small.clamp(0, 1)).round().byte().permute(0, 2, 3, 1)


def _steps(delta: Float[Tensor, " b c h w"], options: GalleryOptions) -> Tensor:
    """``(b, h, w, c)`` int8 in ``eps / 127``. Reduced by leaving pixels out: means would be smaller
    than the perturbation is.
    """
    size = _reduced(delta, options.pixels)
    rows, columns = (
        torch.linspace(0, full - 1, few).round().long()
        for full, few in zip(delta.shape[-2:], size, strict=True)
    )
    few = delta[..., rows, :][..., columns] / max(options.eps, 1e-12)
    return (STEPS * few).round().clamp(-STEPS, STEPS).to(torch.int8).permute(0, 2, 3, 1)


def _whitened(maps: Float[Tensor, " b h w"], most: int) -> tuple[Tensor, Tensor]:
    """Maps as uint8, the largest of the pixels that fall together, and what 255 stands for."""
    small = F.adaptive_max_pool2d(maps[:, None].float(), _reduced(maps, most))[:, 0]
    white = small.flatten(1).quantile(BRIGHTEST, dim=1)
    scaled = small / white.clamp_min(torch.finfo(white.dtype).tiny)[:, None, None]
    return (255 * scaled.clamp(0, 1)).round().byte(), white


def _reduced(x: Tensor, most: int) -> tuple[int, int]:
    """Height and width of a picture of at most ``most`` pixels a side."""
    height, width = x.shape[-2:]
    share = min(1.0, most / max(height, width))
    return max(1, round(share * height)), max(1, round(share * width))


def _numbers(name: str, arrays: Mapping[str, np.ndarray], maps: Tensor) -> dict[str, Measure]:
    """Shares of the shown images, and how alike clean and attacked saliency are."""
    of = "share of the shown images, which are chosen: no estimate of the set's accuracy"
    values = {
        f"right_{side}/{name}": Measure(float((arrays[f"margin_{side}"] > 0).mean()), estimator=of)
        for side in SIDES
    }
    known = maps[maps.isfinite()]
    if len(known) > 1:
        mean, error = known.mean().item(), (known.std() / len(known) ** 0.5).item()
        how = "mean correlation over pixels of clean and attacked saliency; 1.96 standard errors"
        ends = (mean - 1.96 * error, mean + 1.96 * error)
        values[f"saliency_correlation/{name}"] = Measure(mean, error, *ends, 0.95, how)
    return values


def show(parts: dict[str, Part], options: GalleryOptions) -> Shown:
    """How many of the shown images are right, clean and attacked, and whether saliency stays."""
    feet = Footnotes()
    rows: list[list[Cell | str]] = []
    for label, part in parts.items():
        for name, hard, n in _counts(part):
            keys = [f"{key}/{name}" for key in ("right_clean", "right_adv", "saliency_correlation")]
            cells = [feet.cell(part.values.get(k), _number, missing=FEW) for k in keys]
            rows.append([label, name, Cell(str(n)), Cell(str(hard)), *cells])
    maps = f"SmoothGrad, {options.smooth} samples" if options.smooth > 1 else "plain gradient"
    remarks = {
        f"{label}: {text}" for label, part in parts.items() for text in part.arrays["remarks"]
    }
    notes = [
        *feet.notes,
        f"chosen by digest, seed {options.seed}, of {options.n} images at most: one of each class "
        "in turn, half of them hard (the pretrained model is wrong) where there are so many; "
        "shares of chosen images are no accuracies",
        f"attacked: PGD, ε = {radius(options.eps)}, {options.attack_steps} steps; saliency of the "
        f"cross-entropy: {maps}",
        *sorted(remarks),
    ]
    heads = ["checkpoint", "set", "shown", "hard", "right", "right attacked", "saliency stays"]
    return Shown([Table(heads, rows, 2, "The images of the gallery", notes)])


FEW = "fewer than two images with a gradient"


def _counts(part: Part) -> Iterator[tuple[str, int, int]]:
    """Set, hard images, images."""
    of = part.arrays["set"]
    for name in dict.fromkeys(of.tolist()):
        yield name, int(part.arrays["hard"][of == name].sum()), int((of == name).sum())


def _number(m: Measure) -> Cell:
    if m.low is None or m.high is None:
        return Cell(f"{m.value:.2f}", value=m.value)
    return Cell(f"{m.value:.2f} [{m.low:.2f}, {m.high:.2f}]", f"{m.value:.2f}", m.value)
