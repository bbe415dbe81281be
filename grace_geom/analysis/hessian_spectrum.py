"""Hessian or Gauss-Newton spectrum of a checkpoint: ends, trace, Frobenius norm, density, curvature
by matrix.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure

from grace_geom import figures
from grace_geom.analysis import pages
from grace_geom.analysis.curvature import (
    Curvature,
    CurvatureOptions,
    counted,
    curvature,
    eigenvalue_measures,
    finite,
    is_matrix,
)
from grace_geom.analysis.numbers import Footnotes, as_measure, union
from grace_geom.analysis.objective import Objective
from grace_geom.analysis.run import Part, Shown, progress, sample_text, say
from grace_geom.analysis.subject import Subject
from grace_geom.distributed import world
from grace_geom.errors import UserError
from grace_geom.geometry.second_opinion import PyHessian
from grace_geom.geometry.spectrum import Spectrum
from grace_geom.geometry.trace import StochasticEstimate, hutchpp, xtrace
from grace_geom.records import Measure
from grace_geom.tables import Cell, Table


@dataclass(frozen=True)
class SpectrumOptions(CurvatureOptions):
    """What else is shown of the curvature.

    Attributes:
        backend: Who computes eigenvalues and trace: this package (ours), or PyHessian beside it, on
            the same images, as a check (one process only).
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
    watch.close()
    return Part(
        values | {"products": Measure(found.products, estimator="matrix-vector products")}, arrays
    )


def show(parts: dict[str, Part], options: SpectrumOptions) -> Shown:
    """Table 3, the density of all checkpoints, curvature by matrix."""
    there, feet = {name for part in parts.values() for name in part.values}, Footnotes()
    names = [f"lambda_{i + 1}" for i in range(options.top)]
    names += [f"lambda_min_{i + 1}" for i in range(options.bottom)]
    names += ["trace", "frobenius", "frobenius/sqrt_d", "pyhessian/lambda_1", "pyhessian/trace"]
    names = [name for name in names if name in there]
    fewer = "so many eigenvalues were not found, or there are not so many weights"
    rows: list[list[Cell | str]] = [
        [label, *(feet.cell(part.values.get(n), missing=fewer) for n in names)]
        for label, part in parts.items()
    ]
    table = Table(
        ["checkpoint", *(_heading(n) for n in names)], rows,
        title=f"{options.operator}, {options.params}, {options.loss}, {sample_text(parts, options)}",
        notes=[
            *feet.notes,
            "± standard error of an estimate; ~ an eigenvalue that has not converged to --rtol",
        ],
    )  # fmt: skip
    return Shown([table], draw(parts, options), page(parts, options))


def draw(parts: dict[str, Part], options: SpectrumOptions) -> Figure:
    """Density above, mean curvature of each matrix below; one line a checkpoint."""
    look = figures.looks(list(parts))
    figure, axes = figures.new(figures.PAGE, 2.6, 1, 2 if options.density_probes else 1)
    if options.density_probes:
        _draw_density(axes[0, 0], parts, options, look)
    _draw_blocks(axes[0, -1], parts, look)
    figures.legend_above(figure, axes[0, -1])
    return figure


def densities(
    parts: dict[str, Part], options: SpectrumOptions
) -> tuple[np.ndarray, dict[str, np.ndarray], float]:
    """Common abscissae ``(g,)``, each checkpoint's densities ``(probes, g)`` there, and the
    kernel's width.
    """
    spectra = {
        label: Spectrum(
            np.asarray(part.arrays["density_nodes"], float),
            np.asarray(part.arrays["density_weights"], float),
            int(part.values["dim"].value),
            0,
        )
        for label, part in parts.items()
    }
    used = np.concatenate([s.nodes[s.weights > 0] for s in spectra.values()])
    width = options.width or 0.01 * (float(used.max() - used.min()) or 1.0)
    grid = np.linspace(used.min() - 6 * width, used.max() + 6 * width, 1200)
    return grid, {label: s.density(grid, width) for label, s in spectra.items()}, width


def _floor(parts: dict[str, Part], width: float) -> float:
    """The density below which nothing is drawn: a hundredth of one eigenvalue of the largest
    matrix.
    """
    return 1e-2 / max(int(part.values["dim"].value) for part in parts.values()) / width


