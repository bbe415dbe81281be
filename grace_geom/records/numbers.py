"""Every number of a run under one name: accuracies, what analyses found, settings, costs, and the
last values of the training's log.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import stdtrit

from grace_geom.records import titles
from grace_geom.records.accuracy import Accuracy
from grace_geom.records.analysis import Measure
from grace_geom.records.attack import attack_said
from grace_geom.records.classes import shown
from grace_geom.records.estimate import Z95, Estimate
from grace_geom.records.finding import Finding
from grace_geom.records.schema import number
from grace_geom.records.summary import questions
from grace_geom.records.uneven import TITLE_OF

OF_MATRICES = ("block_trace", "kappa", "relative", "norm", "effective_rank", "stable_rank")
"""Groups of values that have one for each matrix of weights."""
OF_WEIGHTS = ("parameter_drift",)
"""Analyses that need no images but for what they say of zero-shot accuracy."""
SHARES = re.compile(r"(train|val)_acc")
"""Logged numbers that are shares of 1."""
OVER = "; mean over {} seeds"
"""What ends the source of a mean."""
UNTOLD = {"out", "resume", "resume_anyway", "provenance", "device", "workers", "data_root"}
"""Settings that say where a run was made, not what it is."""


@dataclass(frozen=True)
class Quantity:
    """What a number is, whatever the run.

    Attributes:
        key: Its name in a link: ``Adv``, ``set/ood/sketch``, ``parameter_drift/drift``,
            ``setting/lr``, ``cost/passes``, ``log/loss``.
        title: What it is called, for axes and sentences.
        group: Its kind: ``accuracy``, ``data set``, ``setting``, ``cost``, ``training``, or the
            analysis.
        share: Whether it is a share of 1, to be shown in percent.
    """

    key: str
    title: str
    group: str
    share: bool = False

    def __hash__(self) -> int:  # by what tells them apart: asked for a hundred times a run
        return hash(self.key)

    @property
    def label(self) -> str:
        """The title with its unit."""
        return f"{self.title} (%)" if self.share else self.title


@dataclass(frozen=True)
class Datum:
    """One run's value of a quantity.

    Attributes:
        value: Finite.
        low, high: 95 % interval; ``None`` where it has none.
        source: File, estimator, n and seeds, as far as they are on record.
    """

    value: float
    low: float | None = None
    high: float | None = None
    source: str = ""


Numbers = dict[Quantity, Datum]


def of_columns(estimates: Mapping[str, Estimate | None], seeds: int = 1) -> Numbers:
    """The columns of the summary.

    Args:
        estimates: As :func:`~grace_geom.records.summarise` or
            :func:`~grace_geom.records.over_seeds` gives them.
        seeds: How many they are the mean of.
    """
    of = f"from the evaluation{OVER.format(seeds) if seeds > 1 else ''}"
    return {
        Quantity(name, name, "accuracy", share=True): Datum(e.value, e.low, e.high, of)
        for name, e in estimates.items()
        if e is not None
    }


def of_sets(accuracies: Sequence[Accuracy]) -> Numbers:
    """Accuracy on each data set, where a column is the mean of several."""
    asked = questions(accuracies)
    suites = [suite for suite, _ in asked]
    found: Numbers = {}
    for (suite, data), a in asked.items():
        if suites.count(suite) < 2:
            continue
        estimate = shown(a)
        under = f", {attack_said(a.attack)}" if a.attack else ""
        quantity = Quantity(f"set/{suite}/{data}", f"{TITLE_OF[suite]} {data}", "data set", True)
        source = f"evaluation on {a.n} images{under}"
        found[quantity] = Datum(estimate.value, estimate.low, estimate.high, source)
    return found


def of_finding(finding: Finding, matrices: bool = False) -> Numbers:
    """What an analysis found, less what is not finite.

    Args:
        finding: Of one run.
        matrices: Whether numbers of each matrix of weights are wanted too.
    """
    analysis = finding.result.name
    found: Numbers = {}
    on = ", ".join(
        f"{images} {titles.distribution(name)}" for name, images in finding.part.n.items()
    )
    for name, measure in finding.part.values.items():
        if not math.isfinite(measure.value) or (not matrices and is_of_matrix(name)):
            continue
        seen = "" if analysis in OF_WEIGHTS and "zero_shot" not in name else on
        found[_of_analysis(analysis, name)] = _measured(measure, analysis, seen)
    return found


@lru_cache(maxsize=4096)  # every run has the same
def _of_analysis(analysis: str, name: str) -> Quantity:
    share = analysis == "robustness_curve"
    return Quantity(f"{analysis}/{name}", titles.number(analysis, name), analysis, share)


def is_of_matrix(name: str) -> bool:
    """Whether a value of an analysis is that of one matrix of weights."""
    group, slash, _ = name.partition("/")
    return (bool(slash) and group in OF_MATRICES) or "visual." in name


def _measured(m: Measure, analysis: str, on: str) -> Datum:
    called = analysis.replace("_", " ").replace("hessian", "Hessian")
    parts = [called, in_symbols(m.estimator), f"images: {on}" if on else ""]
    source = ", ".join(part for part in parts if part)
    if m.low is not None and m.high is not None:
        return Datum(m.value, m.low, m.high, source)
    if m.error is not None and math.isfinite(m.error):
        half = Z95 * m.error
        return Datum(m.value, m.value - half, m.value + half, f"{source}, 1.96 standard errors")
    return Datum(m.value, source=source)


@lru_cache(maxsize=256)
def in_symbols(estimator: str) -> str:
    """``|theta - theta0|`` as pages write it: ``‖θ − θ₀‖``; attacks in the letters of captions."""
    for plain, symbol in _SYMBOLS:
        estimator = estimator.replace(plain, symbol)
    estimator = re.sub(r"\bapgd(-\w+)?", lambda attack: attack[0].upper(), estimator)
    vectors = any(letter in estimator for letter in "θμΣ") or "Hv" in estimator
    return estimator.replace("|", "‖") if vectors else estimator


_SYMBOLS = (
    ("theta0", "θ₀"), ("theta", "θ"), ("sum_c", "∑_c"), ("pi_c", "π_c"), ("mu_", "μ_"),
    ("Sigma", "Σ"), ("sigma", "σ"), ("lam v", "λv"), ("^2", "²"), (" - ", " − "), ("linf", "ℓ∞"),
)  # fmt: skip


def of_settings(settings: Mapping[str, Any]) -> Numbers:
    """Settings that are numbers."""
    return {
        Quantity(f"setting/{name}", titles.setting(name), "setting"): Datum(
            value, source="the run's settings"
        )
        for name, raw in settings.items()
        if name not in UNTOLD and (value := number(raw)) is not None
    }


def of_log(rows: Sequence[Mapping[str, Any]]) -> Numbers:
    """The last value of each number of the training's log, and how long it took."""
    found: Numbers = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        if name in ("step", "epoch", "val_n", "val_pgd_n"):
            continue
        if (last := _last(rows, name)) is None:
            continue
        value, step = last
        if name == "seconds":
            quantity = Quantity("cost/training", "training time (s)", "cost")
        else:
            share = SHARES.match(name) is not None
            quantity = Quantity(f"log/{name}", f"last {titles.logged(name)}", "training", share)
        found[quantity] = Datum(value, source=f"the training log, step {step}")
    return found


