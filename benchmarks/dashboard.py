"""What the dashboard costs: CPU seconds of its server, for so many finished runs.

    OMP_NUM_THREADS=1 python -m benchmarks.dashboard [--runs 5,60,200] [--repeats 3]

The runs are made on the spot: evaluations of the size that a study writes from random numbers (they
are drawn, not believed), and on one run of each method every analysis, copied from four trainings
of a toy. A process of its own opens the first page, then every page once, every page again, and
turns controls; beside it, in every round, a Streamlit app with one styled table and one figure is
opened: the floor. A busy machine slows both, so their ratio tells more than the seconds.

Targets: the first page 1.5 s with 5 runs and 3 s with 200, every change of page 0.3 s.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import yaml

from grace_geom.cli import parse
from grace_geom.errors import UserError
from grace_geom.records import Accuracy, EvalRecord, Measure, Part, Result, pack
from grace_geom.terminal import door

ROOT = Path(__file__).resolve().parents[1]

SETS = [("id", "shapes"), *(("ood", f"shift{i}") for i in range(4)), ("natural_adv", "hard"),
        *(("zeroshot", f"task{i}") for i in range(5)), ("adv", "shapes")]  # fmt: skip
APGD = {
    "name": "apgd-ce",
    "eps": 4 / 255,
    "norm": "linf",
    "seed": 0,
    "parts": [{"name": "apgd-ce", "steps": 100}],
}
LAYERS = [*(f"block.{i}" for i in range(11)), "embedding"]


def make_runs(root: Path, count: int = 200, n: int = 2000) -> list[Path]:
    """Runs of ten methods with twenty seeds each."""
    rng, folders = np.random.default_rng(0), []
    for i in range(count):
        folder = root / "study" / f"method{i % 10}-s{i // 10}"
        folder.mkdir(parents=True)
        settings = {f"setting{j}": j for j in range(45)} | {
            "method": f"method{i % 10}",
            "seed": i // 10,
            "data": "shapes",
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(settings | {"max_steps": 2000}))
        rows = [
            {"step": 10 * s, "seconds": s, "loss": 1 / (s + 1), "lr": 1e-3, "train_acc": 0.5}
            for s in range(200)
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        accuracies = []
        for suite, data in SETS:
            right = rng.random(n) < 0.7
            share = float(right.mean())
            accuracies.append(
                Accuracy(
                    suite,
                    data,
                    f"shapes:{data}",
                    n,
                    int(right.sum()),
                    share,
                    share - 0.02,
                    share + 0.02,
                    1.0,
                    attack=APGD if suite == "adv" else None,
                    outcomes=pack(right),
                    subset={"ids_sha256": "x"},
                )
            )
        record = EvalRecord(
            "f" * 64, folder.name, f"method{i % 10}", i // 10, {"data": "shapes"}, tuple(accuracies)
        )
        record.summed().save(folder / "eval.json")
        folders.append(folder)
    return folders


def make_drift(root: Path, folders: list[Path]) -> None:
    """One ``representation_drift`` of all these runs."""
    rng = np.random.default_rng(1)
    parts: dict[str, Part] = {}
    for folder in folders:
        part = parts[folder.name] = Part()
        for name in ("id", "ood", "adv"):
            for key in ("cka", "gram_chord", "gram_chord_centred", "procrustes", "log_norm_ratio"):
                middle = rng.random(12)
                part.arrays[f"{key}/{name}"] = np.stack([middle, middle - 0.1, middle + 0.1])
                for layer, v in zip(LAYERS, middle, strict=True):
                    part.values[f"{key}/{name}/{layer}"] = Measure(v)
            part.arrays[f"cka_layers/{name}"] = rng.random((12, 12))
        part.arrays["layers"] = np.array(LAYERS)
    checkpoints = tuple({"label": f.name, "path": str(f / "ckpt.pt")} for f in folders)
    settings = {"n": 512, "seed": 0, "reference": "pretrained", "eps": 4 / 255, "attack_steps": 10}
    Result("representation_drift", checkpoints, settings, parts).save(root / "study/analyses")


def make_analyses(root: Path, folders: Sequence[Path], lab: Path) -> None:
    """Every other analysis of these runs, with the numbers of the runs of a lab in turn.

    Args:
        root: Folder of runs.
        folders: Runs that are to have the analyses.
        lab: What :func:`tests.app.lab.make_lab` made.
    """
    for file in sorted(lab.glob("*/analyses/*.json")):
        result = Result.load(file)
        if result.name == "representation_drift":
            continue
        parts, checkpoints = {}, []
        for i, folder in enumerate(folders):
            one = dict(result.checkpoints[i % len(result.checkpoints)])
            parts[folder.name] = result.parts[one["label"]]
            path = str(folder / "ckpt.pt")
            checkpoints.append(one | {"label": folder.name, "path": path, "sha256": ""})
        copy = replace(result, parts=parts, checkpoints=tuple(checkpoints))
        copy.save(root / "study/analyses")


@dataclass(frozen=True)
class VisitOptions:
    """What to measure.

    Attributes:
        runs: How many runs, separated by commas.
        repeats: Rounds; the median counts.
    """

    runs: str = field(default="5,60,200", metadata={"group": "benchmark"})
    repeats: int = field(default=3, metadata={"group": "benchmark"})


def counts(runs: str) -> list[int]:
    """``5,60,200`` as numbers.

    Raises:
        UserError: If something else is given.
    """
    parts = runs.split(",")
    if not all(part.strip().isdigit() and int(part) for part in parts):
        raise UserError(f"--runs is {runs!r}: give numbers of runs from 1, such as --runs 5,200.")
    return [int(part) for part in parts]


def visit(compiled: Path, *words: str) -> dict[str, float]:
    """CPU seconds by what was done, of one visit in a process of its own.

    Args:
        compiled: Where Python keeps what it compiles.
        words: The folder of runs; none for the floor.

    Raises:
        UserError: If a page fails.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(compiled)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.dashboard_visit", *words],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise UserError(f"The dashboard failed: {done.stderr[-600:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Make the runs, visit them in turn, print the table."""
    options = parse(
        VisitOptions, argv, description=__doc__ or "", prog="python -m benchmarks.dashboard"
    )
    numbers = counts(options.runs)
    from tests.app.lab import make_lab  # trains: not where only runs are made

    with tempfile.TemporaryDirectory() as name:
        folder, roots = Path(name), {}
        lab = make_lab(folder / "lab")
        for count in numbers:
            root = roots[count] = folder / f"runs{count}"
            runs = make_runs(root, count)
            make_drift(root, runs[:10])
            make_analyses(root, runs[:10], lab)
        compiled = folder / "compiled"
        visit(compiled, str(roots[numbers[0]]))  # an installed package has been compiled too
        rounds = []
        for i in range(options.repeats):
            print(f"round {i + 1} of {options.repeats}", file=sys.stderr, flush=True)
            visits = {count: visit(compiled, str(roots[count])) for count in numbers}
            rounds.append({0: visit(compiled)} | visits)
    table(rounds, numbers)


def table(rounds: Sequence[Mapping[int, Mapping[str, float]]], numbers: Sequence[int]) -> None:
    """Medians over rounds, in seconds and as ratios to the floor's first page of the same round."""
    floor = [each[0]["first page"] for each in rounds]
    again = statistics.median(each[0]["again"] for each in rounds)
    print(
        f"floor: first page {statistics.median(floor):.2f} s of CPU ({min(floor):.2f} to "
        f"{max(floor):.2f} in {len(rounds)} rounds), again {again:.2f} s\n"
    )
    heads = [f"{n} runs, s | ratio to the floor" for n in numbers]
    print(f"| | {' | '.join(heads)} |\n| --- |{' ---: |' * (2 * len(numbers))}")
    for what in rounds[0][numbers[0]]:
        cells = []
        for n in numbers:
            taken = [each[n][what] for each in rounds]
            ratio = statistics.median(t / f for t, f in zip(taken, floor, strict=True))
            cells.append(f"{statistics.median(taken):.2f} | {ratio:.2f}")
        print(f"| {what} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
