"""Processes of a study: none outlives the study that started it, however that ended."""

import os
import sys
import time
from pathlib import Path

from grace_geom.config import TrainConfig, make_config
from grace_geom.evaluation import Measures, Source
from grace_geom.study.execute import Steps, run_all
from grace_geom.study.options import Job
from tests.processes import LONGEST, fork, wait_until

SEEDS = (0, 1)


def beat(config: TrainConfig) -> Path:
    """A training that only shows that it is alive, for longer than the test waits for its end."""
    print(f"seed {config.seed} is alive", file=sys.stderr, flush=True)
    os.write(1, b"native code too\n")
    for _ in range(20 * LONGEST):
        with open(f"{config.run_dir}.beat", "a") as file:
            file.write(".")
        time.sleep(0.1)
    return config.run_dir


def never(*_: object) -> None:
    raise AssertionError("a training that never ends is not evaluated")


def study(folder: str) -> None:
    """Two such trainings in two processes; called in a process of its own."""
    sys.stderr = open(Path(folder) / "said", "w", buffering=1)  # noqa: SIM115
    jobs = [
        Job(
            "ft",
            seed,
            make_config({"method": "ft", "seed": seed, "out": Path(folder) / f"ft-s{seed}"}),
        )
        for seed in SEEDS
    ]
    list(run_all(jobs, Measures(), Source(), workers=2, steps=Steps(beat, never)))  # type: ignore[arg-type]


def sizes(folder: Path) -> list[int]:
    return [path.stat().st_size for path in sorted(folder.glob("*.beat"))]


def test_a_killed_study_leaves_no_process_that_goes_on_writing(tmp_path: Path) -> None:
    parent = fork(study, str(tmp_path))
    try:
        wait_until(lambda: len(sizes(tmp_path)) == len(SEEDS))
        wait_until(lambda: len((tmp_path / "said").read_text().splitlines()) >= 2 * len(SEEDS))
        said = sorted((tmp_path / "said").read_text().splitlines())
    finally:
        parent.kill()
        parent.join()
    wait_until(lambda: at_rest(tmp_path))
    # The study says it, so that it can stand above the rows of its terminal.
    assert said == [*["native code too"] * 2, "seed 0 is alive", "seed 1 is alive"]


def at_rest(folder: Path) -> bool:
    """Whether nobody writes there for a second, in which a living process does so ten times."""
    before = sizes(folder)
    time.sleep(1)
    return sizes(folder) == before
