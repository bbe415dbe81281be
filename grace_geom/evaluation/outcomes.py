"""Outcomes image by image: gathered while a checkpoint is evaluated, written as CSV or Parquet."""

import io
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from grace_geom.data import ImageSet
from grace_geom.data.places import file_names
from grace_geom.errors import UserError
from grace_geom.evaluation.per_image import PerImage
from grace_geom.files import atomic_write
from grace_geom.records import Accuracy, attack_text
from grace_geom.records.accuracy import outcomes_of

KINDS = (".csv", ".parquet")
DIGITS = 8
"""Of an archive's SHA-256, in a column's head."""


@dataclass
class SetOutcomes:
    """What one accuracy was made of.

    Attributes:
        image_set: The images.
        accuracy: Their accuracy.
        seen: What the model said about each (:mod:`~grace_geom.evaluation.per_image`).
        moved: Positions and adversarial images, ``(b, c, h, w)`` in [0, 1] on the CPU, batch by
            batch; empty unless they were asked for.
    """

    image_set: ImageSet
    accuracy: Accuracy
    seen: PerImage
    moved: list[tuple[np.ndarray, Tensor]] = field(default_factory=list)


class Gatherer:
    """Keeps what :func:`~grace_geom.evaluation.evaluate_set` sees of each image.

    Args:
        images: Keep adversarial images, too.
    """

    def __init__(self, images: bool = False) -> None:
        self.images, self.found = images, list[SetOutcomes]()
        self._moved: list[tuple[np.ndarray, Tensor]] = []

    def adversarial(self, positions: np.ndarray, moved: Tensor) -> None:
        """A batch was attacked: positions ``(b,)`` in the set, adversarial images."""
        if self.images:
            self._moved.append((positions, moved.float().cpu()))

    def add(self, image_set: ImageSet, accuracy: Accuracy, seen: PerImage) -> None:
        """A set is done."""
        self.found.append(SetOutcomes(image_set, accuracy, seen, self._moved))
        self._moved = []


def check_kind(path: Path) -> None:
    """Refuse a file that is neither CSV nor Parquet, before anything is measured.

    Raises:
        UserError: By the ending of its name.
    """
    if path.suffix not in KINDS:
        raise UserError(f"--outcomes {path}: the name must end in {' or '.join(KINDS)}")


def write_outcomes(path: Path, runs: list[tuple[str, list[SetOutcomes]]]) -> None:
    """One row for each image of each data set of each run.

    Columns: ``run``, ``suite`` (attacked images stand in the rows of ``id``), ``data``, ``index``
    (place in the source), ``file`` (empty where images lie in an array), ``label``,
    ``label_name``, ``prediction``, ``prediction_name``, ``margin`` (logit of the label less the
    highest other), and for each attack ``ATTACK: prediction``, ``: standing`` (right with and
    without the attack), ``: margin`` and ``: radius`` (distance of the adversarial image in the
    attack's norm, in pixels of [0, 1]; empty where none was found, 0 for an image that is wrong
    without attack); ``ATTACK, PART: standing`` for attacks of several parts. Where two archives of
    adversarial images have one name and radius, ``ATTACK`` ends in the first digits of the
    archive's SHA-256.

    Args:
        path: ``.csv`` or ``.parquet``; replaced if it is there.
        runs: Name of each run and what was gathered.

    Raises:
        UserError: If the file cannot be written, or Parquet support (pyarrow) is not installed.
    """
    import pandas as pd

    rows: dict[tuple[str, str, str, int], dict[str, Any]] = {}
    shared = _shared_heads([some.accuracy for _, found in runs for some in found])
    for run, found in runs:
        for some in found:
            for key, row in _rows(run, some, shared):
                rows.setdefault(key, {}).update(row)
    frame = pd.DataFrame(list(rows.values()))
    whole = {"index", "label", "prediction"}
    for name in frame.columns:
        kind = name.rpartition(": ")[2]
        if kind in whole:
            frame[name] = frame[name].astype("Int64")
        elif kind == "standing":
            frame[name] = frame[name].astype("boolean")
    with atomic_write(path) as file:
        file.write(_bytes(frame, path.suffix))


def _bytes(frame: Any, kind: str) -> bytes:
    if kind == ".csv":
        return frame.to_csv(index=False, lineterminator="\n").encode()  # type: ignore[no-any-return]
    data = io.BytesIO()
    try:
        frame.to_parquet(data, index=False)
    except ImportError:
        raise UserError(
            "--outcomes: Parquet needs pyarrow: pip install pyarrow, or use .csv"
        ) from None
    return data.getvalue()


def _shared_heads(accuracies: Iterable[Accuracy]) -> set[str]:
    """Heads that several archives of adversarial images of one data set would have."""
    archives: dict[tuple[str, str, str], set[str]] = {}
    for a in accuracies:
        if a.attack is not None and a.transferred:
            key = attack_text(a.attack, "name"), a.spec, a.data
            archives.setdefault(key, set()).add(a.attack["source"]["sha256"])
    return {head for (head, *_), digests in archives.items() if len(digests) > 1}


def _rows(
    run: str, some: SetOutcomes, shared: Container[str]
) -> list[tuple[tuple[str, str, str, int], dict[str, Any]]]:
    """Key and columns of each image; ``shared`` are heads that need digits of the archive."""
    a, s, seen = some.accuracy, some.image_set, some.seen
    suite = "id" if a.suite == "adv" else a.suite
    attacked = a.attack is not None
    predicted = seen["clean"] if attacked else seen["predicted"]
    columns: dict[str, list[Any]] = {
        "index": s.index.tolist(),
        "file": file_names(s),
        "label": s.labels.tolist(),
        "label_name": [s.class_names[i] for i in s.labels],
        "prediction": predicted.tolist(),
        "prediction_name": [s.class_names[i] for i in predicted],
        "margin": seen["clean_margin" if attacked else "margin"].tolist(),
    }
    if attacked:
        columns |= _attacked(a, seen, shared)
    names = list(columns)
    each = zip(*columns.values(), strict=True)
    about = {"run": run, "suite": suite, "data": a.data}
    return [
        ((run, suite, a.spec + a.data, row[0]), about | dict(zip(names, row, strict=True)))
        for row in each
    ]


def _attacked(a: Accuracy, seen: PerImage, shared: Container[str]) -> dict[str, list[Any]]:
    name = attack_text(a.attack, "name")
    if a.attack is not None and a.transferred and name in shared:
        name = f"{name} {a.attack['source']['sha256'][:DIGITS]}"
    columns = {
        f"{name}: prediction": seen["predicted"].tolist(),
        f"{name}: standing": a.right().tolist(),
        f"{name}: margin": seen["margin"].tolist(),
        f"{name}: radius": seen["radius"].tolist(),
    }
    if len(a.parts) > 1:
        columns |= {
            f"{name}, {part['name']}: standing": outcomes_of(part["outcomes"], a.n).tolist()
            for part in a.parts
        }
    return columns
