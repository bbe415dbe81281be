"""What experiment trackers get of an evaluation: every accuracy of the record, with its images."""

from collections.abc import Callable, Sequence
from pathlib import Path

from grace_geom.cli.types import Number
from grace_geom.records import Accuracy, EvalRecord
from grace_geom.tracking import Trackers


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
    """Every accuracy in [0, 1] by :func:`name_of`, its images as ``n/NAME``, accuracies of groups
    as ``groups/NAME/GROUP``, and the summary as ``summary/HM``.

    Where several have one name (other steps, other images), those after the first one end in
    ``-2``, ``-3``.
    """
    found: dict[str, float] = {}
    for a in record.accuracies:
        name, other = name_of(a), 2
        while name in found:
            name, other = f"{name_of(a)}-{other}", other + 1
        found |= {name: a.accuracy, f"n/{name}": float(a.n)}
        for group in a.groups:
            found[f"groups/{name}/{group['name']}"] = float(group["accuracy"])
    return found | {f"summary/{k}": v for k, v in record.summary.items() if v is not None}


def report(
    record: EvalRecord, file: Path, names: Sequence[str], say: Callable[[str], object]
) -> None:
    """Give a record to trackers. The same file is the same tracker run, beside that of the
    training, which may still be under way.

    Args:
        record: As it was saved.
        file: Where.
        names: Of the trackers.
        say: Shows a line to the user.
    """
    trackers = Trackers(names, file.parent, file.stem, say=say)
    about = {"checkpoint": record.checkpoint, "method": record.method, "seed": record.seed}
    trackers.start(dict(record.settings) | about, f"{record.run}/{file.stem}")
    trackers.log(0, numbers(record))
    trackers.finish("finished")
