"""Accuracies of checkpoints, with intervals: ``python -m grace_geom.evaluate runs/NAME``."""

import dataclasses
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from grace_geom import starts
from grace_geom.cli import Command, part_of, quick
from grace_geom.errors import Interrupted, UserError
from grace_geom.refusals import check_evaluation, check_leading
from grace_geom.terminal import door, finish, say, show

if TYPE_CHECKING:
    from grace_geom.evaluation import Measures, Source
    from grace_geom.records import EvalRecord, RecordError

PROG = "python -m grace_geom.evaluate"


@dataclass(frozen=True)
class EvaluateOptions:
    """What to evaluate, and how to say it.

    Attributes:
        checkpoints: Checkpoints or run directories.
        fresh: Measure again, even what eval.json already holds.
        deterministic: Same bits in every evaluation on the same GPU, for some speed.
        report_to: Experiment trackers that also get every accuracy: tensorboard, wandb, mlflow.
        per_class: Also print mean per-class accuracy and the worst class.
        calibration: Also measure NLL, ECE (15 bins) and Brier score, before and after temperature
            scaling on held-out images.
        effective_robustness: Also print how far each checkpoint lies above a line through the
            checkpoints trained without attack (at least 3), for each OOD set.
        class_tables: Folder to write per-class accuracies and confusion matrices to, as CSV.
        outcomes: File (.csv or .parquet) for label, predictions, margins and radius of each image;
            measures again.
        save_adversarial: Folder to write adversarial images to, as NPZ and PNG; measures again.
        from_adversarial: Adversarial images (NPZ) that --save-adversarial wrote for another
            checkpoint, to measure how far they transfer.
    """

    checkpoints: tuple[Path, ...] = field(metadata={"group": "evaluate"})
    fresh: bool = False
    deterministic: bool = False
    report_to: tuple[str, ...] = ()
    per_class: bool = False
    calibration: bool = False
    effective_robustness: bool = False
    class_tables: Path | None = None
    outcomes: Path | None = None
    save_adversarial: Path | None = None
    from_adversarial: tuple[Path, ...] = ()


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate, write ``eval.json`` beside each checkpoint, print a table; images are shared out
    over processes.
    """
    quick.answer(PROG, argv, check=check_evaluation, begin=starts.evaluation, leading=check_leading)
    from grace_geom.devices import deterministic
    from grace_geom.distributed import PeerLost, processes

    with processes():
        options, measures, source = _options(argv)
        try:
            with deterministic(options.deterministic):
                _evaluate(options, measures, source)
        except PeerLost as lost:
            raise Interrupted(
                f"{lost}; what was measured before is kept, the same command (without --fresh) "
                "goes on with the rest"
            ) from None


def _options(argv: Sequence[str] | None) -> "tuple[EvaluateOptions, Measures, Source]":
    from grace_geom.evaluation import Measures, Source

    command = Command(
        [EvaluateOptions, Measures, Source],
        description="Evaluate checkpoints: accuracies with 95 % intervals on in-distribution (ID), "
        "out-of-distribution (OOD), attacked and zero-shot data.",
        positionals=("checkpoints",),
        prog=PROG,
        key=PROG,
    )
    values = command.values(argv)
    quick.begun(starts.evaluation(values))
    return part_of(EvaluateOptions, values), part_of(Measures, values), part_of(Source, values)


def _evaluate(options: EvaluateOptions, measures: "Measures", source: "Source") -> None:
    from grace_geom.attacks import check_eps
    from grace_geom.checkpoint import checkpoint_file
    from grace_geom.distributed import first
    from grace_geom.evaluation import Console, Sets, assess, report
    from grace_geom.evaluation.extra_files import ExtraFiles
    from grace_geom.tracking import check_installed

    _check_models(options)
    check_installed(options.report_to)
    if warning := check_eps(measures.radius, measures.norm):
        say(f"warning: --eps: {warning}")
    files = [checkpoint_file(path) for path in options.checkpoints]
    extras = ExtraFiles(
        options.class_tables,
        options.outcomes,
        options.save_adversarial,
        options.from_adversarial,
        options.calibration,
    )
    sets, records, reused = Sets(source.data_root, source.download), [], 0
    written: list[Path] = []
    for file in files:
        watcher = (
            Console(head=f"{file.parent.name}: " if len(files) > 1 else "") if first() else None
        )
        record = assess(
            file,
            measures,
            source,
            sets=sets,
            watcher=watcher,
            fresh=options.fresh,
            kept_in=written.append,
            say=_say,
            extras=extras.begun(),
        )
        records.append(record)
        extras.done(record)
        if first():
            report(record, written[-1], options.report_to, _say)
        reused += watcher.reused if watcher else 0
    if not first():
        return
    if options.report_to and options.effective_robustness:
        _report_above_line(records, written, options)
    written += extras.written(records)
    refused = _show_tables(records, options)
    finish(
        *written,
        text=_end(reused, written),
        records=[dataclasses.asdict(record) for record in records],
        measured_before=reused,
    )
    if refused is not None:
        raise refused


def _report_above_line(
    records: Sequence["EvalRecord"], files: Sequence[Path], options: EvaluateOptions
) -> None:
    """Effective robustness, which needs all records, to the tracker run of each."""
    from grace_geom.evaluation import report
    from grace_geom.evaluation.shift_tables import effective_numbers

    for record, file, above in zip(records, files, effective_numbers(records), strict=True):
        if above:
            only = {f"effective-robustness/{data}": value for data, value in above.items()}
            report(record, file, options.report_to, _say, only)


def _check_models(options: EvaluateOptions) -> None:
    """Refuse a line through too few models before anything is measured."""
    from grace_geom.records.effective import LEAST

    count = len(options.checkpoints)
    if options.effective_robustness and count < LEAST:
        raise UserError(
            f"--effective-robustness: a line needs at least {LEAST} models trained without attack, "
            f"here {'is 1 checkpoint' if count == 1 else f'are {count} checkpoints'}: name more "
            "checkpoints"
        )


def _end(reused: int, written: Sequence[Path]) -> str:
    """How much was known, and where the records are."""
    where = "\nwritten: " + ", ".join(str(file) for file in written)
    if not reused:
        return where
    were = "number was" if reused == 1 else "numbers were"
    return (
        f"\n{reused} {were} measured before, with the same settings (--fresh measures again).\n"
        + where
    )


def _show_tables(records: Sequence["EvalRecord"], options: EvaluateOptions) -> "RecordError | None":
    """Every table that there can be; returned is why one that was asked for cannot."""
    from grace_geom.evaluation.calibration_table import calibration_table
    from grace_geom.evaluation.class_tables import per_class_table
    from grace_geom.evaluation.shift_tables import corruption_error_table, effective_table
    from grace_geom.evaluation.table import accuracy_table, corruption_table, paired_table
    from grace_geom.records import RecordError

    refused = None
    width = shutil.get_terminal_size((100, 24)).columns
    tables = [accuracy_table(records), corruption_table(records), corruption_error_table(records)]
    if options.effective_robustness:
        try:
            tables.append(effective_table(records))
        except RecordError as error:  # is raised once the other tables are printed
            refused = error
    if options.per_class:
        tables.append(per_class_table(records))
    if options.calibration:
        tables.append(calibration_table(records))
    if len(records) > 1:
        tables.append(paired_table(records))
    show(
        "\n\n".join(table.text(width, sys.stdout.isatty()) for table in tables if table is not None)
    )
    return refused


def _say(text: str) -> None:
    from grace_geom.distributed import first

    if first():
        say(text)


if __name__ == "__main__":
    main()
