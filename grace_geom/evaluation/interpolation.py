"""One finished run along the line from its pretrained weights: WiSE-FT's whole curve of alpha, and
LoRA's scale t.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import harmonic_mean
from typing import Any, Literal

from grace_geom.attacks import AttackSpec
from grace_geom.checkpoint import Checkpoint, checkpoint_file, load_checkpoint
from grace_geom.checkpoint.line import line_of
from grace_geom.data import ImageSet
from grace_geom.devices import pick_device
from grace_geom.errors import NotFiniteError, UserError
from grace_geom.evaluation.held_out import held_out_images
from grace_geom.evaluation.image_sets import Sets
from grace_geom.evaluation.measures import ATTACKED_BY_DEFAULT, Measures, Source, Target, targets
from grace_geom.evaluation.one_checkpoint import HERE, answer, begin, image_set_of, measure
from grace_geom.evaluation.record_files import aside_of, other_data, record_file, set_aside
from grace_geom.evaluation.watching import Silent, Watcher
from grace_geom.files import read_whole
from grace_geom.records import Accuracy, DialPoint, DialRecord, NewerRecordError, RecordError
from grace_geom.terminal import say

CLEAN, HM = "held-out accuracy", "harmonic mean of held-out accuracy, clean and under PGD-10"


@dataclass(frozen=True)
class DialOptions:
    """Where on the line, and how one place is chosen.

    Attributes:
        t: Values of t: (1 - t) pretrained + t fine-tuned; default: 0, 0.1 ... 1, and up to 1.5 for
            low-rank adapters.
        choose: How to choose t on held-out training images: by clean accuracy, by its harmonic mean
            with PGD-10 accuracy at eps (hm), or not at all (none); auto: hm for methods that train
            on attacked images, else clean.
    """

    t: tuple[float, ...] = field(default=(), metadata={"group": "interpolation"})
    choose: Literal["auto", "clean", "hm", "none"] = "auto"

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, self.t)) or len(set(self.t)) < len(self.t):
            raise UserError(
                f"--t needs different finite numbers such as 0,0.5,1, not {list(self.t)}"
            )

    def values(self, adapter: bool) -> tuple[float, ...]:
        """The values of t, ascending."""
        return tuple(sorted(self.t)) or tuple(i / 10 for i in range(16 if adapter else 11))

    def criterion(self, config: dict[str, Any]) -> str:
        """What the chosen t is best in; empty where none is chosen."""
        if self.choose == "auto":
            return HM if "eps" in config else CLEAN
        return {"clean": CLEAN, "hm": HM, "none": ""}[self.choose]


def refuse_foreign(source: Source) -> None:
    """Refuse what says how to read a foreign checkpoint: a line begins at a run's own pretrained
    weights.

    Raises:
        UserError: Naming the flag.
    """
    for name in ("model", "pretrained", "weights", "preprocess", "classes"):
        if getattr(source, name) is not None:
            raise UserError(
                f"--{name} is for foreign checkpoints, which have no line: leave it out"
            )


def dial(
    path: Path,
    options: DialOptions,
    measures: Measures,
    source: Source = HERE,
    *,
    watcher: Callable[[float], Watcher] = lambda t: Silent(),
    fresh: bool = False,
    say: Callable[[str], object] = lambda text: None,
) -> tuple[DialRecord, tuple[float, ...], Path]:
    """Evaluate a run at each t, choose one on held-out images, and keep ``dial.json`` after every
    number.

    Numbers that an earlier call found for this checkpoint are not measured again, unless ``fresh``;
    its other points stay in the file, and t is chosen among all that were scored on the same
    held-out images. Another ID data set than the run's own, and another image size, have a file of
    their own, as those of ``evaluate``.

    Args:
        path: A checkpoint of ours or a run directory.
        options: Which t.
        measures: What to measure.
        source: Where the images are.
        watcher: Who is told about the progress at a t.
        fresh: Measure everything again.
        say: Told what became of an earlier record that does not belong to this one.

    Returns:
        The record, the values of t that were asked for, and the file.

    Raises:
        UserError: For a checkpoint, its pretrained weights or data that cannot be read, or NaN at a
            t.
    """
    refuse_foreign(source)
    file = checkpoint_file(path)
    checkpoint, sha = read_whole(file, lambda: load_checkpoint(file, verify=not source.no_verify))
    sets = Sets(source.data_root, source.download)
    config, data = checkpoint.config, str(source.data or checkpoint.config.get("data") or "")
    if not data:
        raise UserError(f"{file} does not say what it was trained on: add --data")
    line = line_of(checkpoint, pick_device(source.device))
    model = line.at(1.0)
    size = source.image_size or config.get("image_size") or model.image_size
    frame = begin(file, sha, model, config, data, measures, size)
    record = DialRecord(
        frame.checkpoint, frame.run, frame.method, frame.settings, versions=frame.versions
    )
    into = record_file(file, source.image_size, other_data(source, config), kind="dial")
    set_aside(into, record, say)
    record = _earlier(into, record)
    criterion = options.criterion(config)
    wanted = targets(measures, data, config.get("ood"))
    given = checkpoint.templates if config.get("templates") else None
    asked = [
        (target, image_set_of(target, measures, sets, config, given, checkpoint))
        for target in wanted
    ]
    held_out = _held_out(checkpoint, measures, source, criterion) if criterion else []
    ts = options.values(bool(checkpoint.adapter))
    for t in ts:
        model, point = line.at(t), record.point(t)
        known = () if fresh else (*point.accuracies, *point.held_out)
        found: list[Accuracy] = []
        try:
            for accuracy, new in measure(
                model, [*held_out, *asked], known, measures, source, size, watcher(t)
            ):
                found.append(accuracy)
                record = record.with_point(
                    point.answered(found[len(held_out) :], found[: len(held_out)])
                )
                if new:
                    record = record.merged_into(into, aside=aside_of(into))
        except NotFiniteError as error:
            raise _not_finite(t, error) from None
    if criterion:
        record = replace(record, **_choice(record, held_out, measures.eval_seed, criterion))
    return record.merged_into(into, aside=aside_of(into)), ts, into


def _not_finite(t: float, error: NotFiniteError) -> NotFiniteError:
    if 0 <= t <= 1:
        return NotFiniteError(f"at t = {t:g}: {error}")
    return NotFiniteError(
        f"at t = {t:g} the model's logits are not finite: give --t values nearer to 0 ... 1"
    )


def _earlier(file: Path, record: DialRecord) -> DialRecord:
    """The points of an earlier call on the same checkpoint with the same settings, and the t that
    was chosen: it stands until another is.

    Raises:
        UserError: If a newer version wrote them: going on would lose what that found.
    """
    if not file.is_file():
        return record
    try:
        earlier = DialRecord.load(file)
    except NewerRecordError:
        raise
    except RecordError as error:
        say(f"{error}: it is measured anew and replaced")
        return record
    same = (earlier.checkpoint, earlier.settings) == (record.checkpoint, record.settings)
    if not same:
        return record
    return replace(
        record, points=earlier.points, chosen=earlier.chosen, chosen_by=earlier.chosen_by
    )


def _held_out(
    run: Checkpoint, measures: Measures, source: Source, criterion: str
) -> list[tuple[Target, ImageSet]]:
    """The images that training held out and looked at, clean, and fewer of them for a short
    attack."""
    spec = str(run.config.get("data", source.data))
    held_out, most, seed = held_out_images(spec, run, source)
    val = held_out.subset(most, seed)
    clean = val.subset(measures.n, seed) if measures.n else val
    asked = [(Target("id", "held-out", spec, "val", None, None), clean)]
    if criterion == HM:
        attack = AttackSpec("pgd", measures.radius, measures.norm, steps=10)
        some = val.subset(measures.n_attack or measures.n or ATTACKED_BY_DEFAULT, seed)
        asked.append((Target("adv", "held-out", spec, "val", attack, None), some))
    return asked


def _choice(
    record: DialRecord, held_out: list[tuple[Target, ImageSet]], seed: int, criterion: str
) -> dict[str, Any]:
    """The t of the highest score, the smallest of equals, of all points that were scored on these
    images.
    """
    found = {p.t: _scores(p, held_out, seed) for p in record.points}
    scores = {t: harmonic_mean(parts) for t, parts in found.items() if len(parts) == len(held_out)}
    best = max(scores.values())
    first, *others = sorted(t for t, score in scores.items() if score == best)
    if others:
        criterion += (
            f"; t = {', '.join(f'{t:g}' for t in others)} the same, of equals the smallest is taken"
        )
    return {"chosen": first, "chosen_by": criterion}


def _scores(point: DialPoint, held_out: list[tuple[Target, ImageSet]], seed: int) -> list[float]:
    """The point's answers to these questions; fewer where some are missing or of other images."""
    found = [answer(point.held_out, target, seed, images) for target, images in held_out]
    return [a.accuracy for a in found if a is not None]
