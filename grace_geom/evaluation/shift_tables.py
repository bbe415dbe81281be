"""Distribution shift on a terminal: mean corruption error, effective robustness."""

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from grace_geom.evaluation.table import names_of
from grace_geom.methods import METHODS
from grace_geom.records import (
    Accuracy,
    Estimate,
    EvalRecord,
    RecordError,
    is_mean_per_class,
    shown,
    strongest,
)
from grace_geom.records.corruption import corruption_error
from grace_geom.records.effective import ProbitLine, effective_robustness, fit_line, share_of
from grace_geom.tables import Cell, Table, percent


def corruption_error_table(records: Sequence[EvalRecord]) -> Table | None:
    """mCE, relative mCE and mean error of every corruption set; ``None`` where there is none."""
    rows: list[list[Cell | str]] = []
    published = False
    for name, record in zip(names_of(records), records, strict=True):
        clean = imagenet_clean(record.accuracies)
        for a in strongest(record.accuracies):
            found = None if a.attack else corruption_error(a, clean)
            if found is None:
                continue
            published |= found.mce is not None
            cells = [
                percent(found.mce, *(found.mce_interval or (None, None))),
                percent(found.relative, *(found.relative_interval or (None, None))),
                percent(found.mean, *found.mean_interval),
            ]
            rows.append([name, a.data, str(a.n), *cells])
    if not rows:
        return None
    notes = [
        "Errors in %; the mean error is over corruptions, of means over severities (the convention "
        "for CIFAR-10-C and CIFAR-100-C). 95 % intervals take all parts to err together, which is "
        "the widest."
    ]
    if published:
        notes.append(
            "mCE and relative mCE: the 15 corruptions of ImageNet-C, divided by AlexNet's errors "
            "(Hendrycks & Dietterich 2019); relative: rise over the clean error, which needs "
            "accuracy on ImageNet (--suites id)."
        )
    heads = ["", "data", "images", "mCE", "relative mCE", "mean error"]
    return Table(heads, rows, labels=3, title="Corruption error", notes=notes)


def imagenet_clean(accuracies: Sequence[Accuracy]) -> Accuracy | None:
    """The clean accuracy on ImageNet that a relative mCE needs, where it was measured."""
    return _imagenet(_clean(accuracies))


def _clean(accuracies: Sequence[Accuracy]) -> Accuracy | None:
    """The ID accuracy without attack."""
    found = [a for a in strongest(accuracies) if a.suite == "id" and a.attack is None]
    return found[0] if found else None


def _imagenet(clean: Accuracy | None) -> Accuracy | None:
    return clean if clean is not None and clean.spec == "imagenet" else None


def without_attack(record: EvalRecord) -> bool:
    """Whether a run's method trains on clean images only; ``False`` where the method is not
    known.
    """
    method = METHODS.get(record.method)
    return method is not None and "eps" not in {f.name for f in dataclasses.fields(method)}


@dataclasses.dataclass(frozen=True)
class OnLine:
    """A checkpoint beside the line of an OOD set.

    Attributes:
        data: The set.
        name: Of the checkpoint, as tables call it.
        line: Through the models trained without attack.
        clean, ood: ID and OOD accuracy.
    """

    data: str
    name: str
    line: ProbitLine
    clean: Accuracy
    ood: Accuracy

    @property
    def above(self) -> Estimate:
        """Effective robustness."""
        return effective_robustness(self.line, self.clean, self.ood)


def effective_table(records: Sequence[EvalRecord]) -> Table:
    """Rows are checkpoints and OOD sets: how far each lies above the line through the models that
    were trained without attack.

    Only checkpoints that were measured on the same ID and OOD images share a line; a set without a
    line is named below the table.

    Raises:
        RecordError: If no OOD set has three such models of different ID accuracy.
    """
    names = names_of(records)
    clean_models = {n for n, r in zip(names, records, strict=True) if without_attack(r)}
    found, notes = on_lines(records)
    rows = [[x.data, x.name + " *" * (x.name in clean_models), *_cells(x)] for x in found]
    notes = [
        "Effective robustness: OOD accuracy minus what the line foretells for the ID accuracy, in "
        "points (Taori et al. 2020; probit axes). Band: 95 % of the line (Student's t). The "
        "interval joins the band and that of the OOD accuracy (Newcombe), taken as independent: "
        "for models of the line itself (*), which pull it towards them, it is only a guide.",
        *notes,
    ]
    heads = ["data", "", "ID", "OOD", "line", "effective robustness"]
    return Table(heads, rows, labels=2, title="Effective robustness", notes=notes)


