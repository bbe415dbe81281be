"""Sharpness of checkpoints: ``python analyses/sharpness.py runs/A runs/B ...``"""

from collections.abc import Sequence

from grace_geom.analysis import analyse
from grace_geom.analysis.sharpness import SharpnessOptions, measure, show
from grace_geom.cli import parse
from grace_geom.errors import door


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Rise of the loss in balls around the weights: SAM, adaptive, relative to each matrix,
    average, m-sharpness.

    Started by torchrun, each process takes its share of the images; the first one writes and
    speaks.
    """
    options = parse(
        SharpnessOptions, argv, description=main.__doc__ or "", positionals=("checkpoints",)
    )
    analyse("sharpness", options, measure, show)


if __name__ == "__main__":
    main()
