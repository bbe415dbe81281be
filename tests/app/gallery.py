"""A small folder of runs for looking at the dashboard and for its tests:
``python -m tests.app.gallery DIR``

Every number comes from a real, if very short, training on ``shapes``. Beside the runs of a little
study lie the states that a dashboard meets: a run still being written, one that was cut short, one
of a newer version, one without analyses.
"""

import argparse
import importlib
import json
import os
import shutil
from pathlib import Path

from grace_geom import compare, train

METHODS = ("zero-shot", "ft", "at", "grace")
STEPS = 12
TRAIN = ["--max-steps", str(STEPS), "--batch-size", "16", "--train-images", "256"]
SETS = {
    "--ood": {"v2": "shapes:v2", "sketch": "shapes:sketch"},
    "--zeroshot": {"colour": "shapes:colour"},
}
EVALUATE = ["--n", "60", "--n-attack", "30", "--steps", "3"]
ANALYSES = {
    "hessian_spectrum": [
        "--top",
        "2",
        "--probes",
        "2",
        "--density-steps",
        "6",
        "--max-products",
        "12",
    ],
    "parameter_drift": ["--zeroshot", "colour=shapes:colour"],
    "sharpness": [
        "--rho",
        "0.05,0.1",
        "--rho-adaptive",
        "0.5,1",
        "--rho-relative",
        "0.005,0.01",
        "--rho-average",
        "5,10",
        "--ascent-steps",
        "1",
        "--samples",
        "2",
    ],
    "loss_landscape": [
        "--slices",
        "random,eigen,contour,line",
        "--points",
        "5",
        "--contour-points",
        "4",
        "--line-points",
        "4",
    ],
    "representation_drift": ["--replicates", "6", "--n", "48"],
    "feature_stability": ["--replicates", "6", "--n", "120"],
    "anisotropy": ["--replicates", "4", "--n", "48"],
    "bound_terms": [],
    "image_gallery": ["--shown", "24", "--shown-ood", "12", "--smooth", "4", "--n", "120"],
    "robustness_curve": [
        "--radii",
        "1/255,4/255",
        "--steps",
        "3",
        "--queries",
        "20",
        "--attacks",
        "pgd,apgd-ce",
    ],
}
"""What is measured, with few images; an analysis that this version does not have is left out."""


def gallery(root: Path, steps: int = STEPS, seeds: str = "0,1") -> Path:
    """Make all of it below ``root``; a folder that is there is taken as it is."""
    study = root / "gallery"
    if study.is_dir():
        return root
    plan = [*TRAIN, "--max-steps", str(steps)]
    compare.main(
        [
            "--methods",
            ",".join(METHODS),
            "--seeds",
            seeds,
            "--out",
            str(study),
            *plan,
            *EVALUATE,
            *_named(SETS),
            "--set",
            "at.attack_steps=2",
            "--set",
            "grace.attack_steps=2",
        ]
    )
    trained = sorted(path for path in study.iterdir() if (path / "eval.json").is_file())
    train.main(["--method", "ft", "--out", str(study / "unmeasured-s0"), *plan])
    analyse([str(path) for path in trained])
    odd_states(study, plan, steps)
    return root


def _named(sets: dict[str, dict[str, str]]) -> list[str]:
    return [
        part
        for flag, named in sets.items()
        for name, spec in named.items()
        for part in (flag, f"{name}={spec}")
    ]


def analyse(runs: list[str]) -> None:
    """Every analysis that there is, on all runs in one call."""
    ood = [part for name, spec in SETS["--ood"].items() for part in ("--ood", f"{name}={spec}")]
    for name, options in ANALYSES.items():
        if (Path(__file__).parents[2] / "analyses" / f"{name}.py").is_file():
            main = importlib.import_module(f"analyses.{name}").main
            main([*runs, "--n", "24", "--attack-steps", "2", *ood, *options])


def odd_states(study: Path, plan: list[str], steps: int) -> None:
    """A run that stopped half-way and is fresh enough to count as running, and copies of a real
    one, damaged.
    """
    written = study / "written-s0"
    train.main(["--method", "ft", "--out", str(written), *plan, "--log-every", "1"])
    records = (written / "metrics.jsonl").read_text().splitlines(keepends=True)
    half = [line for line in records if json.loads(line)["step"] <= steps // 2]
    (written / "metrics.jsonl").write_text("".join(half))
    (written / "ckpt.pt").unlink()
    for name in ("cut-s0", "newer-s0"):
        shutil.copytree(study / "ft-s0", study / name, ignore=shutil.ignore_patterns("*.pt"))
    cut, newer = study / "cut-s0/eval.json", study / "newer-s0/eval.json"
    cut.write_text(cut.read_text()[:300])
    newer.write_text(newer.read_text().replace("grace_geom.eval/1", "grace_geom.eval/99"))
    os.utime(written / "metrics.jsonl")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="Where the runs go; shown with `-- --runs DIR`.")
    folder = gallery(parser.parse_args().folder)
    print(f"\nstreamlit run app/main.py -- --runs {folder}")
