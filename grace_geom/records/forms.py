"""What each entry of an ``eval.json``, ``dial.json`` or ``NAME.json`` must be, for
:func:`grace_geom.records.schema.checked`.

The forms say what readers rely on; entries beyond them stay in the records as they are.
"""

import base64
import binascii
import math
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType

from grace_geom.records.accuracy import Accuracy, numbers_of, outcomes_of
from grace_geom.records.schema import Plain, checked, misfit

Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0, le=10**8)]
"""Of images: more than any evaluation set has, and no more than memory can hold a byte each."""
Positive = Annotated[int, Meta(ge=1, le=10**8)]
Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class _AttackPart(Struct):
    name: str = ""
    steps: Count = 0
    restarts: Count = 1


class _Attack(Struct):
    name: str
    eps: Annotated[float, Meta(ge=0, le=1e6)]
    norm: str = ""
    precision: str = ""
    seed: int | None = None
    parts: list[_AttackPart] = []


class _Part(Struct):
    name: str = ""
    robust: Count | UnsetType = UNSET
    ci_low: Share | UnsetType = UNSET
    ci_high: Share | UnsetType = UNSET
    outcomes: str = ""


class _Subset(Struct, frozen=True):
    of: Positive | UnsetType = UNSET
    seed: Seed | None = None
    ids_sha256: str | None = None
    content: str | None = None
    templates: str | None = None
    ids: list[int] = []


class _Group(Struct):
    name: str
    accuracy: Share
    n: Count = 0
    correct: Count = 0


class _Score(Struct):
    value: float
    ci_low: float
    ci_high: float | None


class _Trio(Struct):
    nll: _Score
    ece: _Score
    brier: _Score


class _Scores(Struct):
    plain: _Trio | UnsetType = UNSET
    scaled: _Trio | UnsetType = UNSET
    temperature: float | UnsetType = UNSET
    held_out: Positive | UnsetType = UNSET


class AccuracyForm(Struct):
    """An :class:`Accuracy` as it lies in a file."""

    suite: Literal["id", "ood", "adv", "natural_adv", "zeroshot"]
    data: str
    spec: str
    n: Positive
    correct: Count
    accuracy: Share
    ci_low: Share
    ci_high: Share
    seconds: Annotated[float, Meta(ge=0)]
    head: str = ""
    attack: _Attack | None = None
    parts: list[_Part] = []
    subset: _Subset = _Subset()
    outcomes: str = ""
    notes: list[str] = []
    groups: list[_Group] = []
    class_names: list[str] = []
    labels: str = ""
    predictions: str = ""
    metric: Literal["", "mean-per-class"] = ""
    scores: _Scores | None = None


class PointForm(Struct):
    """A point of a ``dial.json``."""

    t: Annotated[float, Meta(ge=-1e6, le=1e6)]
    accuracies: list[dict[str, Any]]
    held_out: list[dict[str, Any]]


class MeasureForm(Struct):
    """A number of an analysis; ``null`` is NaN, which JSON has not."""

    value: float | None
    error: float | None = None
    low: float | None = None
    high: float | None = None
    level: float = 0.95
    estimator: str = ""
    unit: str = ""


class ArrayForm(Struct):
    """An array of the npz; ``key`` is its name there where that is not ``LABEL/NAME``."""

    shape: list[Annotated[int, Meta(ge=0, le=2**40)]]
    dtype: str
    key: str = ""


class PartForm(Struct):
    """What an analysis found on one checkpoint."""

    values: dict[str, MeasureForm]
    arrays: dict[str, ArrayForm]
    n: dict[str, Count]
    not_measured: str = ""


class CheckpointForm(Struct):
    """A checkpoint that an analysis measured; ``n`` is of format 1. ``images``: set -> how many
    and their digest; ``base``: digest of the weights that it began from; ``others``: label ->
    SHA-256 of the other checkpoints that were read, such as a reference.
    """

    label: str = ""
    path: str = ""
    sha256: str = ""
    run: str = ""
    method: str = ""
    n: dict[str, Count] = {}
    images: dict[str, tuple[Count, str]] = {}
    base: str = ""
    others: dict[str, str] = {}


