"""What experiment trackers get of an evaluation: every accuracy of the record, with its images."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from grace_geom.cli.types import Number
from grace_geom.evaluation.shift_tables import imagenet_clean
from grace_geom.records import (
    Accuracy,
    DialPoint,
    DialRecord,
    EvalRecord,
    class_counts,
    mean_per_class,
    summarise,
    worst_class,
)
from grace_geom.records.calibration import NAMES
from grace_geom.records.corruption import corruption_error
from grace_geom.tracking import Trackers

THOUSANDTHS = 1000
"""Of t: the step of a point on a line, since trackers count steps in whole numbers."""


def name_of(accuracy: Accuracy) -> str:
    """``ood/sketch/clean``, ``adv/test/pgd/linf-4_255``: no name is a folder of another one, as
    some trackers keep names as files and folders.
    """
    attack = accuracy.attack
    if attack is None:
        return f"{accuracy.suite}/{accuracy.data}/clean"
    radius = str(Number(attack["eps"])).replace("/", "_")
    return f"{accuracy.suite}/{accuracy.data}/{attack['name']}/{attack['norm']}-{radius}"


def numbers(record: EvalRecord) -> dict[str, float]:
    """Every accuracy in [0, 1] by :func:`name_of`, its images as ``n/NAME``, and where they are
    known ``mean-per-class/NAME``, ``worst-class/NAME``, ``calibration/NAME/ece`` (``nll``,
    ``brier``, and ``ece-scaled`` after temperature scaling), ``corruption/NAME/mce``
    (``relative-mce``, ``mean-error``) and ``groups/NAME/GROUP``; the summary as ``summary/HM``.

    Where several have one name (other steps, other images), those after the first one end in
    ``-2``, ``-3``.
    """
    found = of_accuracies(record.accuracies)
    return found | {f"summary/{k}": v for k, v in record.summary.items() if v is not None}


def of_accuracies(accuracies: Sequence[Accuracy]) -> dict[str, float]:
    """:func:`numbers` without the summary."""
    imagenet = imagenet_clean(accuracies)
    found: dict[str, float] = {}
    for a in accuracies:
        name, other = name_of(a), 2
        while name in found:
            name, other = f"{name_of(a)}-{other}", other + 1
        found |= {name: a.accuracy, f"n/{name}": float(a.n)}
        found |= _by_class(a, name) | _calibration(a, name) | _corruption(a, name, imagenet)
        for group in a.groups:
            found[f"groups/{name}/{group['name']}"] = float(group["accuracy"])
    return found


def _by_class(a: Accuracy, name: str) -> dict[str, float]:
    if not (a.labels and a.outcomes):
        return {}
    counts = class_counts(a)
    worst = worst_class(counts)[1].value
    return {f"mean-per-class/{name}": mean_per_class(counts).value, f"worst-class/{name}": worst}


def _calibration(a: Accuracy, name: str) -> dict[str, float]:
    if not a.scores:
        return {}
    found = {f"calibration/{name}/temperature": float(a.scores["temperature"])}
    for kind, end in (("plain", ""), ("scaled", "-scaled")):
        for score in NAMES:
            found[f"calibration/{name}/{score}{end}"] = float(a.scores[kind][score]["value"])
    return found


def _corruption(a: Accuracy, name: str, imagenet: Accuracy | None) -> dict[str, float]:
    error = None if a.attack else corruption_error(a, imagenet)
    if error is None:
        return {}
    each = {"mean-error": error.mean, "mce": error.mce, "relative-mce": error.relative}
    return {f"corruption/{name}/{what}": x for what, x in each.items() if x is not None}


def report(
    record: EvalRecord,
    file: Path,
    names: Sequence[str],
    say: Callable[[str], object],
    only: Mapping[str, float] | None = None,
) -> None:
    """Give a record to trackers. The same file is the same tracker run, beside that of the
    training, which may still be under way.

    Args:
        record: As it was saved.
        file: Where.
        names: Of the trackers.
        say: Shows a line to the user.
        only: Report these numbers, which come of several records, in place of :func:`numbers`.
    """
    trackers = _begun(record, file, names, say)
    trackers.log(0, numbers(record) if only is None else only)
    trackers.finish("finished")


def report_line(
    record: DialRecord,
    ts: Sequence[float],
    file: Path,
    names: Sequence[str],
    say: Callable[[str], object],
) -> None:
    """Give the points of a line to trackers: at step ``1000 t``, rounded, the numbers of
    :func:`numbers`, ``t`` itself and ``held-out/...``; at the end ``chosen-t``, where one was
    chosen.

    Args:
        record: As it was saved.
        ts: Which points.
        file: Where the record is.
        names: Of the trackers.
        say: Shows a line to the user.
    """
    trackers = _begun(record, file, names, say)
    for point in (p for p in record.points if p.t in ts):
        trackers.log(round(THOUSANDTHS * point.t), _point(point))
    if record.chosen is not None:
        trackers.log(round(THOUSANDTHS * record.chosen), {"chosen-t": record.chosen})
    trackers.finish("finished")


def _point(point: DialPoint) -> dict[str, float]:
    found = {"t": point.t} | of_accuracies(point.accuracies)
    found |= {f"held-out/{name_of(a)}": a.accuracy for a in point.held_out}
    summary = summarise(point.accuracies)
    return found | {f"summary/{name}": e.value for name, e in summary.items() if e is not None}


def _begun(
    record: EvalRecord | DialRecord, file: Path, names: Sequence[str], say: Callable[[str], object]
) -> Trackers:
    trackers = Trackers(names, file.parent, file.stem, say=say)
    about: dict[str, Any] = {"checkpoint": record.checkpoint, "method": record.method}
    if isinstance(record, EvalRecord):
        about["seed"] = record.seed
    trackers.start(dict(record.settings) | about, f"{record.run}/{file.stem}")
    return trackers
