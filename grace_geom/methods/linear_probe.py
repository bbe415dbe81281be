"""Linear probe (Radford et al. 2021, sec. 3.2; Kumar et al. 2022): logistic regression on frozen
features.
"""

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from grace_geom.errors import UserError
from grace_geom.fields import bounded
from grace_geom.methods.base import Method, Part, Passes, Run, check_order
from grace_geom.models import ClipClassifier
from grace_geom.weights import Weights


@dataclass
class Probe:
    """Fields of the methods that begin with, or are, a linear probe.

    Attributes:
        c_low: Smallest C to try (inverse strength of the L2 penalty on coefficients).
        c_high: Largest C to try.
        c_values: Number of values of C, logarithmically spaced.
        probe_iterations: Maximum number of L-BFGS iterations for each C.
    """

    c_low: float = bounded(1e-7, above=0)
    c_high: float = bounded(1e2, above=0)
    c_values: int = bounded(50, least=1)
    probe_iterations: int = bounded(1000, least=1)

    def check(self) -> None:
        """The sweep runs upwards.

        Raises:
            UserError: Otherwise.
        """
        check_order(self, "c_low", "c_high")

    @property
    def outside(self) -> Passes:
        """The features; the solver's time depends on the data and is not known before."""
        return Passes(train=1.0, held_out=1.0)

    def probe(self, run: Run) -> Weights:
        """The head of the C with the highest held-out accuracy, the smallest such C; logged to
        ``probe.jsonl``.

        As in the code of Kumar et al., features are shifted and scaled by their common mean and
        deviation (one number each), which makes C independent of their scale, each fit starts from
        the one before, and the scaling is undone in the coefficients. Their fits stop after 20
        iterations, ours at scikit-learn's tolerance. All features are in memory at once, 8 N D
        bytes.

        Raises:
            UserError: If a class has no training image.
        """
        x, y = features(run, "train")
        x_val, y_val = features(run, "val")
        _every_class(run.model, y)
        mean, std = float(x.mean()), float(x.std())
        swept, best = [], None
        for C, coef, intercept, iterations in self._sweep((x - mean) / std, y):
            W, b = coef / std, intercept - coef.sum(1) * mean / std
            accuracy = float(((x_val @ W.T + b).argmax(1) == y_val).mean())
            swept.append({"C": C, "val_acc": accuracy, "iterations": iterations})
            if best is None or accuracy > best[0]:
                best = (accuracy, C, W, b)
        assert best is not None  # c_values is at least 1
        run.emit("probe", {"step": run.step, "C": best[1], "val_acc": best[0], "sweep": swept})
        own = run.model.head["head.weight"]
        return {
            "head.weight": torch.from_numpy(best[2]).to(own),
            "head.bias": torch.from_numpy(best[3]).to(own),
        }

    def _sweep(self, x: np.ndarray, y: np.ndarray) -> Any:
        """``C, coefficients (K, D), intercepts (K,), iterations`` for each C, ascending."""
        from sklearn.exceptions import ConvergenceWarning  # a second to import, seldom needed
        from sklearn.linear_model import LogisticRegression

        solver = LogisticRegression(max_iter=self.probe_iterations, warm_start=True)
        for C in np.logspace(np.log10(self.c_low), np.log10(self.c_high), self.c_values).tolist():
            solver.C = C
            with warnings.catch_warnings():  # the number of iterations is on record
                warnings.simplefilter("ignore", ConvergenceWarning)
                solver.fit(x, y)
            coef, intercept = solver.coef_, solver.intercept_
            if len(coef) == 1:  # two classes: sklearn keeps the difference of their rows
                coef, intercept = (
                    np.concatenate([-coef, coef]) / 2,
                    np.concatenate([-intercept, intercept]) / 2,
                )
            yield C, coef, intercept, int(solver.n_iter_.max())


@dataclass
class LinearProbe(Probe, Method):
    """Multinomial logistic regression on f = phi(x) / |phi(x)|, the image tower as it was; no
    optimiser steps.

    ``min 1/2 |W|^2 + C sum_i CE(W f_i + b, y_i)``, solved by scikit-learn on clean training images
    without augmentation. Radford et al. sweep 96 values of C in [1e-6, 1e6] and take features
    before the projection to the text's space; here, as for every other method, they are those that
    the head reads.
    """

    name: ClassVar[str] = "linear-probe"
    tables: ClassVar[tuple[int, ...]] = (6,)

    trains: ClassVar[bool] = False

    def setup(
        self, model: ClipClassifier, generator: torch.Generator
    ) -> tuple[Weights, dict[str, Any]]:
        """No leaves: nothing trains by gradient."""
        return {}, {}

    def finish(self, run: Run) -> Weights:
        """The head that scikit-learn finds; the towers stay as they were."""
        return self.probe(run)


@torch.no_grad()
def features(run: Run, part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Normalised pretrained features ``(N, D)`` float64 and labels ``(N,)`` of clean images.

    Raises:
        RuntimeError: If there is no image.
    """
    found = [
        (run.model.features(piece.images).cpu(), piece.labels.cpu())
        for batch in run.images(part)
        for piece in run.pieces(batch)
    ]
    if not found:
        raise RuntimeError(f"this run has no {part} images")
    x, y = (torch.cat(tensors) for tensors in zip(*found, strict=True))
    return x.double().numpy(), y.numpy()


def _every_class(model: ClipClassifier, y: np.ndarray) -> None:
    absent = sorted(set(range(len(model.class_names))) - set(y.tolist()))
    if absent:
        names = ", ".join(model.class_names[i] for i in absent[:5])
        raise UserError(
            f"a linear probe needs training images of every class; {len(absent)} have none: {names}"
        )
