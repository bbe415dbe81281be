"""How long the dashboard takes: ``python benchmarks/dashboard.py [5 60 200]``

So many runs with records of the size that a study writes, ten of them with a drift of 12 x 12
layers on 3 distributions, made on the spot from random numbers (they are drawn, not believed).
Printed as CPU seconds of the server: listing the runs from nothing and again, the first page with
the imports of a new process, and then, each the median of three, a change to every page and changes
of controls. Targets: first page 1.5 s with 5 runs and 3 s with 200, a change of page 0.3 s.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml
from streamlit.testing.v1 import AppTest

from app import store
from grace_geom.records import Accuracy, EvalRecord, Measure, Part, Result, pack

MAIN = Path(__file__).resolve().parents[1] / "app" / "main.py"
PAGES = (
    "curvature",
    "landscape",
    "drift",
    "features",
    "robustness",
    "images",
    "numbers",
    "weights",
    "training",
    "run",
    "overview",
)
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


def median(
    call: Callable[[], object], times: int = 3, before: Callable[[], object] = lambda: None
) -> float:
    """Seconds of CPU of one call."""
    taken = []
    for _ in range(times):
        before()
        began = time.process_time()
        call()
        taken.append(time.process_time() - began)
    return statistics.median(taken)


def main() -> None:
    """Make the runs, time, print; a process of its own for each number of runs."""
    counts = [int(count) for count in sys.argv[1:]] or [5, 60, 200]
    if len(counts) > 1:
        for count in counts:
            subprocess.run([sys.executable, "-m", "benchmarks.dashboard", str(count)], check=True)
        return
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        folders = make_runs(root, counts[0])
        make_drift(root, folders[:10])
        print(f"\n{counts[0]} runs")
        pages(root)
        say(
            "list the runs from nothing",
            median(lambda: store.entries(root), before=store._entry.cache_clear),
        )
        os.utime(folders[0] / "metrics.jsonl")
        say("list them again, one has changed", median(lambda: store.entries(root)))


def pages(root: Path) -> None:
    """The first page, every page, and controls of the first one."""
    sys.argv = ["main.py", "--runs", str(root)]
    app = AppTest.from_file(str(MAIN), default_timeout=300)
    began = time.process_time()
    app.run()
    say("first page", time.process_time() - began)
    for page in PAGES:
        app.switch_page(f"views/{page}.py").run()
        say(f"change to {page}", median(lambda: app.run()))
        assert not app.exception, app.exception

    def change(key: str, values: list[list[str]]) -> None:
        turns = iter(values)
        say(f"change {key}", median(lambda: app.multiselect(key=key).set_value(next(turns)).run()))

    change("sets", [["adv"], ["id"], []])
    change("over", [[], ["seed"], []])
    say("find runs", median(lambda: app.text_input(key="find").set_value("seed<2").run()))


def say(what: str, seconds: float) -> None:
    """One line."""
    print(f"{what:<34} {seconds:6.2f} s of CPU", flush=True)


if __name__ == "__main__":
    main()
