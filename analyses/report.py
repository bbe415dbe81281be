"""The chosen analyses as one HTML file: ``python analyses/report.py runs/a runs/b``"""

from collections.abc import Mapping, Sequence
from typing import Any

from grace_geom import starts
from grace_geom.analyses import ANALYSES, script
from grace_geom.cli import quick
from grace_geom.errors import check_known
from grace_geom.refusals import check_checkpoints, check_leading
from grace_geom.terminal import door

PROG = "python analyses/report.py"


def _check(values: Mapping[str, Any]) -> None:
    for name in values["analyses"]:
        check_known("--analyses:", name, ANALYSES)
    check_checkpoints(values)


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Run the chosen analyses, reuse what is still valid, write ``report.html``."""
    quick.answer(PROG, argv, check=_check, begin=starts.report, leading=check_leading)
    from grace_geom.analysis.report import ReportOptions, report
    from grace_geom.cli import parse

    options = parse(
        ReportOptions,
        argv,
        positionals=("checkpoints",),
        prog=PROG,
        description="Write the chosen analyses of the chosen checkpoints as one self-contained HTML file. "
        "Runs in one process; earlier results with the same settings, of torchrun too, are reused.",
    )
    quick.begun(starts.report(vars(options)))
    report(options, {name: script(name) for name in ANALYSES})


if __name__ == "__main__":
    main()
