"""CKA, Procrustes and Gram drift against a reference:
``python analyses/representation_drift.py runs/a runs/b``
"""

from collections.abc import Sequence

from grace_geom.analysis import analyse
from grace_geom.analysis.representation_drift import DriftOptions, measure_drift, show_drift
from grace_geom.cli import parse
from grace_geom.errors import door


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Layer by layer and layer x layer, on ID, OOD and attacked images, and clean against
    attacked."""
    options = parse(
        DriftOptions,
        argv,
        positionals=("checkpoints",),
        prog="python analyses/representation_drift.py",
        description="How far representations moved from a reference checkpoint, on ID, OOD and "
        "attacked images. Started by torchrun, each process takes its share of the images; the "
        "first one writes and speaks.",
    )
    analyse("representation_drift", options, measure_drift, show_drift)


if __name__ == "__main__":
    main()
