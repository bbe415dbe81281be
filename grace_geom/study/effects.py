"""Main effects and interactions of a factorial study, by a mixed model.

The response of a run is a column of its evaluation, in points. Fixed effects are those of the
design; every training seed of every study is a block with a random intercept of its own (REML,
statsmodels' ``MixedLM``), because rows of one seed share the order of images, the initial factors
and the attacked test images. Tests take the degrees of freedom of the residual after effects and
blocks, so that on a complete design they are those of the analysis of variance with blocks.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from scipy import stats

from grace_geom.errors import UserError
from grace_geom.records import RecordError
from grace_geom.records.schema import checked, read_record
from grace_geom.study.design import Cell, Design, Floats
from grace_geom.study.state import FORMAT


@dataclass(frozen=True)
class Response:
    """One run of a factorial study.

    Attributes:
        cell: Its combination of levels.
        block: Study and seed.
        value: What was measured, in points.
    """

    cell: Cell
    block: str
    value: float


@dataclass(frozen=True)
class Contrast:
    """A level against the first one of its factor, averaged over all levels of the others.

    Attributes:
        factor: Factor.
        level: Level.
        reference: The first level.
        value: Difference in points.
        low: Lower end of the 95 % interval.
        high: Upper end.
        p: Two-sided.
        p_holm: The same after Holm's correction for all contrasts of the response.
        detectable: Smallest true difference that a test at 5 % finds with a probability of 80 %.
    """

    factor: str
    level: str
    reference: str
    value: float
    low: float
    high: float
    p: float
    p_holm: float
    detectable: float


@dataclass(frozen=True)
class Test:
    """Whether a term has any effect: Wald's F test.

    Attributes:
        term: Its factors.
        df: Degrees of freedom of the numerator.
        F: Statistic.
        p: Upper tail.
    """

    __test__ = False

    term: tuple[str, ...]
    df: int
    F: float
    p: float


@dataclass(frozen=True)
class Effects:
    """What a model says.

    Attributes:
        contrasts: Of the main effects.
        tests: Of all terms.
        residual: Standard deviation of a run around the model, in points.
        between: Standard deviation of the blocks, in points.
        df: Degrees of freedom of the residual.
        n: Runs.
        mean: Mean over all combinations, in points.
    """

    contrasts: tuple[Contrast, ...]
    tests: tuple[Test, ...]
    residual: float
    between: float
    df: int
    n: int
    mean: float


def effects(design: Design, responses: Sequence[Response]) -> Effects:
    """Fit the model.

    Raises:
        UserError: If the runs cannot tell the effects of the design apart, or leave nothing over to
            judge them by.
    """
    X = design.matrix([r.cell for r in responses])
    y = np.array([r.value for r in responses])
    names = sorted({r.block for r in responses})
    blocks = np.array([names.index(r.block) for r in responses])
    shared = np.hstack([X, np.eye(len(names))[blocks]])
    if np.ptp(y) == 0:
        raise UserError(f"all {len(y)} runs have the same value, {y[0]:g}: nothing has an effect")
    df = len(y) - int(np.linalg.matrix_rank(shared))
    if np.linalg.matrix_rank(X) < X.shape[1]:
        raise UserError(
            f"{len(y)} runs cannot tell the {X.shape[1]} numbers of the design's effects apart: "
            "train the rows that are missing, or take interactions out of the design"
        )
    if np.linalg.matrix_rank(shared) < X.shape[1] + len(names) - 1:
        raise UserError(
            "an effect of the design differs between studies or seeds only, so that nothing tells "
            "it from them: every study needs rows of every level"
        )
    if df < 1:
        raise UserError(
            f"{len(y)} runs leave nothing over to judge {X.shape[1]} effects by: add seeds or rows"
        )
    beta, covariance, residual, between = _fitted(y, X, blocks)
    tests, contrasts = [], []
    place = 1
    for term in design.terms():
        k = design.columns(term)
        part = slice(place, place + k)
        F = float(beta[part] @ np.linalg.solve(covariance[part, part], beta[part])) / k
        tests.append(Test(term, k, F, float(stats.f.sf(F, k, df))))
        if len(term) == 1:
            contrasts += _contrasts(design, term[0], beta[part], covariance[part, part], df)
        place += k
    return Effects(
        tuple(_holm(contrasts)), tuple(tests), residual, between, df, len(y), float(beta[0])
    )


def _fitted(y: Floats, X: Floats, blocks: Any) -> tuple[Floats, Floats, float, float]:
    """Coefficients, their covariance, and the two standard deviations; least squares where all runs
    are of one block.
    """
    try:
        from statsmodels.regression.mixed_linear_model import MixedLM
    except ImportError:
        raise UserError(
            "effects are fitted by statsmodels: pip install 'grace_geom[effects]'"
        ) from None
    if len(set(blocks.tolist())) == 1:
        inverse = np.linalg.inv(X.T @ X)
        beta = inverse @ X.T @ y
        variance = float(np.sum((y - X @ beta) ** 2)) / (len(y) - X.shape[1])
        return beta, variance * inverse, math.sqrt(variance), 0.0
    with warnings.catch_warnings():
        # A variance of blocks at 0 is an answer here: the rows of a seed have nothing in common.
        warnings.filterwarnings("ignore", message=".*boundary|.*singular|.*Hessian")
        found = MixedLM(y, X, groups=blocks).fit(reml=True, method="powell")
    if not found.converged:
        raise UserError(
            "the mixed model did not converge on these runs: take interactions out of the design"
        )
    p = X.shape[1]
    covariance = np.asarray(found.cov_params())[:p, :p]
    variance, between = float(found.scale), float(np.asarray(found.cov_re)[0, 0])
    return np.asarray(found.fe_params), covariance, math.sqrt(variance), math.sqrt(max(between, 0))


def _contrasts(
    design: Design, factor: str, beta: Floats, covariance: Floats, df: int
) -> list[Contrast]:
    levels = list(design.factors[factor])
    coding = np.vstack([np.eye(len(levels) - 1), -np.ones(len(levels) - 1)])
    t, power = stats.t.ppf(0.975, df), stats.t.ppf(0.8, df)
    found = []
    for i, level in enumerate(levels[1:], start=1):
        c = coding[i] - coding[0]
        value, error = float(c @ beta), math.sqrt(float(c @ covariance @ c))
        p = 2 * float(stats.t.sf(abs(value) / error, df))
        low, high = value - t * error, value + t * error
        found.append(
            Contrast(factor, level, levels[0], value, low, high, p, p, float((t + power) * error))
        )
    return found


def _holm(contrasts: Sequence[Contrast]) -> list[Contrast]:
    """With p values corrected by Holm (1979)."""
    order = sorted(range(len(contrasts)), key=lambda i: contrasts[i].p)
    corrected, worst = dict[int, float](), 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(order) - rank) * contrasts[i].p))
        corrected[i] = worst
    return [replace(c, p_holm=corrected[i]) for i, c in enumerate(contrasts)]


class SeedValues(Struct):
    """A column of a row: its value for each seed, in shares of 1."""

    seeds: dict[str, float]


class TableRow(Struct):
    """A row of ``table.json``."""

    method: str
    columns: dict[str, SeedValues]


class StudyData(Struct):
    """What a study trained on."""

    data: str


class StudyTable(Struct):
    """What is read of ``table.json``."""

    rows: list[TableRow]
    study: StudyData


def read_table(folder: Path) -> StudyTable:
    """The numbers of a finished study.

    Raises:
        RecordError: If ``table.json`` is missing, or is no table of a study.
    """
    path = folder / "table.json"
    mend = "python -m grace_geom.compare writes it when a study ends"
    if not path.is_file():
        raise RecordError(f"{path}: no such file; {mend}")
    return checked(read_record(path, FORMAT), StudyTable, path, mend)


def responses(design: Design, tables: Mapping[str, StudyTable], column: str) -> list[Response]:
    """The runs of studies that are cells of a design.

    Args:
        design: Design.
        tables: Study -> its table.
        column: Column of the tables, such as ``HM``.

    Raises:
        UserError: If no study has a row of the design.
    """
    cells = {design.label(cell): cell for cell in design.cells}
    found = [
        Response(cells[row.method], f"{study} seed {seed}", 100 * value)
        for study, table in tables.items()
        for row in table.rows
        if row.method in cells and column in row.columns
        for seed, value in row.columns[column].seeds.items()
    ]
    if not found:
        raise UserError(
            f"no row of {', '.join(tables)} is a combination of the design with a number in "
            f"{column}; rows are called such as {design.label(design.cells[0])}"
        )
    return found