def _last(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[float, Any] | None:
    """The last finite value of a logged number, and its step."""
    for row in reversed(rows):
        if (value := number(row.get(name))) is not None:
            return value, row.get("step")
    return None


def of_costs(passes: float | None, seconds: float | None) -> Numbers:
    """What a step cost.

    Args:
        passes: In forward passes of its batch, as a study timed it.
        seconds: By the clock, evaluations included.
    """
    known = {
        Quantity("cost/passes", "step in forward passes", "cost"): (passes, "the study's timing"),
        Quantity("cost/step", "time a step (s)", "cost"): (
            seconds,
            "the training log, the whole run",
        ),
    }
    return {
        quantity: Datum(value, source=source)
        for quantity, (value, source) in known.items()
        if value is not None
    }


def over_runs(each: Sequence[Datum]) -> Datum:
    """The mean over trainings with its 95 % interval (Student's t over them); one alone keeps its
    own.
    """
    if len(each) == 1:
        return each[0]
    mean, low, high = (float(end[0]) for end in over_trainings([[x.value] for x in each]))
    n = len(each)
    source = f"{each[0].source}{OVER.format(n)}, Student's t"
    return Datum(mean, low, high, source)


def over_trainings(values: Sequence[Sequence[float]]) -> np.ndarray:
    """Means of several numbers over trainings with their 95 % intervals (Student's t over them).

    Args:
        values: ``(n, k)``, ``k`` numbers of each of at least two trainings.

    Returns:
        ``(3, k)``: means, lower and upper ends.
    """
    each = np.asarray(values, float)
    n, mean = len(each), each.mean(axis=0)
    half = float(stdtrit(n - 1, 0.975)) * each.std(axis=0, ddof=1) / math.sqrt(n)
    return np.stack([mean, mean - half, mean + half])
