"""Tables 2 and 9, Fig. 2a:
``python analyses/feature_stability.py runs/a runs/b [--ood NAME=SPEC]``"""

from collections.abc import Sequence

from grace_geom.analysis import analyse
from grace_geom.analysis.feature_stability import (
    StabilityOptions,
    measure_stability,
    show_stability,
)
from grace_geom.cli import parse
from grace_geom.errors import door


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Centroid cosines, dimensions, Gram volumes, displacements and principal components of
    features.
    """
    options = parse(
        StabilityOptions,
        argv,
        positionals=("checkpoints",),
        prog="python analyses/feature_stability.py",
        description="How features move between ID, OOD and adversarial images, and under weight "
        "perturbation. Started by torchrun, each process takes its share of the images; the first "
        "one writes and speaks.",
    )
    analyse("feature_stability", options, measure_stability, show_stability)


if __name__ == "__main__":
    main()
