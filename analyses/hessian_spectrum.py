"""Curvature of checkpoints: ``python analyses/hessian_spectrum.py runs/NAME [CKPT ...]``"""

from collections.abc import Sequence

from grace_geom.analysis import analyse
from grace_geom.analysis.hessian_spectrum import SpectrumOptions, measure, show
from grace_geom.cli import parse
from grace_geom.errors import door


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Largest and smallest eigenvalues, trace, Frobenius norm, spectral density, curvature of each
    matrix.

    Started by torchrun, each process takes its share of the images; the first one writes and
    speaks.
    """
    options = parse(
        SpectrumOptions, argv, description=main.__doc__ or "", positionals=("checkpoints",)
    )
    analyse("hessian_spectrum", options, measure, show)


if __name__ == "__main__":
    main()
