"""One finished run along the line from its pretrained weights: WiSE-FT's whole curve of alpha, and LoRA's scale t."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import harmonic_mean
from typing import Any, Literal

from grace_geom.assess.measures import ATTACKED_BY_DEFAULT, Measures, Source, Target, targets
from grace_geom.assess.one import HERE, Sets, Silent, Watcher, begin, image_set_of, measure
from grace_geom.attacks import AttackSpec
from grace_geom.checkpoint import checkpoint_file, load_checkpoint
from grace_geom.checkpoint.line import line_of
from grace_geom.data import ImageSet, resolve
from grace_geom.devices import pick_device
from grace_geom.errors import UserError
from grace_geom.results import Accuracy, DialRecord, RecordError

CLEAN, HM = "held-out accuracy", "harmonic mean of held-out accuracy, clean and under PGD-10"


@dataclass(frozen=True)
class DialOptions:
    """Where on the line, and how one place is chosen.

    Attributes:
        t: Values of t: (1 - t) pretrained + t fine-tuned; default 0,0.1 ... 1, and on to 1.5 for low-rank adapters.
        choose: Choose t on held-out training images: clean accuracy, hm (its harmonic mean with PGD-10 accuracy at
            eps) or none; auto takes hm for methods that train on attacked images, else clean.
    """

    t: tuple[float, ...] = field(default=(), metadata={"group": "dial"})
    choose: Literal["auto", "clean", "hm", "none"] = "auto"

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, self.t)) or len(set(self.t)) < len(self.t):
            raise UserError(f"--t needs different finite numbers such as 0,0.5,1, not {list(self.t)}")

    def values(self, adapter: bool) -> tuple[float, ...]:
        """The values of t, ascending."""
        return tuple(sorted(self.t)) or tuple(i / 10 for i in range(16 if adapter else 11))

    def criterion(self, config: dict[str, Any]) -> str:
        """What the chosen t is best in; empty where none is chosen."""
        if self.choose == "auto":
            return HM if "eps" in config else CLEAN
        return {"clean": CLEAN, "hm": HM, "none": ""}[self.choose]


def dial_file(checkpoint: Path) -> Path:
    """``dial.json`` beside a run's ``ckpt.pt``; other checkpoints of a folder keep their name."""
    return checkpoint.with_name("dial.json" if checkpoint.name == "ckpt.pt" else f"{checkpoint.stem}.dial.json")


def dial(
    path: Path,
    options: DialOptions,
    measures: Measures,
    source: Source = HERE,
    *,
    watcher: Callable[[float], Watcher] = lambda t: Silent(),
    fresh: bool = False,
) -> tuple[DialRecord, tuple[float, ...]]:
    """Evaluate a run at each t, choose one on held-out images, and keep ``dial.json`` after every number.

    Numbers that an earlier call found for this checkpoint are not measured again, unless ``fresh``; its other points
    stay in the file.

    Args:
        path: A checkpoint of ours or a run directory.
        options: Which t.
        measures: What to measure.
        source: Where the images are.
        watcher: Who is told about the progress at a t.
        fresh: Measure everything again.

    Returns:
        The record, and the values of t that were asked for.

    Raises:
        UserError: For a checkpoint, its pretrained weights or data that cannot be read.
    """
    file = checkpoint_file(path)
    checkpoint, sets = load_checkpoint(file), Sets(source.data_root, source.download)
    config, data = checkpoint.config, str(source.data or checkpoint.config.get("data") or "")
    if not data:
        raise UserError(f"{file} does not say what it was trained on: add --data")
    line = line_of(checkpoint, pick_device(source.device))
    model = line.at(1.0)
    size = source.image_size or config.get("image_size") or model.image_size
    frame = begin(file, model, config, data, measures, size)
    record = DialRecord(frame.checkpoint, frame.run, frame.method, frame.settings, versions=frame.versions)
    record = record if fresh else _earlier(dial_file(file), record)
    criterion = options.criterion(config)
    wanted = targets(measures, data, config.get("ood"))
    given = checkpoint.templates if config.get("templates") else None
    asked = [(target, image_set_of(target, measures, sets, config, given)) for target in wanted]
    held_out = _held_out(config, measures, source, criterion) if criterion else []
    ts = options.values(bool(checkpoint.adapter))
    for t in ts:
        model, point = line.at(t), record.point(t)
        known = (*point.accuracies, *point.held_out)
        found: list[Accuracy] = []
        for accuracy, new in measure(model, [*held_out, *asked], known, measures, source, size, watcher(t)):
            found.append(accuracy)
            record = record.with_point(point.answered(found[len(held_out) :], found[: len(held_out)]))
            if new:
                record.save(dial_file(file))
    record = replace(record, **_choice(record, ts, criterion))
    record.save(dial_file(file))
    return record, ts


def _earlier(file: Path, record: DialRecord) -> DialRecord:
    """The points of an earlier call on the same checkpoint with the same settings."""
    if not file.is_file():
        return record
    try:
        earlier = DialRecord.load(file)
    except RecordError:  # truncated, or of a newer version: measured again and replaced
        return record
    same = (earlier.checkpoint, earlier.settings) == (record.checkpoint, record.settings)
    return replace(record, points=earlier.points) if same else record


def _held_out(
    config: dict[str, Any], measures: Measures, source: Source, criterion: str
) -> list[tuple[Target, ImageSet]]:
    """The images that training held out and looked at, clean, and fewer of them for a short attack."""
    spec, seed = str(config.get("data", source.data)), config.get("split_seed", 0)
    val = resolve(
        spec, "val", data_root=source.data_root or config.get("data_root"), seed=seed, download=source.download,
        val_fraction=config.get("val_fraction", 0.1), templates=config.get("templates"),
    ).subset(config.get("val_images", 5000), seed)  # fmt: skip
    clean = val.subset(measures.n, seed) if measures.n else val
    asked = [(Target("id", "held-out", spec, "val", None, None), clean)]
    if criterion == HM:
        attack = AttackSpec("pgd", measures.eps, steps=10)
        some = val.subset(measures.n_attack or measures.n or ATTACKED_BY_DEFAULT, seed)
        asked.append((Target("adv", "held-out", spec, "val", attack, None), some))
    return asked


def _choice(record: DialRecord, ts: tuple[float, ...], criterion: str) -> dict[str, Any]:
    """The t of the highest score, the smallest of equals."""
    if not criterion:
        return {"chosen": None, "chosen_by": ""}
    scores = {p.t: harmonic_mean([a.accuracy for a in p.held_out]) for p in record.points if p.t in ts}
    return {"chosen": max(scores, key=lambda t: (scores[t], -t)), "chosen_by": criterion}
