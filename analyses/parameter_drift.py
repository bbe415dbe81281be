"""How far checkpoints are from the pretrained weights:
``python analyses/parameter_drift.py runs/A runs/B ...``
"""

from collections.abc import Sequence

from grace_geom.analysis import analyse
from grace_geom.analysis.parameter_drift import DriftOptions, measure, show
from grace_geom.cli import parse
from grace_geom.errors import door


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Relative drift and effective rank of the change of each matrix, and its correlation with
    zero-shot loss.

    Started by torchrun, only the images of the zero-shot sets are shared out: singular values need
    no images.
    """
    options = parse(
        DriftOptions, argv, description=main.__doc__ or "", positionals=("checkpoints",)
    )
    analyse("parameter_drift", options, measure, show)


if __name__ == "__main__":
    main()
