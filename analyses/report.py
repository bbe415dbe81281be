"""All analyses of some checkpoints in one HTML file: ``python analyses/report.py runs/a runs/b``"""

import runpy
from collections.abc import Callable, Sequence
from pathlib import Path

from grace_geom.analysis.report import ReportOptions, report
from grace_geom.cli import parse
from grace_geom.errors import door


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Run the chosen analyses, reuse what is valid already, write ``report.html``."""
    options = parse(
        ReportOptions,
        argv,
        positionals=("checkpoints",),
        prog="python analyses/report.py",
        description="The chosen analyses of the chosen checkpoints as one HTML file that needs no "
        "network. It runs in one process; what analyses measured under torchrun before, with the "
        "same settings, it takes from their cache.",
    )
    report(options, mains())


def mains() -> dict[str, Callable[[Sequence[str]], object]]:
    """Every analysis of this folder by name."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return {
        f.stem: runpy.run_path(str(f))["main"]
        for f in files
        if f.stem != "report" and f.stem[0] != "_"
    }


if __name__ == "__main__":
    main()
