"""What a command costs before it does anything: CPU seconds, against ``import torch`` alone.

    OMP_NUM_THREADS=1 python benchmarks/startup.py

Each line is a process of its own. Before it counts, the commands that answer ``--help`` are called
once, which leaves their descriptions in a cache: a first call costs as much as a training's
imports. The rounds go through all lines in turn, so that other work on the machine weighs on all of
them alike; a ratio is that of two calls of one round.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from grace_geom.cli import parse
from grace_geom.errors import UserError
from grace_geom.files import write_text
from grace_geom.terminal import door

ROOT = Path(__file__).resolve().parents[1]
QUICK, STEP = 0.3, 2.5
"""The most that ``--help`` or a refusal, and a training of one step, shall cost in ``import
torch``."""

OUT = "OUT"
"""Stands for a run directory that does not exist yet."""

FLOOR = """
import open_clip, torch
weight = torch.nn.Parameter(torch.zeros(4))
optimizer = torch.optim.AdamW([weight])
weight.sum().backward()
optimizer.step()
"""


@dataclass(frozen=True)
class Options:
    """How often to measure.

    Attributes:
        repeats: Rounds; the median counts.
    """

    repeats: int = field(default=5, metadata={"group": "benchmark"})


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Attributes:
        name: What it shows.
        words: Arguments of the interpreter.
        code: How the call ends.
        goal: Largest ratio to ``import torch``; ``None`` where there is no goal.
    """

    name: str
    words: tuple[str, ...]
    code: int = 0
    goal: float | None = None


def cases(folder: Path) -> list[Case]:
    """``import torch`` first, then what is compared with it."""

    def quick(name: str, *words: str, code: int = 0) -> Case:
        return Case(name, words, code, QUICK)

    def step(method: str) -> Case:
        """One step of a method on a small data set."""
        words: tuple[str, ...] = (
            "-m",
            "grace_geom.train",
            "--data",
            f"npz:{_images(folder)}",
            "--method",
            method,
        )
        words += ("--max-steps", "1", "--out", OUT)
        return Case(f"train --method {method} --max-steps 1", words, 0, STEP)

    return [
        Case("import torch", ("-c", "import torch")),
        quick("train --help", "-m", "grace_geom.train", "--help"),
        quick("evaluate --help", "-m", "grace_geom.evaluate", "--help"),
        quick("compare --help", "-m", "grace_geom.compare", "--help"),
        quick("data --help", "-m", "grace_geom.data", "--help"),
        quick("hessian_spectrum.py --help", "analyses/hessian_spectrum.py", "--help"),
        quick("train --bath-size 8", "-m", "grace_geom.train", "--bath-size", "8", code=2),
        quick("train --method grase", "-m", "grace_geom.train", "--method", "grase", code=2),
        Case("import open_clip", ("-c", "import open_clip")),
        Case("import open_clip, one step of AdamW", ("-c", FLOOR)),
        step("ft"),
        step("grace"),
    ]


FIRST_CALLS = """
import contextlib, json, os, runpy, sys
for command in json.loads(sys.argv[1]):
    module = command[0] == "-m"
    sys.argv = command[1:] if module else command
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        with contextlib.suppress(SystemExit):
            run = runpy.run_module if module else runpy.run_path
            run(sys.argv[0], run_name="__main__")
"""


def prepare(measured: Sequence[Case], folder: Path) -> None:
    """Call every ``--help`` in one process, as somebody did before."""
    calls = [case.words for case in measured if "--help" in case.words]
    cpu_seconds(Case("the first calls", ("-c", FIRST_CALLS, json.dumps(calls))), folder)


def cpu_seconds(case: Case, folder: Path) -> float:
    """User and system time of one call and its children.

    Raises:
        UserError: If the call does not end as it should.
    """
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    out = str(Path(tempfile.mkdtemp(dir=folder)) / "run")
    words = [out if word == OUT else word for word in case.words]
    before = os.times()
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    after = os.times()
    if done.returncode != case.code:
        raise UserError(f"{case.name} ended with {done.returncode}: {done.stderr[-400:]}")
    seconds = (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )
    print(f"{case.name}: {seconds:.2f} s", file=sys.stderr, flush=True)
    return seconds


def _images(folder: Path) -> Path:
    """Small pictures of two classes."""
    file = folder / "tiny.npz"
    if not file.is_file():
        pixels = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
        np.savez(file, images=pixels, labels=np.arange(64) % 2)
        write_text(file.with_suffix(".classes.json"), '{"class_names": ["cat", "dog"]}\n')
    return file


@door
def main(argv: Sequence[str] | None = None) -> None:
    """Measure in turn, print the table."""
    options = parse(Options, argv, description=__doc__ or "", prog="python benchmarks/startup.py")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measured = cases(folder)
        prepare(measured, folder)
        seconds = [[cpu_seconds(case, folder) for case in measured] for _ in range(options.repeats)]
    print("| call | CPU s, median | range | ratio to import torch, median | range | goal |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for case, of_case in zip(measured, zip(*seconds, strict=True), strict=True):
        ratios = [s / each[0] for s, each in zip(of_case, seconds, strict=True)]
        goal = "" if case.goal is None else f"{case.goal}"
        print(
            f"| {case.name} | {_median_and_range(of_case)} | {_median_and_range(ratios)} | {goal} |"
        )


def _median_and_range(numbers: Sequence[float]) -> str:
    """Two cells."""
    return f"{statistics.median(numbers):.2f} | {min(numbers):.2f} to {max(numbers):.2f}"


if __name__ == "__main__":
    main()