def _draw_density(
    axis: Any, parts: dict[str, Part], options: SpectrumOptions, look: dict[str, figures.Look]
) -> None:
    grid, found, width = densities(parts, options)
    floor = _floor(parts, width)
    for label, samples in found.items():
        mean = samples.mean(axis=0)
        axis.semilogy(grid, np.maximum(mean, floor / 10), label=label, **look[label].stroke())
        axis.fill_between(
            grid,
            np.maximum(samples.min(axis=0), floor / 10),
            np.maximum(samples.max(axis=0), floor / 10),
            color=look[label].color,
            alpha=0.15,
            linewidth=0,
        )
    axis.set_ylim(bottom=floor)
    axis.set_xlabel(
        f"eigenvalue of the {'Hessian' if options.operator == 'hessian' else 'Gauss-Newton matrix'}"
    )
    axis.set_ylabel("density")
    axis.set_title(f"Gaussian kernel, $\\sigma$ = {width:.3g}{_band(options)}")


def _draw_blocks(axis: Any, parts: dict[str, Part], look: dict[str, figures.Look]) -> None:
    names = matrices(parts)
    x = np.arange(len(names))
    for i, (label, part) in enumerate(parts.items()):
        kappa = _kappa(part, names)
        shift = 0.12 * (i - (len(parts) - 1) / 2)
        axis.errorbar(
            x + shift,
            [k.value for k in kappa],
            [k.error or 0.0 for k in kappa],
            label=label,
            elinewidth=0.6,
            linewidth=0.6,
            markersize=2.5,
            **look[label].line(),
        )
    axis.axhline(0, color="0.5", linewidth=0.5)
    axis.set_xticks(x, [figures.short_weight(n) for n in names], rotation=90, fontsize=5)
    axis.set_ylabel(r"$\kappa_l$ = trace / entries")
    axis.set_title("mean curvature of each matrix")
    axis.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))


def page(parts: dict[str, Part], options: SpectrumOptions) -> Any:
    """The density, the eigenvalues that were found one by one, and the curvature of each matrix,
    interactive.
    """
    cells: list[pages.Cell] = []
    if options.density_probes:
        grid, found, width = densities(parts, options)
        floor = _floor(parts, width)
        curves = []
        for label, samples in found.items():
            mean, low, high = (
                np.maximum(f(samples, axis=0), floor) for f in (np.mean, np.min, np.max)
            )
            shown = np.where(mean > floor, mean, np.nan)
            curves.append(pages.Curve(label, grid, shown, mode="lines", low=low, high=high))
        title = f"density (kernel width {width:.3g}{_band(options)})"
        cells.append(pages.Panel(title, "eigenvalue", "density", curves, log_y=True))
    largest = []
    for label, part in parts.items():
        values, residuals = (
            np.asarray(part.arrays[key])[: options.top] for key in ("eigenvalues", "residuals")
        )
        largest.append(pages.Curve(label, np.arange(1, len(values) + 1), values, residuals))
    cells.append(pages.Panel("largest eigenvalues", "index", "λ", largest, zero=True))
    names = matrices(parts)
    blocks = []
    for label, part in parts.items():
        kappa = _kappa(part, names)
        hover = [
            f"{n}<br>{k.value:.3g} ± {k.error or 0:.2g}" for n, k in zip(names, kappa, strict=True)
        ]
        y, error = [k.value for k in kappa], [k.error or 0.0 for k in kappa]
        blocks.append(pages.Curve(label, np.arange(len(names)), y, error, hover=hover))
    short = [figures.short_weight(n) for n in names]
    title = "mean curvature of each matrix"
    below: list[pages.Cell] = [pages.Panel(title, "", "κ = trace / entries", blocks, ticks=short)]
    title = "Spectrum of the " + (
        "Hessian" if options.operator == "hessian" else "Gauss-Newton matrix"
    )
    return pages.page(
        title, list(parts), [cells, below],
        f"{options.params}, {options.loss}, {sample_text(parts, options)}",
    )  # fmt: skip


def _kappa(part: Part, names: list[str]) -> list[Measure]:
    """Mean curvature of each matrix; no value for those that this checkpoint lacks."""
    return [part.values.get(f"kappa/{name}", Measure(math.nan)) for name in names]


def matrices(parts: dict[str, Part]) -> list[str]:
    """Names of the matrices of all checkpoints, first to last."""
    every = union(part.arrays["blocks"].tolist() for part in parts.values())
    return sorted(
        filter(is_matrix, every), key=lambda n: n == "visual.proj"
    )  # the last matrix, which open_clip lists first


def _heading(name: str) -> str:
    return (
        name.replace("frobenius/sqrt_d", "|H|_F/√d")
        .replace("frobenius", "|H|_F")
        .replace("lambda", "λ")
    )


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


def _band(options: SpectrumOptions) -> str:
    """Of one probe there is no spread."""
    return (
        f"; band: spread of {options.density_probes} probes"
        if options.density_probes > 1
        else "; one probe"
    )
