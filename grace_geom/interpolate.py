"""A finished run between and beyond its ends:
``python -m grace_geom.interpolate runs/NAME --t 0,0.25,0.5,0.75,1``
"""

import dataclasses
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grace_geom import starts
from grace_geom.cli import Command, part_of, quick
from grace_geom.refusals import check_evaluation, check_leading, refuse_several
from grace_geom.terminal import door, finish, say, show

PROG = "python -m grace_geom.interpolate"


@dataclass(frozen=True)
class InterpolateOptions:
    """Which run.

    Attributes:
        run: Run directory or checkpoint.
        fresh: Measure again, even what dial.json already holds.
        deterministic: Same bits in every evaluation on the same GPU, for some speed.
        report_to: Experiment trackers that also get the numbers at each t: tensorboard, wandb,
            mlflow.
    """

    run: Path = field(metadata={"group": "run"})
    fresh: bool = False
    deterministic: bool = False
    report_to: tuple[str, ...] = ()


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate along the line, write ``dial.json`` beside the checkpoint, print a table."""
    quick.answer(
        PROG, argv, check=check_evaluation, begin=starts.interpolation, leading=check_leading
    )
    refuse_several("interpolate")
    from grace_geom.attacks import check_eps
    from grace_geom.devices import deterministic
    from grace_geom.evaluation import Console, DialOptions, Measures, Source, dial
    from grace_geom.evaluation.reporting import report_line
    from grace_geom.evaluation.table import dial_table
    from grace_geom.tracking import check_installed

    command = Command(
        [InterpolateOptions, DialOptions, Measures, Source],
        description="Evaluate weights between the pretrained model (t = 0) and a run (t = 1), and "
        "beyond.",
        positionals=("run",),
        defaults={"suites": ["id", "ood", "adv"]},
        prog=PROG,
        key=PROG,
    )
    values = command.values(argv)
    quick.begun(starts.interpolation(values))
    options, measures = part_of(InterpolateOptions, values), part_of(Measures, values)
    check_installed(options.report_to)
    if warning := check_eps(measures.radius, measures.norm):
        say(f"warning: --eps: {warning}")

    with deterministic(options.deterministic):
        record, ts, file = dial(
            options.run,
            part_of(DialOptions, values),
            measures,
            part_of(Source, values),
            fresh=options.fresh,
            watcher=lambda t: Console(head=f"t = {t:g}: "),
            say=say,
        )
    report_line(record, ts, file, options.report_to, say)
    width = shutil.get_terminal_size((100, 24)).columns
    show(dial_table(record, ts).text(width, sys.stdout.isatty()))
    finish(file, text=f"\nwritten: {file}", record=dataclasses.asdict(record), t=list(ts))


if __name__ == "__main__":
    main()
