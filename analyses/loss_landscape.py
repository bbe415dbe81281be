"""Slices of the loss around checkpoints: ``python analyses/loss_landscape.py runs/A runs/B ...``"""

from collections.abc import Sequence

from grace_geom.analysis import analyse
from grace_geom.analysis.loss_landscape import LandscapeOptions, measure, show
from grace_geom.cli import parse
from grace_geom.errors import door


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Filter-normalised random slices, the top Hessian eigenvector, contours, the line from the
    pretrained weights.

    Started by torchrun, each process takes its share of the images; the first one writes and
    speaks.
    """
    options = parse(
        LandscapeOptions, argv, description=main.__doc__ or "", positionals=("checkpoints",)
    )
    analyse("loss_landscape", options, measure, show)


if __name__ == "__main__":
    main()
