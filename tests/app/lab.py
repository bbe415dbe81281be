"""Real runs of a toy model with every analysis on them, in seconds: tests see the keys that
analyses write.
"""

import importlib
from pathlib import Path
from unittest import mock

import numpy as np

from grace_geom import evaluate
from tests.app import gallery
from tests.small_run import small_run, write_npz

ANALYSES = {
    "hessian_spectrum": [
        "--top",
        "1",
        "--probes",
        "2",
        "--density-steps",
        "4",
        "--max-products",
        "8",
    ],
    "parameter_drift": ["--zeroshot", "odd={odd}"],
    "sharpness": gallery.ANALYSES["sharpness"],
    "loss_landscape": [
        "--slices",
        "random,eigen,contour,line",
        "--points",
        "3",
        "--contour-points",
        "3",
        "--line-points",
        "3",
    ],
    "representation_drift": ["--replicates", "4"],
    "feature_stability": ["--replicates", "4"],
    "anisotropy": ["--replicates", "4", "--parts", "features"],
    "bound_terms": ["--replicates", "4", "--probes", "4", "--samples", "2"],
    "image_gallery": ["--shown", "8", "--shown-ood", "4", "--smooth", "2"],
    "robustness_curve": [
        "--radii",
        "8/255,64/255",
        "--steps",
        "2",
        "--queries",
        "4",
        "--attacks",
        "pgd,apgd-ce",
    ],
}
RUNS = (("zero-shot", 0), ("ft", 0), ("grace", 0), ("ft", 1))


def make_lab(folder: Path) -> Path:
    """A folder of runs: one study of four, evaluated, all but the last analysed, with the analyses
    that there are.
    """
    ood = folder / "ood"
    ood.mkdir(parents=True)
    spec, odd = write_npz(folder, 200), write_npz(ood, 200)
    with np.load(ood / "toy.npz") as stored:
        np.savez(ood / "toy.npz", images=255 - stored["images"], labels=stored["labels"])
    root = folder / "runs"
    paths = []
    for method, seed in RUNS:
        out = root / "toy" / f"{method}-s{seed}"
        small_run(folder, method, out=str(out), seed=seed, data=spec, epochs=1, ood={"odd": odd})
        paths.append(str(out))
    evaluate.main(
        [
            *paths,
            "--suites",
            "id,ood,adv,zeroshot",
            "--zeroshot",
            f"odd={odd}",
            "--n",
            "30",
            "--steps",
            "2",
        ]
    )
    for name, options in ANALYSES.items():
        if (Path(__file__).parents[2] / "analyses" / f"{name}.py").is_file():
            analysis = importlib.import_module(f"analyses.{name}").main
            # Pictures for paper are not what the dashboard reads.
            with mock.patch("grace_geom.analysis.run.save_figures"):
                analysis(
                    [
                        *paths[:3],
                        "--n",
                        "30",
                        "--attack-steps",
                        "2",
                        *(part.format(odd=odd) for part in options),
                    ]
                )
    return root
