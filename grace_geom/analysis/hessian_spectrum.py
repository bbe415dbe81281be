"""Hessian or Gauss-Newton spectrum of a checkpoint: ends, trace, Frobenius norm, density, curvature
by matrix.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from grace_geom.analysis.curvature import (
    Curvature,
    CurvatureOptions,
    counted,
    curvature,
    eigenvalue_measures,
    finite,
)
from grace_geom.analysis.numbers import UNCERTAIN, Footnotes, alike, as_measure, with_error
from grace_geom.analysis.objective import Objective
from grace_geom.analysis.run import Part, Shown, progress, sample_text, say
from grace_geom.analysis.subject import Subject
from grace_geom.distributed import world
from grace_geom.errors import UserError
from grace_geom.geometry.second_opinion import PyHessian
from grace_geom.geometry.trace import StochasticEstimate, hutchpp, xtrace
from grace_geom.plots.sample import loss_name, weights
from grace_geom.records import Measure
from grace_geom.tables import Cell, Table


@dataclass(frozen=True)
class SpectrumOptions(CurvatureOptions):
    """What else is shown of the curvature.

    Attributes:
        backend: Implementation of eigenvalues and trace: this package's (ours), or PyHessian's
            beside it, on the same images, as a check (one process only).
        trace: Trace estimator; block traces and the Frobenius norm always use Hutchinson probes.
        density_probes: Number of start vectors for the spectral density; 0: no density.
        density_steps: Number of Lanczos steps from each start vector.
        width: Standard deviation of the density's Gaussian kernel; default: 1 % of the range of the
            eigenvalues shown.
    """

    backend: Literal["ours", "pyhessian"] = field(default="ours", metadata={"group": "spectrum"})
    trace: Literal["hutchinson", "hutch++", "xtrace"] = "hutchinson"
    density_probes: int = 2
    density_steps: int = 16
    width: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for flag, value, least in (("--density-probes", self.density_probes, 0),
                                   ("--density-steps", self.density_steps, 2)):  # fmt: skip
            if value < least:
                raise UserError(f"{flag} must be at least {least}, not {value}")
        if self.width is not None and not self.width > 0:
            raise UserError(f"--width must be positive, not {self.width}")
        if self.backend == "pyhessian" and self.operator == "ggn":
            raise UserError("--backend pyhessian knows the Hessian only: drop --operator ggn")


def measure(subject: Subject, options: SpectrumOptions, state: Path) -> Part:
    """All numbers of one checkpoint.

    Raises:
        UserError: If PyHessian is asked of several processes: it has no sum over them.
    """
    if options.backend == "pyhessian" and world().size > 1:
        raise UserError(
            "--backend pyhessian looks at all images in one process: start it without torchrun"
        )
    objective = subject.objective()
    products = options.probes + options.density_probes * options.density_steps
    watch = progress(products + 4 * (options.top + options.bottom))
    found = curvature(
        objective, options, state, watch, options.density_probes, options.density_steps
    )
    A, probed = found.operator, found.probed
    sizes = {name: w.numel() for name, w in A.weights.items()}
    values: dict[str, Measure] = {"dim": Measure(A.dim, estimator="weights that vary")}
    values |= eigenvalue_measures(found.pairs, options.top)
    values["trace"] = as_measure(_trace(found, options, lambda: watch.step(A.n)))
    values["frobenius"] = as_measure(probed.frobenius)
    values["frobenius/sqrt_d"] = as_measure(probed.frobenius, 1 / math.sqrt(A.dim))
    for name, block in probed.blocks.items():
        values[f"block_trace/{name}"] = as_measure(block)
        values[f"kappa/{name}"] = as_measure(block, 1 / sizes[name])
    arrays = {
        "eigenvalues": found.pairs.values.numpy(), "residuals": found.pairs.residuals.numpy(),
        "blocks": np.array(list(sizes)), "block_sizes": np.array(list(sizes.values())),
    }  # fmt: skip
    if found.density is not None:
        arrays |= {"density_nodes": found.density.nodes, "density_weights": found.density.weights}
        values["density/mean_eigenvalue"] = as_measure(found.density.moment(1))
    if options.backend == "pyhessian":
        values |= _second_opinion(objective, options)
    watch.clear()
    return Part(
        values | {"products": Measure(found.products, estimator="matrix-vector products")}, arrays
    )


def show(parts: dict[str, Part], options: SpectrumOptions) -> Shown:
    """Table 3."""
    there, feet = {name for part in parts.values() for name in part.values}, Footnotes()
    names = [f"lambda_{i + 1}" for i in range(options.top)]
    names += [f"lambda_min_{i + 1}" for i in range(options.bottom)]
    names += ["trace", "frobenius", "frobenius/sqrt_d", "pyhessian/lambda_1", "pyhessian/trace"]
    names = [name for name in names if name in there]
    fewer = "so many eigenvalues were not found, or there are not so many weights"
    looks = {n: alike(part.values.get(n) for part in parts.values()) for n in names}
    rows: list[list[Cell | str]] = [
        [label, *(feet.cell(part.values.get(n), looks[n], missing=fewer) for n in names)]
        for label, part in parts.items()
    ]
    heads = [
        with_error(_heading(n), (part.values.get(n) for part in parts.values())) for n in names
    ]
    signs = ["s.e.: standard error of the estimate"] if any("±" in head for head in heads) else []
    if any(isinstance(c, Cell) and c.full.startswith(UNCERTAIN) for row in rows for c in row):
        signs.append(
            f"{UNCERTAIN} an eigenvalue that did not converge and may be off by more than "
            f"{100 * options.rtol:g} %"
        )
    table = Table(
        ["checkpoint", *heads],
        rows,
        title="Eigenvalues and trace",
        notes=[*feet.notes, *(["; ".join(signs)] if signs else [])],
        about=f"{OPERATORS[options.operator]}, {weights(options.params)}, "
        f"loss: {loss_name(options.loss)}, {sample_text(parts, options)}",
    )
    return Shown([table])


OPERATORS = {"hessian": "Hessian", "ggn": "Gauss-Newton matrix"}
"""What the numbers are of."""


def _heading(name: str) -> str:
    """``lambda_1`` -> ``λ₁``, ``lambda_min_1`` -> ``λ_min``, ``frobenius`` -> ``‖H‖_F``."""
    name = name.replace("frobenius/sqrt_d", "‖H‖_F/√d").replace("frobenius", "‖H‖_F")
    name = re.sub(r"lambda_min_(\d+)", lambda m: "λ_min" + f",{m[1]}" * (m[1] != "1"), name)
    return re.sub(r"lambda_(\d+)", lambda m: "λ" + m[1].translate(_BELOW), name)


_BELOW = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def _trace(
    found: Curvature, options: SpectrumOptions, seen: Callable[[], None]
) -> StochasticEstimate:
    A, matvec = found.operator, counted(finite(found.operator.matvec), seen)
    if options.trace == "xtrace":
        return xtrace(matvec, A.like, A.dim, options.probes, options.seed + 3, found.krylov)
    if options.trace == "hutch++":
        return hutchpp(matvec, A.like, A.dim, options.probes, options.seed + 3)
    return found.probed.trace


def _second_opinion(objective: Objective, options: SpectrumOptions) -> dict[str, Measure]:
    say("  PyHessian's eigenvalues and trace on the same images")
    peer = PyHessian(objective.outputs, objective.criterion, objective.weights, objective.batches)
    lams = peer.eigenvalues(options.top, options.seed, options.rtol)
    words = "PyHessian, power iteration, largest magnitude"
    found = {
        f"pyhessian/lambda_{i + 1}": Measure(lam, estimator=words) for i, lam in enumerate(lams)
    }
    return found | {"pyhessian/trace": as_measure(peer.trace(options.probes, options.seed))}
