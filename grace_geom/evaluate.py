"""Accuracies of checkpoints, with intervals: ``python -m grace_geom.evaluate runs/NAME``."""

import dataclasses
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from grace_geom.cli import Command, part_of, quick
from grace_geom.errors import door
from grace_geom.refusals import check_evaluation

if TYPE_CHECKING:
    from grace_geom.evaluation import Measures, Source
    from grace_geom.records import EvalRecord

PROG = "python -m grace_geom.evaluate"


@dataclass(frozen=True)
class EvaluateOptions:
    """What to evaluate, and how to say it.

    Attributes:
        checkpoints: Checkpoints or run directories.
        json: Print the records as JSON instead of tables.
        fresh: Measure again, even what eval.json already holds.
        report_to: Experiment trackers that also get every accuracy: tensorboard, wandb, mlflow.
    """

    checkpoints: tuple[Path, ...] = field(metadata={"group": "evaluate"})
    json: bool = False
    fresh: bool = False
    report_to: tuple[str, ...] = ()


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate, write ``eval.json`` beside each checkpoint, print a table; images are shared out
    over processes.
    """
    quick.answer(PROG, argv, check=check_evaluation)
    from grace_geom.distributed import processes

    with processes():
        _evaluate(argv)


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
    return part_of(EvaluateOptions, values), part_of(Measures, values), part_of(Source, values)


def _evaluate(argv: Sequence[str] | None) -> None:
    from grace_geom.attacks import check_eps
    from grace_geom.checkpoint import checkpoint_file
    from grace_geom.distributed import first
    from grace_geom.evaluation import Console, Sets, assess, report
    from grace_geom.records.schema import dumps
    from grace_geom.tracking import check_installed

    options, measures, source = _options(argv)
    check_installed(options.report_to)
    if warning := check_eps(measures.eps, measures.norm):
        print(f"warning: --eps: {warning}", file=sys.stderr)
    files = [checkpoint_file(path) for path in options.checkpoints]
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
        )
        records.append(record)
        if first():
            report(record, written[-1], options.report_to, _say)
        reused += watcher.reused if watcher else 0
    if not first():
        return
    if options.json:
        print(dumps([dataclasses.asdict(record) for record in records]))
    else:
        _show(records, reused, written)


def _show(records: Sequence["EvalRecord"], reused: int, written: Sequence[Path]) -> None:
    """The tables, how much of them was known, and where the records are."""
    from grace_geom.evaluation.table import accuracy_table, corruption_table, paired_table

    width = shutil.get_terminal_size((100, 24)).columns
    print(accuracy_table(records).text(width))
    if (corrupted := corruption_table(records)) is not None:
        print("\n" + corrupted.text(width))
    if len(records) > 1 and (paired := paired_table(records)) is not None:
        print("\n" + paired.text(width))
    if reused:
        were = "number was" if reused == 1 else "numbers were"
        print(
            f"\n{reused} {were} measured before, with the same settings (--fresh measures again)."
        )
    print("\nwritten: " + ", ".join(str(file) for file in written))


def _say(text: str) -> None:
    from grace_geom.distributed import first

    if first():
        print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