def effective_numbers(records: Sequence[EvalRecord]) -> list[dict[str, float]]:
    """For each record its effective robustness by OOD set, in shares of 1; none where no set has a
    line.
    """
    names = names_of(records)
    try:
        found, _ = on_lines(records)
    except RecordError:  # why is said where the table would stand
        return [{} for _ in names]
    return [{x.data: x.above.value for x in found if x.name == name} for name in names]


def on_lines(records: Sequence[EvalRecord]) -> tuple[list[OnLine], list[str]]:
    """Every checkpoint beside the lines of its OOD sets, and what must be known of each line.

    Raises:
        RecordError: If no OOD set has a line.
    """
    names = names_of(records)
    clean_models = {n for n, r in zip(names, records, strict=True) if without_attack(r)}
    found: list[OnLine] = []
    notes: list[str] = []
    sets = {a.data for record in records for a in _shifted(record)}
    if not sets:
        raise RecordError("--effective-robustness needs OOD sets: add --suites id,ood")
    refused = []
    for data in sorted(sets):
        pairs, apart = _same_images(_pairs(names, records, data), clean_models)
        notes += [f"{data}: {note}" for note in apart]
        try:
            line = fit_line([pair for name, pair in pairs.items() if name in clean_models])
        except RecordError as error:
            refused.append("; ".join([f"{data}: {error}", *apart]))
            notes.append(f"{data}: {error}.")
            continue
        found += [OnLine(data, name, line, *pair) for name, pair in pairs.items()]
        notes.append(
            f"{data}: probit(OOD) = {line.intercept:.3f} + {line.slope:.3f} probit(ID), "
            f"{line.n} models, R² = {line.r2:.2f}."
        )
    if not found:
        raise RecordError(f"--effective-robustness, {'; '.join(refused)}")
    return found, notes


def _cells(x: OnLine) -> list[Cell | str]:
    """ID and OOD accuracy, what the line foretells, and what is above it."""
    above, there = x.above, shown(x.ood)
    return [
        percent(shown(x.clean).value),
        percent(there.value, there.low, there.high),
        percent(*x.line.at(share_of(x.clean))),
        percent(above.value, above.low, above.high, signed=True),
    ]


def _pairs(
    names: Sequence[str], records: Sequence[EvalRecord], data: str
) -> dict[str, tuple[Accuracy, Accuracy]]:
    """Checkpoint -> its ID accuracy and that on the OOD set of this name."""
    return {
        name: (clean, ood)
        for name, record in zip(names, records, strict=True)
        for ood in _shifted(record)
        if ood.data == data and (clean := _clean(record.accuracies)) is not None
    }


def _same_images(
    pairs: Mapping[str, tuple[Accuracy, Accuracy]], clean_models: Collection[str]
) -> tuple[dict[str, tuple[Accuracy, Accuracy]], list[str]]:
    """The checkpoints measured on the images that most models of a line were measured on (of
    equals, most checkpoints, then the first), and a sentence about the others.
    """

    def images(name: str) -> tuple[object, ...]:
        clean, ood = pairs[name]
        return clean.sample, ood.sample, is_mean_per_class(clean), is_mean_per_class(ood)

    on_line = Counter(images(name) for name in pairs if name in clean_models)
    all_of = Counter(map(images, pairs))
    usual = max(all_of, key=lambda key: (on_line[key], all_of[key]), default=None)
    apart = [name for name in pairs if images(name) != usual]
    note = f"left out, for their ID or OOD images are not those of the others: {', '.join(apart)}."
    return {n: pair for n, pair in pairs.items() if n not in apart}, [note] if apart else []


def _shifted(record: EvalRecord) -> Iterator[Accuracy]:
    return (a for a in strongest(record.accuracies) if a.suite == "ood" and a.attack is None)
