"""The robust bound's terms (A), (B), (C):
``python analyses/bound_terms.py runs/a runs/b [--ood NAME=SPEC]``
"""

from collections.abc import Sequence

from grace_geom.analysis import analyse
from grace_geom.analysis.bound_terms import BoundOptions, measure, show
from grace_geom.cli import parse
from grace_geom.errors import door


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Proximity to the pretrained weights, sharpness and cross-domain discrepancy, as the robust
    bound adds them.
    """
    options = parse(
        BoundOptions,
        argv,
        positionals=("checkpoints",),
        prog="python analyses/bound_terms.py",
        description="The terms of the robust PAC-Bayes bound (Theorem 3.1, Lemma 3.2), each with "
        "its estimator. Started by torchrun, each process takes its share of the images; the first "
        "one writes and speaks.",
    )
    analyse("bound_terms", options, measure, show)


if __name__ == "__main__":
    main()