class FlatForm(Struct):
    """A result of format 1: names begin with ``LABEL/`` where there are several checkpoints."""

    name: str
    checkpoints: list[CheckpointForm]
    settings: dict[str, Any]
    values: dict[str, MeasureForm]
    arrays: dict[str, ArrayForm] = {}
    npz_sha256: str = ""
    seconds: float = 0.0
    versions: dict[str, Any] = {}


class ResultForm(FlatForm, kw_only=True):
    """A result of format 2; ``values`` and ``arrays`` are about all checkpoints together."""

    parts: dict[str, PartForm]


def read_accuracies(
    rows: list[Plain], path: Path | str, mend: str, at: str = "$.accuracies"
) -> tuple[Accuracy, ...]:
    """Accuracies from their JSON objects, each checked by type and against itself.

    Raises:
        RecordError: Naming the file and the key.
    """
    return tuple(_read(row, path, mend, f"{at}[{i}]") for i, row in enumerate(rows))


def _read(row: Plain, path: Path | str, mend: str, at: str) -> Accuracy:
    form = checked(row, AccuracyForm, path, mend, at)
    for key, what in _contradictions(form):
        raise misfit(path, f"{at}.{key}", what, mend)
    return checked(row, Accuracy, path, mend, at)


def _contradictions(a: AccuracyForm) -> list[tuple[str, str]]:
    """Entries that cannot be true together, as ``(key, what is wrong)``."""
    found = []
    if a.correct > a.n:
        found.append(("correct", f"{a.correct} of n = {a.n}"))
    if not math.isclose(a.accuracy, a.correct / a.n, abs_tol=1e-6):
        found.append(("accuracy", f"{a.accuracy:g} is not correct / n = {a.correct / a.n:g}"))
    if not a.ci_low - 1e-9 <= a.accuracy <= a.ci_high + 1e-9:
        found.append(("ci_low", f"{a.accuracy:g} lies outside {a.ci_low:g} to {a.ci_high:g}"))
    if a.subset.of is not UNSET and a.subset.of < a.n:
        found.append(("subset.of", f"{a.subset.of} is less than n = {a.n}"))
    counted = _counted(a.outcomes, a.n)
    if counted == -1:
        found.append(("outcomes", f"no outcome for each of n = {a.n} images"))
    elif counted not in (None, a.correct):
        found.append(("outcomes", f"{counted} right, where correct is {a.correct}"))
    for i, part in enumerate(a.parts):
        if part.robust is not UNSET and part.robust > a.n:
            found.append((f"parts[{i}].robust", f"{part.robust} of n = {a.n}"))
    first = a.parts[0] if a.parts and a.attack and a.attack.name != "apgd-ce" else None
    if first is not None and first.name == "apgd-ce":
        wanted = ("robust", "ci_low", "ci_high")
        found += [
            (f"parts[0].{key}", "is missing") for key in wanted if getattr(first, key) is UNSET
        ]
    return found or _unlike_classes(a)


def _unlike_classes(a: AccuracyForm) -> list[tuple[str, str]]:
    """What contradicts the rest of the record among labels and predictions."""
    each: dict[str, np.ndarray] = {}
    for key in ("labels", "predictions"):
        if packed := getattr(a, key):
            each[key] = found = numbers_of(packed, a.n)
            if len(found) != a.n:
                return [(key, f"not one for each of n = {a.n} images")]
            if found.min() < 0 or found.max() >= len(a.class_names):
                return [(key, f"not all among the {len(a.class_names)} class_names")]
    if len(each) == 2 and a.outcomes:
        right = outcomes_of(a.outcomes, a.n)
        if not np.array_equal(each["predictions"] == each["labels"], right):
            return [("predictions", "they are not right where outcomes say so")]
    return []


def _counted(packed: str, n: int) -> int | None:
    """Right answers of packed outcomes; ``None`` where totals are all there is, -1 where they are
    not legible or not one for each image.
    """
    try:
        data = base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError):
        return -1
    if not packed:
        return None
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    return int(bits[:n].sum()) if len(data) == -(-n // 8) else -1
