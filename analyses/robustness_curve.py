"""Accuracy against epsilon, transfer, masked gradients:
``python analyses/robustness_curve.py runs/a runs/b``
"""

from collections.abc import Sequence

from grace_geom.analysis import analyse
from grace_geom.analysis.robustness_curve import CurveOptions, measure_curve, show_curve
from grace_geom.cli import parse
from grace_geom.errors import door


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Accuracy under PGD and Auto-PGD by radius, margins, transfer attacks, checks and example
    images.
    """
    options = parse(
        CurveOptions,
        argv,
        positionals=("checkpoints",),
        prog="python analyses/robustness_curve.py",
        description="Accuracy against the radius of an attack, and whether the numbers can be "
        "trusted. Started by torchrun, each process takes its share of the images; the first one "
        "writes and speaks.",
    )
    analyse("robustness_curve", options, measure_curve, show_curve)


if __name__ == "__main__":
    main()
