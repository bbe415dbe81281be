"""What the analyses of curvature share: options, the operator, eigenvalues and probes of one
checkpoint.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from grace_geom.analysis.objective import Objective
from grace_geom.analysis.options import Common
from grace_geom.analysis.run import say
from grace_geom.analysis.state import State, interruptible
from grace_geom.distributed import everyones, world
from grace_geom.errors import NotFiniteError, UserError
from grace_geom.geometry.krylov import Krylov, leaning_start
from grace_geom.geometry.lanczos import Eigenpairs, eigenpairs
from grace_geom.geometry.operators import CurvatureOperator, Matvec, gauss_newton, hessian
from grace_geom.geometry.spectrum import Spectrum, spectrum
from grace_geom.geometry.trace import Probed, hutchinson
from grace_geom.progress import Progress
from grace_geom.records import Measure


@dataclass(frozen=True)
class CurvatureOptions(Common):
    """What is measured of the curvature.

    Attributes:
        operator: Matrix: the Hessian, or its Gauss-Newton part (ggn).
        top: Number of largest eigenvalues.
        bottom: Number of smallest (most negative) eigenvalues.
        rtol: Relative tolerance of the eigenvalues.
        max_products: Maximum number of matrix-vector products for the eigenvalues; those not
            converged by then are marked.
        probes: Number of matrix-vector products for the trace, block traces and Frobenius norm.
        graph_gib: Memory for autograd graphs kept between products, in GiB.
        basis_dtype: Precision of the stored Lanczos vectors: same as the products, or float16 (less
            memory; needs an rtol of 1e-4 or more).
        basis_device: Device of the stored Lanczos vectors: same as the products, or cpu (saves GPU
            memory, costs copies).
    """

    operator: Literal["hessian", "ggn"] = field(default="hessian", metadata={"group": "curvature"})
    top: int = 5
    bottom: int = 1
    rtol: float = 1e-3
    max_products: int = 200
    probes: int = 10
    graph_gib: float = 2.0
    basis_dtype: Literal["same", "float16"] = "same"
    basis_device: Literal["same", "cpu"] = "same"

    def __post_init__(self) -> None:
        super().__post_init__()
        for flag, value, least in (
            ("--top", self.top, 1),
            ("--bottom", self.bottom, 0),
            ("--probes", self.probes, 2),
            ("--max-products", self.max_products, 1),
        ):
            if value < least:
                raise UserError(f"{flag} must be at least {least}, not {value}")
        if self.basis_dtype == "float16" and self.rtol < 1e-4:
            raise UserError(
                f"--basis-dtype float16 keeps eigenvalues to 1e-4, not to --rtol {self.rtol:g}: "
                "raise it, or drop --basis-dtype and put the vectors on the host with "
                "--basis-device cpu"
            )


@dataclass(frozen=True)
class Curvature:
    """What Lanczos, the probes and (where asked for) the quadrature found.

    Attributes:
        operator: The matrix.
        pairs: Its extreme eigenvalues.
        probed: Trace, block traces and Frobenius norm.
        krylov: The basis of the eigenvalue run, for further deflated estimates.
        density: Nodes and weights of the spectral density.
        earlier: Products that an interrupted run had spent.
    """

    operator: CurvatureOperator
    pairs: Eigenpairs
    probed: Probed
    krylov: Krylov
    density: Spectrum | None
    earlier: int

    @property
    def products(self) -> int:
        """All products, those of an interrupted run included."""
        return self.earlier + self.operator.products


def curvature(
    objective: Objective, options: CurvatureOptions, path: Path, watch: Progress,
    density_probes: int = 0, density_steps: int = 0,
) -> Curvature:  # fmt: skip
    """Eigenvalues, probes and density of one objective; the state of an interrupted run lies in
    ``path``.
    """
    A = operator_of(objective, options)
    matvec = finite(A.matvec)
    announce(A, options)
    krylov = Krylov(
        start_of(A, options.seed),
        device=None if options.basis_device == "same" else options.basis_device,
        basis_dtype=None if options.basis_dtype == "same" else torch.float16,
    )
    sizes = {name: w.numel() for name, w in A.weights.items()}
    with interruptible(State(krylov, lambda: A.products), path) as state:
        watch.resume(watch.done + state.earlier)

        def seen(_: Any = None) -> None:
            watch.step(A.n)
            state.keep_now_and_then()

        pairs = eigenpairs(
            matvec,
            krylov,
            options.top,
            options.bottom,
            options.rtol,
            options.max_products,
            after_step=seen,
        )
        probed = hutchinson(
            counted(matvec, seen),
            A.like,
            sizes,
            options.probes,
            options.seed + 1,
            krylov,
            state.rows("probes"),
        )
        density = None
        if density_probes:
            density = spectrum(
                matvec,
                A.like,
                A.dim,
                density_steps,
                density_probes,
                options.seed + 2,
                seen,
                state.rows("density"),
            )
    return Curvature(A, pairs, probed, krylov, density, state.earlier)


def start_of(A: CurvatureOperator, seed: int) -> Tensor:
    """Where Lanczos begins: a random vector that leans to the gradient.

    Raises:
        NotFiniteError: If the gradient is not finite.
    """
    gradient = A.gradient()
    if not bool(gradient.isfinite().all()):
        raise NotFiniteError("the gradient of the loss is not finite at these weights")
    return leaning_start(gradient, seed)


def operator_of(objective: Objective, options: CurvatureOptions) -> CurvatureOperator:
    """The Hessian or Gauss-Newton matrix of an objective at its point.

    Raises:
        UserError: If several smallest eigenvalues of a singular Gauss-Newton matrix are asked for.
    """
    budget = int(options.graph_gib * 2**30)
    if options.operator == "ggn":
        _must_not_repeat(objective, options)
        return gauss_newton(
            objective.outputs,
            objective.criterion,
            objective.weights,
            objective.batches,
            graph_bytes=budget,
            distributed=objective.distributed,
        )
    return hessian(
        objective.loss,
        objective.weights,
        objective.batches,
        graph_bytes=budget,
        distributed=objective.distributed,
    )


def _must_not_repeat(objective: Objective, options: CurvatureOptions) -> None:
    """Lanczos sees one copy of a multiple eigenvalue, so of many zeros only the first would be told
    truly.
    """
    if options.bottom < 2:
        return
    with torch.no_grad():
        widths = [
            objective.outputs(objective.weights, batch).shape[1] for batch in objective.batches[:1]
        ]
    classes = max(
        width for found in everyones(widths) for width in found
    )  # a process may have no batch
    rank = len(objective) * (classes - 1)
    if objective.dim > rank:
        raise UserError(
            f"--bottom {options.bottom}: the Gauss-Newton matrix of {objective.dim} weights has at "
            f"most rank n(K-1) = {rank}, its smallest eigenvalues are all 0 and Lanczos finds one "
            "of them; use --bottom 1 or 0"
        )


def announce(A: CurvatureOperator, options: CurvatureOptions) -> None:
    """Say what the run will take before it takes it."""
    item = A.like.element_size() if options.basis_dtype == "same" else torch.float16.itemsize
    where = "" if options.basis_device == "same" else " on the host"
    vectors = 4 * (options.top + options.bottom) + 8
    whose = " of each process" if world().size > 1 else ""
    say(
        f"  {options.operator} of {A.dim:,} weights; memory{whose}: about "
        f"{vectors * A.dim * item / 2**30:.2f} GiB for {vectors} Lanczos vectors{where}, "
        f"{A.kept_bytes / 2**30:.2f} GiB for {A.kept} kept graphs ({A.rebuilt} batches are rebuilt "
        "for each product)"
    )


def eigenvalue_measures(pairs: Eigenpairs, top: int) -> dict[str, Measure]:
    """``lambda_1`` ... from the top, ``lambda_min_1`` ... from the bottom, each within its
    residual.
    """
    found = {}
    top = min(top, len(pairs.values))
    lists = (pairs.values.tolist(), pairs.residuals.tolist(), pairs.converged.tolist())
    for i, (lam, r, done) in enumerate(zip(*lists, strict=True)):
        name = f"lambda_{i + 1}" if i < top else f"lambda_min_{len(pairs.values) - i}"
        words = f"Lanczos, |Hv - lam v| = {r:.2g}" + ("" if done else ", not converged")
        found[name] = Measure(lam, None, lam - r, lam + r, 1.0, words)
    return found


def counted(matvec: Matvec, seen: Callable[[], None]) -> Matvec:
    """The same products; ``seen`` is called after each."""

    def product(v: torch.Tensor) -> Tensor:
        Av = matvec(v)
        seen()
        return Av

    return product


def finite(matvec: Matvec) -> Matvec:
    """The same products, refused where they are not finite.

    Raises:
        NotFiniteError: By the product, which says so before any estimate is made of it.
    """

    def product(v: Tensor) -> Tensor:
        """``A v``, if every number of it is finite."""
        Av = matvec(v)
        if not bool(Av.isfinite().all()):
            raise NotFiniteError(
                "the loss has no finite second derivative at these weights (a tower whose output "
                "is 0 has none, and too large weights overflow: try --dtype float64)"
            )
        return Av

    return product
