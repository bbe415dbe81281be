"""Pretraining from settings to weights and the record that says how good they are."""

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from grace_geom.data import Split, resolve, suites
from grace_geom.data.shapes.sets import HARD_IDS, SHAPES_SETS, SIZES, VERSION, fingerprint
from grace_geom.devices import pick_device
from grace_geom.errors import UserError
from grace_geom.evaluation.accuracy import evaluate_set
from grace_geom.files import sha256, write_text
from grace_geom.models import ModelSpec, build, open_clip_model, tokenizer_of
from grace_geom.progress import Progress
from grace_geom.provenance import provenance
from grace_geom.records import Accuracy
from grace_geom.records.schema import dumps
from grace_geom.tools.tiny_clip.files import save_weights, thinned
from grace_geom.tools.tiny_clip.hard import adversarial_ids
from grace_geom.tools.tiny_clip.pairs import EMBEDDED, Pairs, gather
from grace_geom.tools.tiny_clip.training import Schedule, pretrain

FORMAT = "grace_geom.pretrain/1"
HARD = "shapes:hard"
KEPT = ("suite", "data", "spec", "n", "correct", "accuracy", "ci_low", "ci_high", "outcomes")


@dataclass(frozen=True)
class Pretraining:
    """Every setting of a pretraining.

    Attributes:
        out: File for the weights; the record goes beside it as .json.
        data: Data sets whose training splits give the image-caption pairs; shapes: the built-in
            world in all its styles.
        data_root: Directory of the torchvision and ImageNet data sets.
        pairs: Number of image-caption pairs from the built-in world.
        views: Number of pairs per image of a labelled data set: the image itself and random crops.
        exclude: Class names to leave out of the labelled data sets, such as those evaluated on
            later.
        model: open_clip model name, or a model configuration of this package.
        init: Initial weights: random, a file, or an open_clip tag.
        steps: Number of optimizer steps.
        batch_size: Number of pairs per optimizer step.
        lr: Peak learning rate of AdamW; linear warm-up, then cosine decay to zero.
        warmup: Warm-up of the learning rate, as a fraction of the steps.
        weight_decay: Weight decay of matrices; other tensors have none.
        seed: Random seed for the initial weights, the images, the captions and their order.
        device: Device: cpu, cuda, cuda:1; auto: a GPU if there is one.
        n: Number of images per data set for the accuracies in the record.
        hard_ids: File for the indices of the natural adversarial images; null: beside the weights.
        overwrite: Overwrite existing files.
    """

    out: Path = field(
        default=Path("runs/pretrain/tiny-shapes.safetensors"), metadata={"group": "files"}
    )
    hard_ids: Path | None = None
    overwrite: bool = False
    data: tuple[str, ...] = field(default=("shapes",), metadata={"group": "data"})
    data_root: Path | None = None
    pairs: int = 131_072
    views: int = 4
    exclude: tuple[str, ...] = ()
    model: str = field(default="tiny-shapes", metadata={"group": "model"})
    init: str = "random"
    steps: int = field(default=2800, metadata={"group": "training"})
    batch_size: int = 128
    lr: float = 1e-3
    warmup: float = 0.05
    weight_decay: float = 0.1
    seed: int = 0
    device: str = "auto"
    n: int = field(default=2000, metadata={"group": "record"})

    @property
    def schedule(self) -> Schedule:
        """The part that the training loop sees."""
        return Schedule(
            self.steps, self.batch_size, self.lr, self.warmup, self.weight_decay, self.seed
        )


def make(options: Pretraining) -> str:
    """Pretrain, write the weights, measure them, write the record; a table for people.

    Raises:
        UserError: For files that exist and settings that cannot be.
    """
    _check(options)
    device = pick_device(options.device)
    clip, origin = open_clip_model(ModelSpec(options.model, options.init, options.seed))
    tokenizer, size = tokenizer_of(options.model), clip.visual.image_size  # type: ignore[union-attr]
    side = int(size[0] if isinstance(size, tuple) else size)  # type: ignore[arg-type]
    began = time.perf_counter()
    material = gather(
        options.data,
        side,
        options.seed,
        pairs=options.pairs,
        views=options.views,
        exclude=options.exclude,
        data_root=options.data_root,
    )
    pairs = Pairs.of(torch.cat(material.images), material.captions, tokenizer)
    seconds = {"pairs": round(time.perf_counter() - began, 1)}
    bar = Progress(options.steps)

    def report(step: int, loss: float, spent: float) -> None:
        bar.show(loss=loss)
        new = step - bar.done + 1
        bar.step(new * options.batch_size, new)

    curve = pretrain(clip, pairs, options.schedule, tokenizer(material.prompts), device, report)
    seconds["training"] = round(curve.seconds[-1], 1)
    save_weights(clip, options.out)
    made = {
        "origin": origin,
        "seconds": seconds,
        "sources": material.sources,
        "curve": thinned(curve),
    }
    bar.begin("accuracies for the record")
    text = finish(options, made | {"provenance": provenance(device)})
    bar.clear()
    return text


