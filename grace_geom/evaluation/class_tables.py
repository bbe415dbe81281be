"""Class by class: a table for the terminal, CSV files of per-class accuracies and confusions."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from grace_geom.data.base import digest_text
from grace_geom.evaluation.table import TITLES, each_attack, names_of
from grace_geom.files import write_text
from grace_geom.records import (
    Accuracy,
    EvalRecord,
    attack_text,
    class_counts,
    confusion,
    mean_per_class,
    wilson,
    worst_class,
)
from grace_geom.tables import Cell, Table, percent


def per_class_table(records: Sequence[EvalRecord]) -> Table | None:
    """Rows are the data sets of each checkpoint; ``None`` where no record knows its labels."""
    rows: list[list[Cell | str]] = []
    for name, record in zip(names_of(records), records, strict=True):
        for a in each_attack(record.accuracies):
            if not (a.labels and a.outcomes):
                continue
            counts = class_counts(a)
            mean, (worst, lowest) = mean_per_class(counts), worst_class(counts)
            label = a.data + (f", {attack_text(a.attack)}" if a.attack else "")
            classes = f"{len(counts.n)}" + (f" of {counts.of}" if len(counts.n) < counts.of else "")
            rows.append(
                [
                    *(name, TITLES[a.suite], label, str(a.n), classes),
                    percent(mean.value, mean.low, mean.high),
                    percent(lowest.value, lowest.low, lowest.high),
                    worst,
                ]
            )
    if not rows:
        return None
    notes = [
        "Accuracy in %: the mean over classes, each counting the same, and the lowest of a class. "
        "95 % intervals; that of the lowest covers the lowest of all classes, whichever it is "
        "(Bonferroni), and is wide where classes have few images. Classes without an image do not "
        "count."
    ]
    heads = ["", "", "data", "images", "classes", "mean per class", "worst class", "which"]
    return Table(heads, rows, labels=5, title="Class by class", notes=notes)


def write_class_tables(folder: Path, records: Sequence[EvalRecord]) -> list[Path]:
    """``RUN-SUITE-DATA[-ATTACK].classes.csv`` and ``...confusion.csv`` for every accuracy that
    counts, and their paths.

    Confusion matrices need the predictions, which records of earlier versions do not hold; those
    have the first file only.

    Raises:
        UserError: If the folder cannot be written.
    """
    written: list[Path] = []
    for name, record in zip(names_of(records), records, strict=True):
        for a in each_attack(record.accuracies):
            stem = file_stem(name, a)
            if a.labels and a.outcomes:
                written.append(folder / f"{stem}.classes.csv")
                write_text(written[-1], _classes_csv(a))
            if a.labels and a.predictions:
                written.append(folder / f"{stem}.confusion.csv")
                write_text(written[-1], _confusion_csv(a))
    return written


def file_stem(run: str, a: Accuracy) -> str:
    """``RUN-SUITE-DATA``, and for an attack its name and six digits of its settings."""
    parts = [run, a.suite, a.data]
    if a.attack is not None:
        parts += [a.attack_name, digest_text(a.question[2])[:6]]
    return re.sub(r"[^A-Za-z0-9_.]+", "-", "-".join(parts)).strip("-.")


def _classes_csv(a: Accuracy) -> str:
    counts = class_counts(a)
    rows: list[Sequence[object]] = [("class", "n", "correct", "accuracy", "ci_low", "ci_high")]
    for name, n, correct in zip(counts.names, counts.n, counts.correct, strict=True):
        rows.append((name, n, correct, correct / n, *wilson(int(correct), int(n))))
    return _csv(rows)


def _confusion_csv(a: Accuracy) -> str:
    rows: list[Sequence[object]] = [("label \\ prediction", *a.class_names)]
    rows += [(name, *row) for name, row in zip(a.class_names, confusion(a), strict=True)]
    return _csv(rows)


def _csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
