"""Anisotropy of curvature and features:
``python analyses/anisotropy.py runs/a runs/b [--ood NAME=SPEC]``
"""

from collections.abc import Sequence

from grace_geom.analysis import analyse
from grace_geom.analysis.anisotropy import AnisotropyOptions, measure, show
from grace_geom.cli import parse
from grace_geom.errors import door


@door
def main(argv: Sequence[str] | None = None) -> None:
    """How unevenly curvature fills directions and matrices, and features fill the space they
    have."""
    options = parse(
        AnisotropyOptions,
        argv,
        positionals=("checkpoints",),
        prog="python analyses/anisotropy.py",
        description="Anisotropy of the Hessian (or Gauss-Newton matrix) and of the features of "
        "checkpoints. Started by torchrun, each process takes its share of the images; the first "
        "one writes and speaks.",
    )
    analyse("anisotropy", options, measure, show)


if __name__ == "__main__":
    main()