def finish(options: Pretraining, made: dict[str, Any]) -> str:
    """Measure the weights in ``options.out`` and write the record beside them; a table for people.

    Args:
        options: The settings they were made with.
        made: What else the record shall say about the making.
    """
    hard = filter_hard(options) if EMBEDDED in options.data else None
    found = measure(options)
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(options).items()}
    record = {
        "format": FORMAT,
        "weights": {
            "file": options.out.name,
            "bytes": options.out.stat().st_size,
            "sha256": sha256(options.out),
        },
        "settings": {
            k: v for k, v in settings.items() if k not in ("out", "hard_ids", "overwrite")
        },
        "renderer": {"version": VERSION, "fingerprint": fingerprint()},
        **made,
        "hard": hard,
        "accuracies": [{k: getattr(a, k) for k in KEPT} for a in found],
    }
    target = options.out.with_suffix(".json")
    write_text(target, dumps(record) + "\n")
    rows = [
        f"{a.data:<20} {100 * a.accuracy:5.1f}  [{100 * a.ci_low:.1f}, {100 * a.ci_high:.1f}]"
        for a in found
    ]
    return "\n".join([*rows, f"written: {options.out} and {target}"])


def measure(options: Pretraining) -> list[Accuracy]:
    """Zero-shot accuracies on the embedded sets, and on what each labelled set holds out for
    validation.
    """
    found = []
    for spec in options.data:
        sets = {spec: ("id", spec)}
        if spec == EMBEDDED:
            sets |= {
                f"{spec}:{n}": (suite, s)
                for suite, of in suites(spec).items()
                for n, s in of.items()
            }
            del sets[HARD]  # the filter leaves none right
        for name, (suite, each) in sets.items():
            split: Split = "test" if spec == EMBEDDED else "val"
            image_set = resolve(each, split, data_root=options.data_root)
            if options.n < len(image_set):
                image_set = image_set.take(np.arange(options.n))
            model = build(
                ModelSpec(options.model, str(options.out)),
                image_set.class_names,
                image_set.templates,
            )
            found.append(evaluate_set(model, image_set, suite, name))
    return found


def filter_hard(options: Pretraining) -> dict[str, Any]:
    """Write the numbers of the natural adversarial pictures; what the record says about them."""
    kind = SHAPES_SETS[HARD]
    model = build(ModelSpec(options.model, str(options.out)), kind.class_names, kind.templates)
    ids, looked_at = adversarial_ids(model, HARD, SIZES["test"])
    target = options.hard_ids or options.out.with_name(HARD_IDS.name)
    write_text(
        target, dumps({"set": HARD, "weights_sha256": sha256(options.out), "ids": ids}) + "\n"
    )
    return {
        "n": len(ids),
        "candidates": looked_at,
        "accuracy_before_filter": 1 - len(ids) / looked_at,
    }


def _check(options: Pretraining) -> None:
    targets = [options.out, options.out.with_suffix(".json")]
    if EMBEDDED in options.data:
        targets.append(options.hard_ids or options.out.with_name(HARD_IDS.name))
    for path in targets:
        if path.exists() and not options.overwrite:
            raise UserError(f"--out: {path} exists; name another file, or give --overwrite")
    if options.out.suffix != ".safetensors":
        raise UserError(
            f"--out {options.out}: the weights are written as .safetensors; name the file so"
        )
    for name in ("pairs", "views", "steps", "batch_size", "n"):
        if getattr(options, name) < 1:
            raise UserError(
                f"--{name.replace('_', '-')} must be at least 1, not {getattr(options, name)}"
            )
