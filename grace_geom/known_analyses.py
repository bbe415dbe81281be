"""The analyses by name. A new analysis is its file in ``analysis/``, one entry here, and a script
of three lines in ``analyses/``.

Importing this module imports no torch: ``--help`` and refusals answer at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Analysis:
    """Where an analysis is.

    Attributes:
        options: Name of its options' dataclass in ``grace_geom.analysis.NAME``.
        purpose: What it measures, one sentence.
        figures: ``MODULE.FUNCTION`` of ``grace_geom.plots``, from findings to figures.
        measure: Name of the function from one checkpoint to its numbers.
        show: Name of the function from all numbers to tables.
        processes: What several processes do, one sentence.
        revision: Raise it when an estimator of this analysis alone changes: what was measured
            before is measured again. (``features.cache.REVISION`` does so for all of them.)
    """

    options: str
    purpose: str
    figures: str
    measure: str = "measure"
    show: str = "show"
    processes: str = "Under torchrun the images are divided among the processes; the first one writes and prints."
    revision: int = 0

    @property
    def text(self) -> str:
        """First lines of ``--help``."""
        return f"{self.purpose} {self.processes}"


ANALYSES = {
    "hessian_spectrum": Analysis(
        "SpectrumOptions",
        "Largest and smallest Hessian eigenvalues, trace, Frobenius norm, spectral density and the "
        "curvature of each matrix.",
        figures="weight_space.spectrum",
    ),
    "sharpness": Analysis(
        "SharpnessOptions",
        "Sharpness: how far the loss rises within a radius of the weights (SAM, adaptive, relative "
        "to each matrix, average, m-sharpness).",
        figures="weight_space.sharpness",
    ),
    "loss_landscape": Analysis(
        "LandscapeOptions",
        "Loss along filter-normalised random directions, the top Hessian eigenvector and the line "
        "from the pretrained weights.",
        figures="landscape.figures",
    ),
    "anisotropy": Analysis(
        "AnisotropyOptions",
        "Anisotropy of the Hessian (or Gauss-Newton matrix) and of the features.",
        figures="weight_space.anisotropy",
    ),
    "bound_terms": Analysis(
        "BoundOptions",
        "The terms of the robust PAC-Bayes bound (Theorem 3.1, Lemma 3.2), each with its "
        "estimator.",
        figures="bound.figures",
    ),
    "parameter_drift": Analysis(
        "ParameterDriftOptions",
        "Relative change and effective rank of each matrix, and its correlation with lost "
        "zero-shot accuracy.",
        figures="drift.figures",
        processes="Under torchrun only the images of zero-shot sets are divided.",
        revision=1,
    ),
    "representation_drift": Analysis(
        "RepresentationDriftOptions",
        "How far representations moved from a reference checkpoint, on ID, OOD and attacked "
        "images.",
        "layers.figures",
        "measure_drift",
        "show_drift",
    ),
    "feature_stability": Analysis(
        "StabilityOptions",
        "How features move between ID, OOD and adversarial images, and under weight perturbation.",
        "features.figures",
        "measure_stability",
        "show_stability",
    ),
    "robustness_curve": Analysis(
        "CurveOptions",
        "Accuracy against the attack radius, with checks for gradient masking.",
        "robustness.figures",
        "measure_curve",
        "show_curve",
    ),
    "image_gallery": Analysis(
        "GalleryOptions",
        "The same images for every checkpoint: clean and attacked, predictions, margins, saliency.",
        figures="pictures.figures",
        processes="Under torchrun every process does all of it; the first one writes and prints.",
    ),
}


def drawing(name: str) -> Callable[..., Any]:
    """From the findings of an analysis to its figures."""
    module, _, function = ANALYSES[name].figures.partition(".")
    return getattr(import_module(f"grace_geom.plots.{module}"), function)
